"""Sessions for logged exchanges: the live path, with the log's own time as the clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec

from gateway_sessions.conversation import Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.dialects import Dialect, dialect_for
from gateway_sessions.errors import UnreadableBody, UnreadableLog
from gateway_sessions.exchange import SessionTag
from gateway_sessions.tracker import Tracked, Tracker


class LoggedRequest(msgspec.Struct):
    """The request of an exchange log line."""

    path: str
    method: str = "POST"
    headers: dict[str, str | list[str]] | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class LoggedResponse(msgspec.Struct):
    """The response of an exchange log line; ``body`` is an object, a stream's text, or null."""

    status: int = 200
    headers: dict[str, str | list[str]] | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")
    duration_ms: float = 0.0
    client_aborted: bool = False
    error: str | None = None


class LoggedClient(msgspec.Struct):
    """The sender of a logged request."""

    ip: str = ""
    scope: str = ""
    """Set in our own traces, whose credentials are masked: it tells senders apart instead."""


class LoggedExchange(msgspec.Struct):
    """One line of an exchange log, or one trace file."""

    timestamp: datetime
    request: LoggedRequest
    response: LoggedResponse | None = None
    request_id: str = ""
    client: LoggedClient = msgspec.field(default_factory=LoggedClient)


class LoggedVerdict(msgspec.Struct):
    """What replay says of one exchange; ``session_id`` is None where it is no LLM request."""

    request_id: str
    tag: SessionTag | None


OPEN_BYTES = 256 * 1024 * 1024
"""Bytes of the exchanges whose reply is yet to come: more than any gateway has in flight, but a
log may say so (durations in another unit).  The one that ends first ends early then."""

_OVERHEAD = 2048
"""Bytes that an exchange in flight takes beside its bodies."""

_decode_line = msgspec.json.Decoder(LoggedExchange).decode


def read_log(lines: Iterable[bytes | str], name: str = "log") -> Iterator[LoggedExchange]:
    """Yield the exchanges of a log, blank lines left out.

    Raises:
        UnreadableLog: a line is no exchange; the text names the line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        yield read_line(line, name, number)


def read_line(line: bytes | str, name: str, number: int, unit: str = "line") -> LoggedExchange:
    """Return the exchange of one line, or of whatever ``unit`` the log consists of.

    Raises:
        UnreadableLog: the line is no exchange.
    """
    try:
        return _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableLog(
            f"{name}, {unit} {number}: not an exchange ({error}); each {unit} needs a JSON object "
            "with timestamp, request and response."
        ) from None


class Replay:
    """Feeds logged exchanges to a tracker in the order of their own time.

    Requests take effect at ``timestamp``, replies at ``timestamp + duration_ms``; a reply that
    ends after a later request began is not known to that request, as in life.
    """

    def __init__(self, tracker: Tracker) -> None:
        """Replay into a tracker."""
        self._tracker = tracker
        self._order = count()
        self._open: list[tuple[float, int, Tracked, Dialect, LoggedExchange]] = []
        self._open_bytes = 0

    def verdicts(self, exchanges: Iterable[LoggedExchange]) -> Iterator[LoggedVerdict]:
        """Yield one verdict per exchange, in the order of the log."""
        for exchange in exchanges:
            yield self.verdict(exchange)
        self.finish()

    def finish(self) -> None:
        """Let all replies take effect."""
        self._close_until(float("inf"))

    def verdict(self, exchange: LoggedExchange) -> LoggedVerdict:
        """Return the verdict on the next exchange of the log."""
        moment = exchange.timestamp
        began = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        self._close_until(began)
        tag = self._begin(exchange, began)
        return LoggedVerdict(exchange.request_id, tag)

    def _begin(self, exchange: LoggedExchange, began: float) -> SessionTag | None:
        request = exchange.request
        headers = _flat(request.headers or {})
        if exchange.client.scope:
            headers["authorization"] = exchange.client.scope
        dialect = dialect_for(request.method, request.path, tuple(headers.items()))
        if dialect is None:
            return None
        sender = Sender(headers, request.path, exchange.client.ip)
        try:
            conversation = dialect.read_request(bytes(request.body), request.path)
            tracked = self._tracker.begin(conversation, sender, began)
        except UnreadableBody:
            return None
        duration = exchange.response.duration_ms / 1000 if exchange.response else 0.0
        ended = began + max(0.0, duration)
        heapq.heappush(self._open, (ended, next(self._order), tracked, dialect, exchange))
        self._open_bytes += _size(exchange)
        while self._open_bytes > OPEN_BYTES:
            self._close_first()
        return tracked.tag()

    def _close_until(self, moment: float) -> None:
        while self._open and self._open[0][0] <= moment:
            self._close_first()

    def _close_first(self) -> None:
        ended, _, tracked, dialect, exchange = heapq.heappop(self._open)
        self._open_bytes -= _size(exchange)
        response = exchange.response
        reply = _reply(dialect, response) if response else None
        broken = response is None or response.client_aborted or response.error is not None
        if not broken and reply is not None and reply.complete and reply.messages:
            self._tracker.answered(tracked, reply, ended)
        else:
            self._tracker.failed(tracked, reply, ended)


def _size(exchange: LoggedExchange) -> int:
    """Return about how many bytes an exchange takes in memory."""
    answered = memoryview(exchange.response.body).nbytes if exchange.response else 0
    return memoryview(exchange.request.body).nbytes + answered + _OVERHEAD


def _reply(dialect: Dialect, response: LoggedResponse) -> Reply | None:
    """Return the reply of a logged response, as far as there is one."""
    if not 200 <= response.status < 300:
        return None
    raw = bytes(response.body)
    if raw.startswith(b'"'):
        assembler = dialect.assembler()
        assembler.feed(_text(raw))
        return assembler.reply()
    if raw == b"null":
        return None
    try:
        return dialect.read_reply(raw)
    except UnreadableBody:
        return None


def _text(raw: bytes) -> bytes:
    try:
        return msgspec.json.decode(raw, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""


def _flat(headers: dict[str, Any]) -> dict[str, str]:
    """Return headers with lower-case names; of repeated ones, the first."""
    flat: dict[str, str] = {}
    for name, value in headers.items():
        flat.setdefault(name.lower(), value if isinstance(value, str) else next(iter(value), ""))
    return flat
