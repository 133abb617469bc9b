"""A diary of what was said: one JSON line per message."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions import (
    Context,
    Exchange,
    Response,
    SessionTag,
    json_line,
    make_private_directory,
    open_private,
    private_directory,
    utc_timestamp,
    write_all,
)

_MESSAGE_FIELDS = ("messages", "contents", "input", "prompt")
"""Where requests keep their messages, by dialect."""


_field_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_item_decoder = msgspec.json.Decoder(list[msgspec.Raw])


class MessageLogger:
    """Appends every new message of a session, and every reply, to a JSONL file.

    Each line is an object with ``timestamp``, ``session_id``, ``request_id``, ``direction``
    (``request`` or ``response``), ``role``, ``content`` as the dialect has it, and
    ``metadata``.  What a session sent before is not written again.

    Args:
        log_file: The file; made with mode 0600, its folder with 0700.
        include_metadata: Add how the session was found, model, provider, status and usage.
    """

    def __init__(
        self,
        log_file: Path = Path("message_logs/messages.jsonl"),
        include_metadata: bool = True,
    ) -> None:
        self._path = Path(log_file)
        self._include_metadata = include_metadata

    def open(self, context: Context) -> None:
        """Make the folder; raises `StartError` if files can not be made in it."""
        private_directory(self._path.parent)

    def write(self, batch: Sequence[Exchange]) -> None:
        """Append the lines of a batch, all or none; other workers wait meanwhile.

        The file is opened anew for each batch, so that it may be moved away at any time.
        """
        lines = b"".join(line for exchange in batch for line in self._lines(exchange))
        if not lines:
            return
        make_private_directory(self._path.parent)
        descriptor = open_private(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
            end = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, lines)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)

    def _lines(self, exchange: Exchange) -> Iterator[bytes]:
        for role, content in _new_messages(exchange):
            yield self._line(exchange, exchange.started_at, "request", role, content)
        response = exchange.response
        if response is not None:
            answered_at = exchange.started_at + response.duration_ms / 1000
            for role, content in _replies(response):
                yield self._line(exchange, answered_at, "response", role, content)

    def _line(
        self, exchange: Exchange, at: float, direction: str, role: str, content: Any
    ) -> bytes:
        tag = exchange.session
        line: dict[str, Any] = {
            "timestamp": utc_timestamp(at),
            "session_id": tag.session_id if tag else None,
            "request_id": exchange.request_id,
            "direction": direction,
            "role": role,
            "content": content,
        }
        if self._include_metadata:
            line["metadata"] = _metadata(exchange, tag, exchange.response)
        return json_line(line)


def _metadata(
    exchange: Exchange, tag: SessionTag | None, response: Response | None
) -> dict[str, Any]:
    return {
        "provider": exchange.provider,
        "model": exchange.model,
        "relation": tag.relation if tag else None,
        "source": tag.source if tag else None,
        "confidence": tag.confidence if tag else None,
        "parent_session_id": tag.parent_session_id if tag else None,
        "status": response.status if response else None,
        "usage": response.usage if response else None,
        "error": response.error if response else None,
    }


def _new_messages(exchange: Exchange) -> Iterator[tuple[str, Any]]:
    """Yield role and content of what the session had not sent before.

    The history stays unread: it is most of the body.
    """
    fields = _fields(exchange.request.body)
    name = next((name for name in _MESSAGE_FIELDS if name in fields), None)
    if name is None or exchange.new_messages <= 0:
        return
    messages = _items(fields[name])
    new = messages[max(0, len(messages) - exchange.new_messages) :]
    if "system" in fields and len(new) == len(messages):
        yield "system", _value(fields["system"])
    for message in new:
        yield _role_and_content(_value(message), "user")


def _replies(response: Response) -> Iterator[tuple[str, Any]]:
    """Yield role and content of the messages in a response, in any dialect."""
    body = _parsed(response.body)
    if not isinstance(body, dict):
        return
    for name, inner in (
        ("choices", "message"),  # OpenAI chat
        ("candidates", "content"),  # Gemini
        ("output", None),  # OpenAI Responses
    ):
        if isinstance(body.get(name), list):
            for item in body[name]:
                message = item.get(inner) if inner and isinstance(item, dict) else item
                yield _role_and_content(message, "assistant")
            return
    if isinstance(body.get("message"), dict):  # Ollama
        yield _role_and_content(body["message"], "assistant")
    elif "content" in body and "role" in body:  # Anthropic
        yield _role_and_content(body, "assistant")


def _role_and_content(message: Any, role: str) -> tuple[str, Any]:
    """Return a message's role and content; of one that calls tools, everything but the role."""
    if not isinstance(message, dict):
        return role, message
    given = message.get("role")
    role = given if isinstance(given, str) else role
    for name in ("content", "parts"):
        if name in message and not message.get("tool_calls"):
            return role, message[name]
    return role, {key: value for key, value in message.items() if key != "role"}


def _fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object, unread if it is strict JSON; empty if it is neither."""
    try:
        return _field_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = _parsed(body)
        return parsed if isinstance(parsed, dict) else {}


def _items(messages: Any) -> Sequence[Any]:
    """Return the items of a list; anything else is taken for one message."""
    if isinstance(messages, msgspec.Raw):
        try:
            return _item_decoder.decode(messages)
        except msgspec.DecodeError:
            return [messages]
    return messages if isinstance(messages, list) else [messages]


def _value(part: Any) -> Any:
    return _parsed(bytes(part)) if isinstance(part, msgspec.Raw) else part


def _parsed(body: bytes) -> Any:
    """Return a JSON value, None for what is none; ``NaN`` and half surrogates are let through.

    `json_line` writes those down as strict JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
