"""The messages of OpenAI Chat Completions, in requests and in replies."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw

from gateway_sessions.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Media,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway_sessions.dialects import parsing
from gateway_sessions.dialects.parsing import Json, mapping, text, texts
from gateway_sessions.errors import UnreadableBody

_ROLES = {
    "system": SYSTEM,
    "developer": SYSTEM,
    "user": USER,
    "tool": USER,
    "function": USER,
    "assistant": ASSISTANT,
}


PLAIN_ROLES = {kind: _ROLES[kind] for kind in ("system", "developer", "user", "assistant")}
"""The roles of messages that are nothing but a text, where they hold nothing else."""


class _Function(msgspec.Struct, gc=False):
    name: str
    arguments: str


class _Call(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    id: str
    function: _Function
    type: Literal["function"]


class _ToolMessage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What calls functions, or gives the result of one, and says nothing beside."""

    role: Literal["assistant", "tool"]
    content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str = ""
    refusal: None = None


_read_tool_message = msgspec.json.Decoder(_ToolMessage).decode


def read_message(raw: Raw) -> tuple[Message, ...]:
    """Return the one message in a raw item; raises `UnreadableBody`."""
    try:
        wire = _read_tool_message(raw)
    except parsing.JSON_ERRORS:
        return (_message(parsing.read_object(raw)),)
    # Agents send hundreds of these: read in their usual shape they cost half of what they else do.
    said = (Text(wire.content),) if wire.content else ()
    if wire.role == "tool":
        return (Message(USER, (ToolResult(wire.tool_call_id, said),)),)
    calls = [
        ToolCall(call.id, call.function.name, parsing.arguments(call.function.arguments))
        for call in wire.tool_calls or ()
    ]
    return (Message(ASSISTANT, (*said, *calls)),)


def _message(wire: Json) -> Message:
    kind = wire.get("role")
    role = _ROLES.get(kind) if type(kind) is str else None
    if role is None:
        raise UnreadableBody("A message has no role that chat completions know.")
    content = wire.get("content")
    if role is USER:
        parts = parsing.parts(content, _block)
        if kind != "user":
            parts = (ToolResult(text(wire.get("tool_call_id")), _result(parts)),)
        return Message(USER, parts)
    if role is SYSTEM:
        return Message(SYSTEM, parsing.parts(content, _block))
    return assistant_message(wire)


def _result(parts: tuple[Part, ...]) -> tuple[Text | Media, ...]:
    return tuple([part for part in parts if isinstance(part, Text | Media)])


_PLAIN = frozenset({"role", "content"})
"""What nearly all messages consist of; they are spared the look-ups of everything else."""


def assistant_message(wire: Json) -> Message:
    """Return what the model said: reasoning, content, refusal and calls, in this order.

    Raises `UnreadableBody`.
    """
    content = parsing.parts(wire.get("content"), _block)
    if wire.keys() <= _PLAIN:
        return Message(ASSISTANT, content)
    reasoning = texts(wire.get("reasoning_content") or wire.get("reasoning"))
    found: list[Part] = [Thinking(part.text) for part in reasoning]
    found += content
    found += texts(wire.get("refusal"))
    if audio := text(mapping(wire.get("audio")).get("id")):
        found.append(Media(audio))
    found += _calls(wire)
    return Message(ASSISTANT, tuple(found))


def _calls(wire: Json) -> list[Part]:
    calls = wire.get("tool_calls") or []
    if type(calls) is not list or set(map(type, calls)) - {dict}:
        raise UnreadableBody("The tool calls of a message are not a list of objects.")
    found: list[Part] = []
    for call in calls:
        identity = text(call.get("id"))
        if type(function := call.get("function")) is dict:
            found.append(_call(identity, function))
        elif type(custom := call.get("custom")) is dict:
            found.append(ToolCall(identity, text(custom.get("name")), custom.get("input")))
        else:
            found.append(parsing.unknown(call, without=("id", "index")))
    if type(function := wire.get("function_call")) is dict:
        found.append(_call("", function))
    return found


def _call(identity: str, function: Json) -> ToolCall:
    values = parsing.arguments(function.get("arguments"))
    return ToolCall(identity, text(function.get("name")), values)


_TEXTS = ("text", "input_text", "output_text")


def _block(block: Json) -> tuple[Part, ...]:
    """Return the part that a content block stands for; a block with nothing in it gives none."""
    kind = block.get("type")
    if kind in _TEXTS and type(words := block.get("text")) is str:
        return (Text(words),) if words else ()
    value = block.get(kind) if type(kind) is str else None
    if type(value) is str:
        match kind:
            case "refusal":
                return texts(value)
            case "image_url" | "video_url" | "audio_url":
                return (parsing.media(value),)
            case "thinking":
                return (Thinking(value),)
    elif type(value) is dict:
        for key in ("url", "data", "file_id", "file_data"):
            if reference := text(value.get(key)):
                return (parsing.media(reference),)
    elif type(value) is list and kind == "thinking":
        return (Thinking("".join(text(mapping(item).get("text")) for item in value)),)
    return (parsing.unknown(block),)
