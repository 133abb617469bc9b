"""Ollama: chat and generation, streamed as lines of JSON."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from gateway_sessions.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Conversation,
    Media,
    Message,
    Part,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from gateway_sessions.dialects import ndjson, parsing, streaming
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.envelope import (
    ABSENT,
    Envelope,
    conversation,
    present,
    read_envelope,
)
from gateway_sessions.dialects.parsing import Json, mapping, text, texts
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    messages: list[Raw] | None = None
    prompt: Raw = ABSENT
    suffix: Raw = ABSENT
    images: Raw = ABSENT
    system: Raw = ABSENT
    context: Raw = ABSENT
    """The history as token numbers, which generation of old gave back."""


_REQUEST = msgspec.json.Decoder(_Request)


class Ollama(Dialect):
    """``POST …/api/chat`` and ``…/api/generate``; both stream unless told otherwise."""

    name: ClassVar[str] = "ollama"
    provider: ClassVar[str] = "ollama"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body; a prompt is one message of the user's."""
        request = read_envelope(_REQUEST, body)
        messages = request.messages or []
        if request.messages is None and present(request.prompt):
            messages = [_prompt(request)]
        stream = bytes(request.stream) != b"false"
        found = conversation(request, messages, read_message, request.system, stream=stream)
        if not present(request.context):
            return found
        return replace(found, fields={**found.fields, "context": parsing.read(request.context)})

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body; one without a message gives none."""
        return _reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream of lines."""
        return LineAssembler()

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"error": message}``."""
        return msgspec.json.encode({"error": parsing.unicode(message)})


def _prompt(request: _Request) -> Raw:
    """Return a prompt as the message of a chat."""
    content = b"[" + bytes(request.prompt)
    if present(request.suffix):
        content += b"," + bytes(request.suffix)
    images = b',"images":' + bytes(request.images) if present(request.images) else b""
    return Raw(b'{"role":"user","content":' + content + b"]" + images + b"}")


_ROLES = {"system": SYSTEM, "user": USER, "tool": USER, "assistant": ASSISTANT}


def read_message(raw: Raw) -> tuple[Message, ...]:
    """Return the one message in a raw item; raises `UnreadableBody`."""
    wire = parsing.read_object(raw)
    kind = wire.get("role")
    role = _ROLES.get(kind) if type(kind) is str else None
    if role is None:
        raise UnreadableBody("A message has no role that Ollama knows.")
    parts = _parts(wire)
    if kind == "tool":
        plain = tuple(part for part in parts if isinstance(part, Text | Media))
        parts = (ToolResult(text(wire.get("tool_call_id")), plain),)
    return (Message(role, parts),)


_PLAIN = frozenset({"role", "content"})


def _parts(wire: Json) -> tuple[Part, ...]:
    """Return reasoning, content, images and calls, in this order; raises `UnreadableBody`."""
    content = parsing.parts(wire.get("content"), _unknown)
    if wire.keys() <= _PLAIN:
        return content
    found: list[Part] = [Thinking(part.text) for part in texts(wire.get("thinking"))]
    found += content
    images = wire.get("images")
    found += (parsing.media(image) for image in _list(images) if type(image) is str)
    found += (_call(mapping(call)) for call in _list(wire.get("tool_calls")))
    return tuple(found)


def _unknown(block: Json) -> tuple[Media, ...]:
    return (parsing.unknown(block),)


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []


def _call(call: Json) -> ToolCall:
    function = mapping(call.get("function"))
    values = parsing.arguments(function.get("arguments"))
    return ToolCall(
        text(call.get("id")), text(function.get("name")), {} if values is None else values
    )


def _reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a response object; what in it has another shape is left out."""
    finish = text(answer.get("done_reason"))
    return Reply(
        messages=_messages(answer),
        body=body,
        model=text(answer.get("model")),
        finish_reason=finish,
        usage=_usage(answer),
        complete=complete,
    )


def _messages(answer: Json) -> tuple[Message, ...]:
    """Return the answer to a chat, or to a prompt."""
    wire = answer.get("message")
    if type(wire) is not dict:
        if type(answer.get("response")) is not str:
            return ()
        wire = {"content": answer["response"], "thinking": answer.get("thinking")}
    try:
        return (Message(ASSISTANT, _parts(wire)),)
    except UnreadableBody:
        return ()


def _usage(answer: Json) -> Usage | None:
    """Return the counts; an input that was all cached is not counted by the provider."""
    if "eval_count" not in answer and "prompt_eval_count" not in answer:
        return None
    return Usage(
        input_tokens=parsing.count(answer.get("prompt_eval_count")),
        output_tokens=parsing.count(answer.get("eval_count")),
    )


_PIECES = ("message", "response", "thinking")
"""The fields of which each line has a piece; the others are those of the last line."""


class LineAssembler(streaming.StreamAssembler):
    """Rebuilds the response object from a stream of lines."""

    def __init__(self, limit: int = streaming.COLLECT_LIMIT) -> None:
        super().__init__(limit, ndjson.Parser())
        self._fields: Json = {}
        self._said = streaming.Merged()

    def _apply(self, event: Json) -> int:
        weight = self._said.merge({key: event[key] for key in _PIECES if key in event})
        for key, value in event.items():
            if key not in _PIECES:
                weight += streaming.replace(self._fields, key, value)
        return weight

    def _ends(self, event: Json) -> bool:
        return event.get("done") is True

    def _object(self) -> Json:
        return self._fields | self._said.value()

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return _reply(answer, body, complete=complete)
