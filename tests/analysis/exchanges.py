"""Sessions on the wire, as milestones, in the dialects that most clients speak."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway_sessions import events
from gateway_sessions.analysis.facts import DIALECTS
from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.exchange import Client, Headers, Request, Response, SessionTag
from gateway_sessions.milestones import AnyMilestone, Arrived, Chunk, Ended, Finished, FirstByte
from gateway_sessions.prices import Prices, Rates

SESSION = "sess_0123456789abcdefghjk"
NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "ollama": "/api/chat",
    "bedrock_converse": "/model/amazon.nova-pro-v1:0/converse",
}

Event = dict[str, Any]
"""An event as its JSON reads."""


def tag(session_id: str = SESSION, **fields: Any) -> SessionTag:
    """Return a session tag; by default that of a first request."""
    usual = {"relation": "first", "source": "new", "confidence": 1.0, "root_session_id": session_id}
    values: dict[str, Any] = usual | fields
    return SessionTag(session_id=session_id, **values)


def arrived(
    request_id: str,
    at: float,
    body: Any,
    new: int,
    *,
    dialect: str = "openai_chat",
    session: SessionTag | None = None,
    headers: Headers = (),
    **fields: Any,
) -> Arrived:
    """Return the arrival of a request at ``at`` seconds after `NOON`."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    session = session or tag()
    path = fields.pop("path", PATHS[dialect])
    count, model, stream = 0, "", False
    try:
        conversation = DIALECTS[dialect].read_request(sent, path)
        count, model, stream = len(conversation.messages), conversation.model, conversation.stream
    except UnreadableBody:
        pass
    values: dict[str, Any] = {
        "session": session,
        "client": Client("192.0.2.7", "agent/1.0 (test)", "scope"),
        "request": Request("POST", path, headers, sent, len(sent)),
        "dialect": dialect,
        "provider": DIALECTS[dialect].provider,
        "model": model,
        "stream": stream,
        "message_count": count,
        "new_messages": new,
        "detection_ms": 0.5,
    }
    return Arrived(session.session_id, request_id, NOON + at, **values | fields)


def finished(
    request_id: str,
    at: float,
    body: Any,
    *,
    dialect: str = "openai_chat",
    session: SessionTag | None = None,
    model: str = "gpt-4o",
    gaps: Sequence[float] = (),
    overhead_ms: float = 2.0,
    **fields: Any,
) -> Finished:
    """Return the end of an exchange, with what the gateway reads in its reply."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    session = session or tag()
    values: dict[str, Any] = {
        "status": 200,
        "headers": (("Content-Type", "application/json"),),
        "body": sent,
        "size": len(sent),
        "duration_ms": 802.0,
        "time_to_first_byte_ms": 300.0,
        "streamed": False,
    } | fields
    if values["status"] == 200:
        try:
            reply = DIALECTS[dialect].read_reply(sent)
            values = {
                "usage": reply.usage,
                "model": reply.model,
                "finish_reason": reply.finish_reason,
                "refused": reply.refused,
            } | values
        except UnreadableBody:
            pass
    return Finished(
        session.session_id,
        request_id,
        NOON + at,
        session,
        dialect,
        DIALECTS[dialect].provider,
        model,
        Response(**values),
        overhead_ms,
        0.5,
        tuple(gaps),
    )


def first_byte(request_id: str, at: float) -> FirstByte:
    """Return the first byte of a stream."""
    return FirstByte(SESSION, request_id, NOON + at, 300.0)


def chunk(request_id: str, at: float, data: bytes, sequence: int = 0) -> Chunk:
    """Return a chunk of a stream."""
    return Chunk(SESSION, request_id, NOON + at, sequence, 310.0, data)


def ended(at: float, reason: str = "expired", session_id: str = SESSION) -> Ended:
    """Return the end of a session."""
    return Ended(session_id, "", NOON + at, reason)


def scribe(**options: Any) -> Scribe:
    """Return a scribe whose prices are known."""
    return Scribe(ScribeOptions(**options), PRICES)


PRICES = Prices({name: Rates(input=1.0, output=2.0, cache_read=0.1) for name in ("priced", "m")})


def told(recorder: Scribe, *milestones: AnyMilestone) -> list[Event]:
    """Return the events that milestones make, as their JSON reads."""
    return read(event for milestone in milestones for event in recorder.take(milestone))


def read(found: Iterable[events.SessionEvent]) -> list[Event]:
    """Return events as their JSON reads."""
    return [json.loads(msgspec.json.encode(event)) for event in found]


def kinds(found: Iterable[Event]) -> list[str]:
    """Return the types of events."""
    return [event["type"] for event in found]


def of(found: Iterable[Event], kind: str) -> list[Event]:
    """Return the events of one type."""
    return [event for event in found if event["type"] == kind]


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    """Return the body of a chat request; a text is a user's message."""
    found = [said if isinstance(said, dict) else user(said) for said in messages]
    return {"model": "m", "messages": found} | fields


def user(text: str) -> dict[str, Any]:
    """Return a user's message."""
    return {"role": "user", "content": text}


def assistant(text: str | None = None, **calls: str) -> dict[str, Any]:
    """Return a model's message with calls by id: ``c1="name"``."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": key, "type": "function", "function": {"name": name, "arguments": '{"a":1}'}}
            for key, name in calls.items()
        ]
    return message


def result(call_id: str, text: str) -> dict[str, Any]:
    """Return a tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def completion(message: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """Return a chat reply with 10 tokens in and 5 out."""
    said = assistant(message) if isinstance(message, str) else message
    finish = "tool_calls" if "tool_calls" in said else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    } | fields
