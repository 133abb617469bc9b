"""Replies as logs keep them, put into the wire format that their request was in.

A log may hold the provider's response, only the answer's text or message, or a stream's chunks
as a list; and LiteLLM keeps most replies in OpenAI's format, whatever the client was sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_sessions.conversation import ASSISTANT, Reply, Text, ToolCall
from gateway_sessions.converters.shapes import CHAT, MESSAGES, RESPONSES, generate_path
from gateway_sessions.converters.values import NOTHING, body, mapping, nested, text
from gateway_sessions.dialects import Dialect, dialect_for
from gateway_sessions.dialects.parsing import Json
from gateway_sessions.errors import UnreadableBody

_STREAM = re.compile(r"\s*(data|event|id|retry)?:")
"""How the text of a stream begins: with a field, or with a comment, which has no name."""
_FIELDS = {"choices": CHAT, "output": RESPONSES, "candidates": generate_path("")}
"""Fields that only one format's responses have, and that format's path."""
_OPENAIS = ("openai_chat", "openai_completions")
"""Read alike."""


def reply_body(answer: Any, dialect: Dialect) -> msgspec.Raw:
    """Return what was answered as the body of a response in a dialect; null if it was nothing."""
    value = _unwrapped(nested(answer))
    source = _source(value)
    if source is not None:
        return _translated(value, source, dialect)
    if type(answer) is str:
        # An answer that is JSON itself is one all the same, if no format's.
        return body(answer) if _is_stream(answer) else _written((Text(answer),), dialect)
    return body(value) if value and type(value) is dict else NOTHING


def _is_stream(answer: str) -> bool:
    """Tell a stream's text from an answer's: Ollama's are lines of JSON, all others events."""
    return bool(_STREAM.match(answer)) or "done" in mapping(answer.partition("\n")[0])


def _unwrapped(value: Any) -> Any:
    """Return the response that a part or an event of it stands for."""
    if type(value) is list and value and all(type(v) is dict and "message" in v for v in value):
        return {"choices": value}
    if type(value) is not dict:
        return value
    if value.get("type") in ("response.completed", "response.incomplete"):
        return mapping(value.get("response"))
    if "role" in value and "type" not in value:
        return {"choices": [{"index": 0, "message": value, "finish_reason": "stop"}]}
    return value


def _source(value: Any) -> Dialect | None:
    """Return the format of a response, or of the chunks of a stream; None if it is not known."""
    items = value if type(value) is list else [value]
    for item in items:
        if type(item) is not dict:
            return None
        kind = text(item.get("type"))
        if kind in ("message", "message_start"):
            return _dialect(MESSAGES)
        if kind.startswith("response."):
            return _dialect(RESPONSES)
        for field, path in _FIELDS.items():
            if field in item:
                return _dialect(path)
    return None


def _dialect(path: str) -> Dialect:
    dialect = dialect_for("POST", path, ())
    assert dialect is not None
    return dialect


def _translated(value: Any, source: Dialect, dialect: Dialect) -> msgspec.Raw:
    stream = _stream(value) if type(value) is list else b""
    if source.name == dialect.name or {source.name, dialect.name} == {*_OPENAIS}:
        return body(stream.decode()) if stream else body(value)
    try:
        reply = _assembled(source, stream) if stream else source.read_reply(bytes(body(value)))
    except UnreadableBody:
        return NOTHING
    if not reply.messages or not reply.complete:
        return NOTHING
    said = [part for part in reply.messages[0].parts if isinstance(part, Text | ToolCall)]
    return _written(tuple(said), dialect)


def _stream(chunks: list[Any]) -> bytes:
    """Return the chunks of a stream as they were sent; what their format ends with is the end."""
    events = []
    for chunk in chunks:
        name = text(chunk.get("type")) if type(chunk) is dict else ""
        start = f"event: {name}\n".encode() if name else b""
        events.append(b"%bdata: %b\n\n" % (start, msgspec.json.encode(chunk)))
    return b"".join(events)


def _assembled(source: Dialect, stream: bytes) -> Reply:
    assembler = source.assembler()
    assembler.feed(stream)
    return assembler.reply()


Said = tuple[Text | ToolCall, ...]


def _written(said: Said, dialect: Dialect) -> msgspec.Raw:
    """Return a response in a dialect that says so much; null where nothing is said."""
    write = _WRITERS.get(dialect.name)
    speaks = _calls(said) or _text(said).strip()
    return body(write(said)) if write and speaks else NOTHING


def _text(said: Said) -> str:
    return "".join(part.text for part in said if type(part) is Text)


def _calls(said: Said) -> list[ToolCall]:
    return [part for part in said if type(part) is ToolCall]


def _arguments(call: ToolCall) -> str:
    """Return a call's arguments as text, as OpenAI's formats have them."""
    if type(call.arguments) is str:
        return call.arguments
    return msgspec.json.encode(call.arguments).decode()


def _chat(said: Said) -> Json:
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": _arguments(c)}}
        for c in _calls(said)
    ]
    message: Json = {"role": ASSISTANT, "content": _text(said) or None}
    if calls:
        message["tool_calls"] = calls
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _anthropic(said: Said) -> Json:
    words = [{"type": "text", "text": _text(said)}] if _text(said) else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in _calls(said)
    ]
    message = {"type": "message", "role": ASSISTANT, "content": [*words, *calls]}
    return message | {"stop_reason": "tool_use" if calls else "end_turn"}


def _responses(said: Said) -> Json:
    words = [{"type": "output_text", "text": _text(said)}] if _text(said) else []
    message = [{"type": "message", "role": ASSISTANT, "content": words}] if words else []
    calls = [
        {"type": "function_call", "call_id": c.id, "name": c.name, "arguments": _arguments(c)}
        for c in _calls(said)
    ]
    return {"object": "response", "status": "completed", "output": [*message, *calls]}


def _gemini(said: Said) -> Json:
    words = [{"text": _text(said)}] if _text(said) else []
    calls = [{"functionCall": {"name": c.name, "args": c.arguments}} for c in _calls(said)]
    content = {"role": "model", "parts": [*words, *calls]}
    return {"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}]}


def _ollama(said: Said) -> Json:
    calls = [{"function": {"name": c.name, "arguments": c.arguments}} for c in _calls(said)]
    message: Json = {"role": ASSISTANT, "content": _text(said)}
    if calls:
        message["tool_calls"] = calls
    return {"message": message, "done": True, "done_reason": "stop"}


_WRITERS: dict[str, Callable[[Said], Json]] = {
    "openai_chat": _chat,
    "openai_completions": _chat,
    "openai_responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
}
