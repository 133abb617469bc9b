"""Cohere's chat, version 2: OpenAI's messages, with events of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from gateway_sessions.conversation import (
    ASSISTANT,
    Conversation,
    Message,
    Part,
    Reply,
    Thinking,
    Usage,
)
from gateway_sessions.dialects import openai_chat_messages, parsing, streaming
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.envelope import Envelope, conversation, read_envelope
from gateway_sessions.dialects.parsing import Json, mapping, text, texts
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    messages: list[Raw]


_REQUEST = msgspec.json.Decoder(_Request)


class Cohere(Dialect):
    """``POST …/v2/chat``."""

    name: ClassVar[str] = "cohere"
    provider: ClassVar[str] = "cohere"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body."""
        request = read_envelope(_REQUEST, body)
        return conversation(
            request,
            request.messages,
            openai_chat_messages.read_message,
            plain=openai_chat_messages.PLAIN_ROLES,
        )

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body; one without a message gives none."""
        return _reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream from ``message-start`` to ``message-end``."""
        return CohereAssembler()

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"message": message}``."""
        return msgspec.json.encode({"message": parsing.unicode(message)})


def _reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a response object; what in it has another shape is left out."""
    messages: tuple[Message, ...] = ()
    if type(wire := answer.get("message")) is dict:
        try:
            messages = (_message(wire),)
        except UnreadableBody:
            complete = False
    finish = text(answer.get("finish_reason"))
    return Reply(
        messages=messages,
        body=body,
        id=text(answer.get("id")),
        finish_reason=finish,
        usage=_usage(answer.get("usage")),
        complete=complete,
        refused=finish == "ERROR_TOXIC",
    )


def _message(wire: Json) -> Message:
    """Return what the model said; its plan for the use of tools is reasoning."""
    message = openai_chat_messages.assistant_message(wire)
    plan: tuple[Part, ...] = tuple(Thinking(part.text) for part in texts(wire.get("tool_plan")))
    return Message(ASSISTANT, plan + message.parts) if plan else message


def _usage(value: Any) -> Usage | None:
    if type(value) is not dict:
        return None
    tokens = mapping(value.get("tokens"))
    return Usage(
        input_tokens=parsing.count(tokens.get("input_tokens")),
        output_tokens=parsing.count(tokens.get("output_tokens")),
        cache_read_tokens=parsing.count(value.get("cached_tokens")),
    )


_LISTS = {"content": "content", "tool-call": "tool_calls", "citation": "citations"}
"""The lists in a message, by the events about their entries."""


class CohereAssembler(streaming.StreamAssembler):
    """Rebuilds the response object from a stream of events."""

    def __init__(self, limit: int = streaming.COLLECT_LIMIT) -> None:
        super().__init__(limit)
        self._fields: Json = {}
        self._message = streaming.Merged()

    def _apply(self, event: Json) -> int:
        kind = text(event.get("type"))
        about, _, action = kind.rpartition("-")
        delta = mapping(event.get("delta"))
        message = mapping(delta.get("message"))
        if kind == "message-start":
            self._fields = {"id": event.get("id")}
            return self._message.merge(_without_lists(message))
        if kind == "message-end":
            return sum(streaming.replace(self._fields, *field) for field in delta.items())
        if kind == "tool-plan-delta":
            return self._message.merge({"tool_plan": text(message.get("tool_plan"))})
        name = _LISTS.get(about, "")
        entry = message.get(name)
        if action in ("start", "delta") and type(entry) is dict:
            return self._message.merge({name: [entry | {"index": event.get("index")}]})
        return 0

    def _ends(self, event: Json) -> bool:
        return event.get("type") == "message-end"

    def _object(self) -> Json:
        message = self._message.value()
        if not self._fields and not message:
            return {}
        for name in _LISTS.values():
            if type(entries := message.get(name)) is list:
                message[name] = [_unnumbered(entry) for entry in entries]
        return self._fields | {"message": {"role": ASSISTANT} | message}

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return _reply(answer, body, complete=complete)


def _without_lists(message: Json) -> Json:
    """Return the start of a message; its lists are empty, and may be of another type."""
    return {key: value for key, value in message.items() if key not in _LISTS.values()}


def _unnumbered(entry: Json) -> Json:
    """Return an entry without the index that it has here only."""
    return {key: value for key, value in entry.items() if key != "index"}
