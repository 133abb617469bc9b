"""Lines of the kind that people write themselves around a client: a request and its response.

There is no standard.  What is understood: ``request`` with the body (or with ``body``,
``headers`` and ``url``) beside ``response``; or the body's fields beside ``response``,
``completion``, ``output`` or ``choices``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway_sessions.converters.containers import Row
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.replies import reply_body
from gateway_sessions.converters.shapes import ASKING, path_for
from gateway_sessions.converters.values import (
    NOTHING,
    body,
    first,
    headers,
    mapping,
    milliseconds,
    moment,
    nested,
    text,
)
from gateway_sessions.dialects import dialect_for
from gateway_sessions.dialects.parsing import Json
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import (
    LoggedClient,
    LoggedExchange,
    LoggedRequest,
    LoggedResponse,
)

BEGAN = ("timestamp", "start_time", "started_at", "created_at", "time", "created", "date")
ENDED = ("end_time", "ended_at", "completed_at", "finished_at")
LASTED = ("duration_ms", "latency_ms", "response_time_ms", "elapsed_ms")
ANSWERS = ("response", "completion", "output")
_PARTS_OF_ANSWER = ("id", "object", "choices", "usage")
"""The fields of a chat completion, where it is spread over the line."""
IDS = ("request_id", "id", "custom_id", "trace_id")
KEYS = ("api_key_hash", "api_key", "key_hash")
ADDRESSES = ("client_ip", "ip", "remote_addr")

_NOT_ASKED = frozenset(
    {*BEGAN, *ENDED, *LASTED, *ANSWERS, *_PARTS_OF_ANSWER, *IDS, *KEYS, *ADDRESSES,
     "status", "status_code", "error", "headers", "path", "url", "endpoint"}
)  # fmt: skip
"""Fields of a line that are no part of the request's body."""


def exchange(row: Row, notes: Notes) -> LoggedExchange:
    """Return the exchange of a line; raises `UnreadableLog` if it is none."""
    values = row.values()
    around = mapping(values.get("request"))
    request = _request(values, around)
    if not any(request.get(name) for name in ASKING):
        raise UnreadableLog(
            f"{row.place}: no request to an LLM; each {row.unit} needs messages, or a request that "
            "has them, and a response."
        )
    answer, status = _answer(values)
    began = _began(values, around, answer)
    if began is None:
        raise UnreadableLog(
            f"{row.place}: no time; each {row.unit} needs one, in a field such as timestamp, "
            "created_at or created."
        )
    path = _path(values, around) or path_for(request, answer)
    dialect = dialect_for("POST", path, ())
    replied = reply_body(answer, dialect) if dialect and status == 200 else NOTHING
    notes.exchanges += dialect is not None
    notes.without_reply += dialect is not None and status == 200 and replied is NOTHING
    return LoggedExchange(
        timestamp=began,
        request=LoggedRequest(path, headers=_headers(values, around), body=body(request)),
        response=LoggedResponse(status, body=replied, duration_ms=_lasted(values, began)),
        request_id=text(first(values, IDS)) or text(mapping(answer).get("id")),
        client=LoggedClient(text(first(values, ADDRESSES)), text(first(values, KEYS))),
    )


def _request(values: Json, around: Json) -> Json:
    if around:
        return mapping(around.get("body")) or mapping(around.get("json")) or around
    flat = {name: value for name, value in values.items() if name not in _NOT_ASKED}
    return flat | {name: nested(flat[name]) for name in ASKING if name in flat}


def _answer(values: Json) -> tuple[Any, int]:
    """Return what was answered, and with which status."""
    answer = first(values, ANSWERS)
    if answer is None and "choices" in values:
        answer = {name: values[name] for name in _PARTS_OF_ANSWER if name in values}
        answer["choices"] = nested(answer["choices"])
    around = mapping(answer)
    status = first(values, ("status_code", "status"))
    if "body" in around or "status_code" in around:
        status = first(around, ("status_code", "status")) or status
        answer = around.get("body")
    failed = values.get("error") or mapping(answer).get("error")
    status = int(status) if str(status).isdecimal() else 200
    return answer, 500 if failed and status < 400 else status


def _began(values: Json, around: Json, answer: Any) -> datetime | None:
    for fields in (values, around, mapping(answer)):
        found = moment(first(fields, BEGAN))
        if found is not None:
            return found
    return None


def _lasted(values: Json, began: datetime) -> float:
    told = first(values, LASTED)
    if type(told) in (int, float):
        return max(0.0, float(told))
    return milliseconds(began, moment(first(values, ENDED)))


def _path(values: Json, around: Json) -> str:
    """Return the path that the line names, if that is a conversation's."""
    for fields in (around, values):
        named = text(first(fields, ("path", "url", "endpoint")))
        if named and dialect_for("POST", named, ()) is not None:
            return named
    return ""


def _headers(values: Json, around: Json) -> dict[str, str | list[str]]:
    return headers(around.get("headers")) or headers(values.get("headers"))
