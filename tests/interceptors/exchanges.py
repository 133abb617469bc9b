"""Exchanges as interceptors see them, made in one call."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway_sessions import (
    Client,
    Context,
    Exchange,
    Request,
    Response,
    SessionTag,
    Telemetry,
    Usage,
)

STARTED_AT = 1705746645.123
"""2024-01-20T10:30:45.123Z."""

QUESTION: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What is 2+2?"},
    ],
}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"}}],
}

TAG = SessionTag(
    session_id="sess_abc123",
    relation="continue",
    source="prefix",
    confidence=1.0,
    root_session_id="sess_abc123",
)


def response(body: bytes | None = None, **fields: Any) -> Response:
    """Return a response; ``body`` defaults to `ANSWER`."""
    content = json.dumps(ANSWER).encode() if body is None else body
    values: dict[str, Any] = {
        "status": 200,
        "headers": (("Content-Type", "application/json"),),
        "body": content,
        "size": len(content),
        "duration_ms": 1250.5,
        "time_to_first_byte_ms": 300.25,
        "streamed": False,
        "usage": Usage(input_tokens=20, output_tokens=3),
        "model": "gpt-4o",
    }
    return Response(**values | fields)


def exchange(
    number: int = 1, body: bytes | None = None, answer: Response | None = None, **fields: Any
) -> Exchange:
    """Return a finished exchange ``req_<number>``; ``body`` defaults to `QUESTION`."""
    content = json.dumps(QUESTION).encode() if body is None else body
    made = Exchange(
        request_id=f"req_{number}",
        started_at=STARTED_AT,
        client=Client("198.51.100.9", "OpenAI/Python 1.99.0", "a1b2"),
        request=Request(
            "POST",
            "/v1/chat/completions",
            (("Content-Type", "application/json"), ("Authorization", "***")),
            content,
            len(content),
        ),
        dialect="openai_chat",
        provider="openai",
        model="gpt-4o",
        session=TAG,
        response=response() if answer is None else answer,
        message_count=4,
        new_messages=2,
    )
    return replace(made, **fields)


def context(telemetry: Telemetry | None = None, **stats: Any) -> Context:
    """Return a host's context with these statistics."""
    return Context(telemetry or Telemetry(), lambda: stats, {}, Path())
