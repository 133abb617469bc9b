"""The messages of Bedrock's Converse, in requests and in replies."""

from __future__ import annotations

from msgspec import Raw

from gateway_sessions.conversation import (
    ASSISTANT,
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

_ROLES = {"user": USER, "assistant": ASSISTANT}


def read_message(raw: Raw) -> tuple[Message, ...]:
    """Return the messages in a raw item; raises `UnreadableBody`.

    A user message with tool results gives several, see `parsing.apart`.
    """
    wire = parsing.read_object(raw)
    kind = wire.get("role")
    role = _ROLES.get(kind) if type(kind) is str else None
    if role is None:
        raise UnreadableBody("A message has no role that Converse knows.")
    parts = parsing.parts(wire.get("content"), _block)
    if role is USER and len(parts) > 1:
        return parsing.apart(parts)
    return (Message(role, parts),)


def assistant_message(wire: Json) -> Message:
    """Return what the model said in the message of a reply; raises `UnreadableBody`."""
    return Message(ASSISTANT, parsing.parts(wire.get("content"), _block))


def _block(block: Json) -> tuple[Part, ...]:
    """Return the parts of a content block, which has one key; a cache point gives none."""
    if type(words := block.get("text")) is str:
        return texts(words)
    if type(use := block.get("toolUse")) is dict:
        values = parsing.arguments(use.get("input"))
        return (ToolCall(text(use.get("toolUseId")), text(use.get("name")), values),)
    if type(result := block.get("toolResult")) is dict:
        found = parsing.parts(result.get("content"), _plain)
        return (ToolResult(text(result.get("toolUseId")), found),)
    if type(reasoning := block.get("reasoningContent")) is dict:
        said = mapping(reasoning.get("reasoningText"))
        return tuple(Thinking(part.text) for part in texts(said.get("text")))
    if "cachePoint" in block:
        return ()
    return _plain(block)


def _plain(block: Json) -> tuple[Text | Media, ...]:
    """Return the parts of a block that may also stand in a tool result."""
    if type(words := block.get("text")) is str:
        return texts(words)
    if "json" in block:
        return (Text(parsing.canonical(block["json"])),)
    if type(guarded := block.get("guardContent")) is dict:
        words = mapping(guarded.get("text")).get("text")
        return texts(words) or _media(guarded)
    if type(cited := block.get("citationsContent")) is dict:
        content = cited.get("content")
        blocks = content if type(content) is list else []
        return texts(*(mapping(item).get("text") for item in blocks))
    return _media(block)


_FILES = ("image", "document", "video", "audio")


def _media(block: Json) -> tuple[Media, ...]:
    """Return the file in a block, or the block itself."""
    for kind in _FILES:
        source = mapping(mapping(block.get(kind)).get("source"))
        reference = source.get("bytes") or mapping(source.get("s3Location")).get("uri")
        if type(reference) is str:
            return (Media(reference),)
    return (parsing.unknown(block),)
