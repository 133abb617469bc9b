"""The messages of Anthropic's Messages API, in requests and in replies."""

from __future__ import annotations

from typing import Any

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

ROLES = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM}
"""What the roles stand for; a message that holds nothing but a role and a text is that text."""


def read_message(raw: Raw) -> tuple[Message, ...]:
    """Return the messages in a raw item; raises `UnreadableBody`.

    A user message with tool results gives several, see `parsing.apart`.
    """
    wire = parsing.read_object(raw)
    kind = wire.get("role")
    role = ROLES.get(kind) if type(kind) is str else None
    if role is None:
        raise UnreadableBody("A message has no role that the Messages API knows.")
    content = wire.get("content")
    parts = parsing.parts(content, _block)
    if role is ASSISTANT:
        return (Message(role, parts, _seal(content)),)
    if role is USER and len(parts) > 1:
        return parsing.apart(parts)
    return (Message(role, parts),)


def assistant_message(content: Any) -> Message:
    """Return what the model said in the content of a reply; raises `UnreadableBody`."""
    return Message(ASSISTANT, parsing.parts(content, _block), _seal(content))


def _seal(content: Any) -> str:
    """Return the signature of the first reasoning in some content, or what encrypts it."""
    for block in content if type(content) is list else ():
        kind = block.get("type") if type(block) is dict else None
        if kind == "thinking" or kind == "redacted_thinking":
            return text(block.get("signature")) or text(block.get("data"))
    return ""


def _block(block: Json) -> tuple[Part, ...]:
    """Return the part that a content block stands for; a block with nothing in it gives none.

    Tools that run at the provider's have blocks of their own, which all end alike
    (``server_tool_use``, ``mcp_tool_use``, ``web_search_tool_result``, …).
    """
    kind = text(block.get("type"))
    if kind == "text":
        return _plain(block)
    if kind.endswith("tool_use"):
        name = text(block.get("name"))
        return (ToolCall(text(block.get("id")), name, parsing.arguments(block.get("input"))),)
    if kind.endswith("tool_result"):
        return (ToolResult(text(block.get("tool_use_id")), _result(block.get("content"))),)
    if kind == "thinking" or kind == "redacted_thinking":
        return (Thinking(text(block.get("thinking")) or text(block.get("data"))),)
    return _plain(block)


def _result(content: Any) -> tuple[Text | Media, ...]:
    """Return the parts of a tool result; an object (of a provider's tool) is kept as a whole."""
    if type(content) is dict:
        return (parsing.unknown(content),)
    return parsing.parts(content, _plain)


def _plain(block: Json) -> tuple[Text | Media, ...]:
    """Return the part for a block that may also stand in a tool result."""
    if block.get("type") == "text" and type(words := block.get("text")) is str:
        return texts(words)
    return (_media(block),)


_FILES = ("image", "document", "container_upload", "file", "audio", "video")


def _media(block: Json) -> Media:
    """Return the image, document or upload in a block, or the block itself."""
    if block.get("type") in _FILES:
        source = mapping(block.get("source")) or block
        for key in ("data", "url", "file_id"):
            if type(reference := source.get(key)) is str:
                return parsing.media(reference)
    return parsing.unknown(block)
