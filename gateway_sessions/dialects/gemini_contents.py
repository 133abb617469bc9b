"""The contents of Gemini, in requests and in replies.

Field names come in camel case, as the API documents them, and in snake case, which it takes
as well and some clients send.
"""

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
    None: USER,
    "": USER,
    "user": USER,
    "function": USER,
    "tool": USER,
    "model": ASSISTANT,
    "system": SYSTEM,
}


def read_content(raw: Raw) -> tuple[Message, ...]:
    """Return the messages in a raw content; raises `UnreadableBody`.

    A user's content with results of functions gives several, see `parsing.apart`.
    """
    wire = parsing.read_object(raw)
    kind = wire.get("role")
    role = _ROLES.get(kind) if kind is None or type(kind) is str else None
    if role is None:
        raise UnreadableBody("A content has no role that Gemini knows.")
    parts = content_parts(wire)
    if role is USER and len(parts) > 1:
        return parsing.apart(parts)
    return (Message(role, parts),)


def content_parts(content: Json) -> tuple[Part, ...]:
    """Return what a content says; a single part may stand without its list.

    Raises `UnreadableBody`.
    """
    parts = content.get("parts")
    return parsing.parts([parts] if type(parts) is dict else parts, _part)


def _part(part: Json) -> tuple[Part, ...]:
    """Return the part for a part on the wire; one with nothing in it gives none."""
    if type(words := part.get("text")) is str:
        if part.get("thought") is True:
            return tuple(Thinking(said.text) for said in texts(words))
        return texts(words)
    for camel, snake, read in _KINDS:
        value = part.get(camel) or part.get(snake)
        if type(value) is dict:
            return (read(value),)
    return (_unknown(part),)


def _unknown(part: Json) -> Media:
    return parsing.unknown(part, without=("thoughtSignature", "thought_signature", "thought"))


def _inline_data(value: Json) -> Part:
    """Return a picture or a file; Google's own client writes base64 with - and _."""
    data = value.get("data")
    if type(data) is not str:
        return _unknown(value)
    return Media(data.replace("-", "+").replace("_", "/"))


def _file_data(value: Json) -> Part:
    return Media(text(value.get("fileUri")) or text(value.get("file_uri")))


def _function_call(value: Json) -> Part:
    arguments = value.get("args")
    return ToolCall(
        text(value.get("id")), text(value.get("name")), {} if arguments is None else arguments
    )


def _function_response(value: Json) -> Part:
    files = value.get("parts")
    media = parsing.parts(files, _part) if type(files) is list else ()
    found = (*_response(value.get("response")), *media)
    return ToolResult(
        text(value.get("id")), tuple(part for part in found if isinstance(part, Text | Media))
    )


_WRAPPERS = ("result", "output", "error", "content")
"""The keys under which clients put a result that is plain text, since it must be an object."""


def _response(value: Any) -> tuple[Text, ...]:
    """Return the text of a result, as a dialect would have it whose results are texts."""
    wrapped = mapping(value)
    if len(wrapped) == 1:
        ((key, inner),) = wrapped.items()
        if key in _WRAPPERS and type(inner) is str:
            return texts(inner)
    return () if value is None else (Text(parsing.canonical(value)),)


_CODE = "code_execution"


def _executable_code(value: Json) -> Part:
    said = {key: value[key] for key in ("language", "code") if key in value}
    return ToolCall(text(value.get("id")), _CODE, said)


def _code_execution_result(value: Json) -> Part:
    return ToolResult(text(value.get("id")), texts(value.get("output")))


_KINDS = (
    ("functionCall", "function_call", _function_call),
    ("functionResponse", "function_response", _function_response),
    ("inlineData", "inline_data", _inline_data),
    ("fileData", "file_data", _file_data),
    ("executableCode", "executable_code", _executable_code),
    ("codeExecutionResult", "code_execution_result", _code_execution_result),
)
"""The fields that make a part what it is, and how to read each."""
