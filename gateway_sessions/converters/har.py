"""Entries of HTTP archives (HAR), as browsers and debugging proxies export them."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

import msgspec

from gateway_sessions.converters.containers import Row
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.values import NOTHING, headers, moment
from gateway_sessions.dialects import dialect_for
from gateway_sessions.dialects.parsing import JSON_ERRORS, parse
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange, LoggedRequest, LoggedResponse


class _Pair(msgspec.Struct):
    name: str = ""
    value: str = ""


class _Content(msgspec.Struct):
    text: str | None = None
    encoding: str | None = None


class _Request(msgspec.Struct):
    method: str
    url: str
    headers: list[_Pair] = []
    postData: _Content | None = None  # noqa: N815 — HAR's own name


class _Response(msgspec.Struct):
    status: int = 0
    content: _Content | None = None


class _Entry(msgspec.Struct):
    startedDateTime: str  # noqa: N815 — HAR's own name
    request: _Request
    response: _Response | None = None
    time: float | None = 0.0


_decode = msgspec.json.Decoder(_Entry).decode


def exchange(row: Row, notes: Notes) -> LoggedExchange | None:
    """Return the exchange of an entry, None if it is no request to an LLM.

    Raises:
        UnreadableLog: it is no entry of an archive.
    """
    try:
        entry = _decode(row.raw)
    except JSON_ERRORS as error:
        raise UnreadableLog(f"{row.place}: no entry of an HTTP archive ({error}).") from None
    began = moment(entry.startedDateTime)
    if began is None:
        raise UnreadableLog(f"{row.place}: startedDateTime is no time.")
    request = entry.request
    address = urlsplit(request.url)
    path = f"{address.path}?{address.query}" if address.query else address.path
    sent = headers([{"name": pair.name, "value": pair.value} for pair in request.headers])
    plain = tuple((name, str(value)) for name, value in sent.items())
    if dialect_for(request.method, path, plain) is None:
        notes.others += 1
        return None
    notes.exchanges += 1
    response = _response(entry)
    notes.without_reply += 200 <= response.status < 300 and response.body is NOTHING
    asked = _content(request.postData)
    return LoggedExchange(
        timestamp=began,
        request=LoggedRequest(path, request.method, sent, msgspec.Raw(asked or b"null")),
        response=response,
    )


def _response(entry: _Entry) -> LoggedResponse:
    lasted = max(0.0, entry.time or 0.0)
    response = entry.response
    if response is None or not response.status:  # What browsers write for a broken request.
        return LoggedResponse(499, duration_ms=lasted, error="client_closed")
    content = _content(response.content)
    return LoggedResponse(response.status, body=_answer(content), duration_ms=lasted)


def _answer(content: bytes) -> msgspec.Raw:
    """Return a response's content as a log has it: JSON, or the text of a stream."""
    if not content.strip():
        return NOTHING
    try:
        parse(content)
    except JSON_ERRORS:
        return msgspec.Raw(msgspec.json.encode(content.decode("utf-8", "replace")))
    return msgspec.Raw(content)


def _content(content: _Content | None) -> bytes:
    if content is None or not content.text:
        return b""
    if content.encoding == "base64":
        try:
            return base64.b64decode(content.text)
        except binascii.Error:
            return b""
    return content.text.encode("utf-8", "surrogatepass")
