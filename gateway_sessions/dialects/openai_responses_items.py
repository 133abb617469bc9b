"""The items of OpenAI Responses: what a request's ``input`` and a reply's ``output`` hold."""

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

_ROLES = {
    "user": USER,
    "assistant": ASSISTANT,
    "system": SYSTEM,
    "developer": SYSTEM,
    "tool": USER,
}

_SILENT = ("item_reference", "mcp_list_tools")
"""Items of the model's side that say nothing themselves."""

_ABOUT = frozenset(
    {"type", "id", "call_id", "approval_request_id", "status", "caller", "role", "agent",
     "results", "outputs", "error", "pending_safety_checks", "acknowledged_safety_checks",
     "environment", "container_id", "fingerprint", "created_by", "max_output_length"}
)  # fmt: skip
"""Fields of an item that do not belong to what it says: the client may leave them out."""


def read_item(raw: Raw) -> tuple[Message, ...]:
    """Return the one message that an input item stands for; raises `UnreadableBody`.

    Text in the place of an item is what the user says: an ``input`` may be nothing else.
    """
    item = parsing.read(raw)
    if type(item) is str:
        return (Message(USER, texts(item)),)
    if type(item) is not dict:
        raise UnreadableBody("An input item is neither text nor an object.")
    if item.get("type", "message") == "message":
        role = _role(item)
        seal = item_seal(item) if role is ASSISTANT else ""
        return (Message(role, parsing.parts(item.get("content"), _block), seal),)
    return (Message(_side(item), item_parts(item), item_seal(item)),)


def _role(item: Json) -> str:
    role = item.get("role")
    known = _ROLES.get(role) if type(role) is str else None
    if known is None:
        raise UnreadableBody("A message has no role that the Responses API knows.")
    return known


def _side(item: Json) -> str:
    """Return whose item it is: outputs of tools and answers to questions are the client's."""
    kind = item["type"]
    if type(kind) is not str:
        raise UnreadableBody("The type of an input item is no text.")
    if "role" in item:
        return _role(item)
    if kind == "compaction_trigger":
        return SYSTEM
    return USER if kind.endswith(("_output", "_response")) else ASSISTANT


def item_parts(item: Json) -> tuple[Part, ...]:
    """Return what an item says; raises `UnreadableBody`.

    Calls of built-in tools are tool calls like others: with what the model asked for, without
    what the provider found.
    """
    kind = text(item.get("type", "message"))
    if kind == "message":
        return parsing.parts(item.get("content"), _block)
    if kind == "reasoning":
        return _reasoning(item)
    if kind in _SILENT or kind == "compaction_trigger":
        return ()
    if kind.endswith(("_output", "_response")):
        return (ToolResult(_identity(item), _output(item)),)
    if kind == "mcp_call" and item.get("output") is not None:
        return (_call(item, kind), ToolResult(_identity(item), _output(item)))
    if kind == "image_generation_call" and (image := text(item.get("result"))):
        return (parsing.media(image),)
    if kind.endswith(("_call", "_request")) or kind == "program":
        return (_call(item, kind),)
    return (parsing.unknown(item, without=("id", "status")),)


def item_seal(item: Json) -> str:
    """Return what nobody but the reply with this item has: what encrypts reasoning, or an id."""
    kind = item.get("type", "message")
    if kind == "reasoning":
        return text(item.get("encrypted_content")) or text(item.get("id"))
    return text(item.get("id")) if kind == "message" else ""


def _identity(item: Json) -> str:
    return (
        text(item.get("call_id"))
        or text(item.get("approval_request_id"))
        or text(item.get("id"))
    )  # fmt: skip


def _call(item: Json, kind: str) -> ToolCall:
    name = text(item.get("name")) or kind.removesuffix("_call")
    if "arguments" in item:
        return ToolCall(_identity(item), name, parsing.arguments(item["arguments"]))
    if "input" in item:
        return ToolCall(_identity(item), name, item["input"])
    return ToolCall(_identity(item), name, _said(item))


def _said(item: Json) -> Json:
    """Return what is particular to an item of a kind that we know nothing of."""
    said = {key: value for key, value in item.items() if key not in _ABOUT and value is not None}
    if type(action := said.get("action")) is dict:
        # What a search found is only there if the client asked for it.
        said["action"] = {
            key: value for key, value in action.items() if key != "sources" and value is not None
        }
    return said


def _output(item: Json) -> tuple[Text | Media, ...]:
    for key in ("output", "result"):
        output = item.get(key)
        if type(output) is dict:
            return _words(_block(output))
        if type(output) is list or type(output) is str:
            return _words(parsing.parts(output, _block))
    return (Text(parsing.canonical(_said(item))),)


def _words(parts: tuple[Part, ...]) -> tuple[Text | Media, ...]:
    return tuple(part for part in parts if isinstance(part, Text | Media))


def _reasoning(item: Json) -> tuple[Part, ...]:
    """Return the visible reasoning; what is encrypted says nothing to us."""
    words = [
        text(mapping(block).get("text"))
        for key in ("summary", "content")
        for block in _list(item.get(key))
    ]
    joined = "\n".join(filter(None, words))
    return (Thinking(joined),) if joined else ()


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []


_TEXTS = ("input_text", "output_text", "text", "summary_text")
_REFERENCES = ("image_url", "file_data", "file_url", "file_id", "input_audio", "video_url")
_MARKERS = (*parsing.MARKERS, "annotations", "logprobs", "detail")


def _block(block: Json) -> tuple[Part, ...]:
    """Return the part that a content block stands for; a block with nothing in it gives none."""
    kind = block.get("type")
    if kind in _TEXTS and type(words := block.get("text")) is str:
        return texts(words)
    if kind == "refusal" and type(words := block.get("refusal")) is str:
        return texts(words)
    if kind == "reasoning_text":
        return tuple(Thinking(part.text) for part in texts(block.get("text")))
    for key in _REFERENCES:
        value = block.get(key)
        inner = mapping(value)
        if reference := text(value) or text(inner.get("url")) or text(inner.get("data")):
            return (parsing.media(reference),)
    return (parsing.unknown(block, without=_MARKERS),)
