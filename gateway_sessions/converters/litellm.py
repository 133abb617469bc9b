"""Rows of LiteLLM's spend logs, and the payloads that its logging callbacks write.

Spend logs are the table ``LiteLLM_SpendLogs``, exported as a table or as JSON; what callbacks
write to S3, GCS and files has much the same fields.  The request is in
``proxy_server_request``, or in ``messages`` where that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gateway_sessions.converters.containers import Row
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.replies import reply_body
from gateway_sessions.converters.shapes import (
    ASKING,
    CHAT,
    COMPLETIONS,
    MESSAGES,
    RESPONSES,
    generate_path,
    path_for,
)
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
from gateway_sessions.dialects import Dialect, dialect_for
from gateway_sessions.dialects.parsing import Json
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import (
    LoggedClient,
    LoggedExchange,
    LoggedRequest,
    LoggedResponse,
)

CUT = "litellm_truncated"
"""What LiteLLM writes into texts that it has cut."""
REDACTED = ("redacted-by-litellm", "redacted_by_litelm")
"""What it writes in the place of texts that it must not keep, in lower case."""

_PATHS = {
    "completion": CHAT,
    "text_completion": COMPLETIONS,
    "responses": RESPONSES,
    "anthropic_messages": MESSAGES,
}
"""Paths by type of call; asynchronous calls have an ``a`` before it."""
_GENERATES = ("generate_content", "generate_content_stream")
_PASSED_THROUGH = ("", "pass_through_endpoint", "llm_passthrough_route")
"""Types of calls that may be anything."""
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "x-litellm-api-key")
"""Headers that are masked in logs, where they are kept at all; the hashed key counts instead."""
_MADE_UP = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
"""What ids look like that LiteLLM gives each request whose client names no session."""
_USER_AGENT = "User-Agent: "
"""How the tag begins in which LiteLLM notes the client."""


def exchange(row: Row, notes: Notes) -> LoggedExchange:
    """Return the exchange of a row; raises `UnreadableLog` if it is none."""
    values = row.values()
    began = moment(values.get("startTime"))
    if began is None:
        raise UnreadableLog(
            f"{row.place}: not a row of LiteLLM's spend logs; each needs a startTime."
        )
    request = _request(values)
    path = _path(values, request)
    dialect = dialect_for("POST", path, ())
    sent, response = NOTHING, None
    if dialect is not None:
        notes.exchanges += 1
        if _is_kept(request):
            sent = body(request)
            notes.cut += row.holds(CUT)
        else:
            notes.without_prompt += 1
        lasted = milliseconds(began, moment(values.get("endTime")))
        response = _response(values, dialect, lasted)
        if sent is not NOTHING and response.status == 200 and response.body is NOTHING:
            notes.without_reply += 1
    return LoggedExchange(
        timestamp=began,
        request=LoggedRequest(path, headers=_headers(values, request), body=sent),
        response=response,
        request_id=text(first(values, ("request_id", "id"))),
        client=_client(values),
    )


def _request(values: Json) -> Json:
    """Return the body of the request, the end user named in it."""
    request = mapping(values.get("proxy_server_request"))
    request = mapping(request.get("body")) or request
    if not any(name in request for name in ASKING):
        asked = nested(values.get("messages"))
        if asked in (None, "", {}, []):
            return {}
        name = "messages" if type(asked) is list else "input"
        options = mapping(values.get("model_parameters"))
        request = {"model": values.get("model")} | options | {name: asked}
    end_user = text(values.get("end_user"))
    named = any(request.get(name) for name in ("user", "safety_identifier"))
    return request if named or not end_user else request | {"user": end_user}


def _is_kept(request: Json) -> bool:
    """Tell whether a request holds what was asked."""
    asked = first(request, ASKING)
    return bool(asked) and any(said.lower() not in REDACTED for said in _texts(asked))


def _texts(asked: Any) -> Iterable[str]:
    """Yield the texts of messages, something for each that has others."""
    for message in asked if type(asked) is list else [asked]:
        said = message.get("content", "…") if type(message) is dict else message
        yield said if type(said) is str else "…"


def _path(values: Json, request: Json) -> str:
    call = text(values.get("call_type"))
    if call.startswith("/"):
        return call
    for kind in (call, call.removeprefix("a")):
        if kind in _PATHS:
            return _PATHS[kind]
        if kind in _GENERATES:
            return generate_path(values.get("model"))
        if kind in _PASSED_THROUGH:
            return path_for(request, nested(values.get("response"))) or "/"
    return f"/{call}"  # Embeddings, images, files, …: no conversation.


def _headers(values: Json, request: Json) -> dict[str, str | list[str]]:
    """Return what is kept of the client's headers."""
    found: dict[str, str | list[str]] = {}
    for name in ("litellm_metadata", "metadata"):
        found = found or headers(mapping(request.get(name)).get("headers"))
    kept = {name: sent for name, sent in found.items() if name not in _CREDENTIALS}
    tags = nested(values.get("request_tags"))
    agents = [
        tag.removeprefix(_USER_AGENT)
        for tag in (tags if type(tags) is list else ())
        if type(tag) is str and tag.startswith(_USER_AGENT)
    ]
    if agents:
        kept.setdefault("user-agent", max(agents, key=len))
    session = text(values.get("session_id"))
    if session and not _MADE_UP.fullmatch(session):
        kept.setdefault("x-litellm-session-id", session)
    return kept


def _response(values: Json, dialect: Dialect, lasted: float) -> LoggedResponse:
    if text(values.get("status")) == "failure":
        error = mapping(mapping(values.get("metadata")).get("error_information"))
        code = str(error.get("error_code") or "")
        return LoggedResponse(int(code) if code.isdecimal() else 500, duration_ms=lasted)
    answer = nested(values.get("response"))
    if answer in (None, "", {}, []) or str(answer).lower() in REDACTED:
        return LoggedResponse(body=NOTHING, duration_ms=lasted)
    return LoggedResponse(body=reply_body(answer, dialect), duration_ms=lasted)


def _client(values: Json) -> LoggedClient:
    """Return who asked: the hashed key, or where there is none the user, stands for the key."""
    metadata = mapping(values.get("metadata"))
    key = first(values, ("api_key",)) or metadata.get("user_api_key_hash")
    user = first(values, ("user",)) or metadata.get("user_api_key_user_id")
    address = first(values, ("requester_ip_address",)) or metadata.get("requester_ip_address")
    return LoggedClient(ip=text(address), scope=text(key) or text(user))
