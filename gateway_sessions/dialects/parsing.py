"""From JSON to values without surprises: what every dialect needs to read a body.

Whatever a body holds (NaN, a lone surrogate, bytes that are not UTF-8, a hundred thousand
brackets, an integer of five thousand digits), reading it ends in a value or in one of
`JSON_ERRORS`, which the dialects turn into `UnreadableBody`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway_sessions.conversation import USER, Media, Message, Part, Text, ToolResult
from gateway_sessions.errors import UnreadableBody

JSON_ERRORS = (ValueError, RecursionError)
"""What msgspec raises for bad JSON: its own errors and those of Unicode are ValueErrors, and
nesting beyond the interpreter's stack is a RecursionError."""

parse = msgspec.json.Decoder().decode
"""Parse JSON (bytes, text or `msgspec.Raw`) strictly; raises `JSON_ERRORS`."""

Json = dict[str, Any]


def read(data: bytes | msgspec.Raw) -> Any:
    """Return a JSON value; raises `UnreadableBody` and nothing else."""
    try:
        return parse(data)
    except JSON_ERRORS as error:
        raise unreadable(error) from None


def read_object(data: bytes | msgspec.Raw) -> Json:
    """Return a JSON object; raises `UnreadableBody` for anything else."""
    try:
        value = parse(data)
    except JSON_ERRORS as error:
        raise unreadable(error) from None
    if type(value) is not dict:
        raise UnreadableBody("The JSON is not an object.")
    return value


def unreadable(error: Exception) -> UnreadableBody:
    """Return the error for a body that is no JSON or not of the right shape, saying why."""
    if isinstance(error, RecursionError):
        return UnreadableBody("The JSON is nested too deeply.")
    return UnreadableBody(f"The JSON can not be read: {error}.")


def canonical(value: Any) -> str:
    """Return JSON text that is equal for equal values: keys sorted, no blank space."""
    try:
        return msgspec.json.encode(value, order="deterministic").decode()
    except RecursionError as error:
        raise unreadable(error) from None


def arguments(value: Any) -> Any:
    """Return the arguments of a tool call: JSON text parsed, other text and values as they are.

    Empty text is what some providers send for a call without arguments where others send
    ``{}``; it gives ``{}``, so that both are the same call.
    """
    if type(value) is not str:
        return value
    if not value or value.isspace():
        return {}
    try:
        return parse(value)
    except JSON_ERRORS:
        return value


def text(value: Any) -> str:
    """Return a string as it is and anything else as the empty string."""
    return value if type(value) is str else ""


def count(*values: Any) -> int:
    """Return the first of the values that is a positive integer, or 0."""
    for value in values:
        if type(value) is int and value > 0:
            return value
    return 0


def mapping(value: Any) -> Json:
    """Return a JSON object as it is and anything else as an empty one."""
    return value if type(value) is dict else {}


def texts(*values: Any) -> tuple[Text, ...]:
    """Return a text part for each of the values that is a string with something in it."""
    return tuple([Text(value) for value in values if type(value) is str and value])


def media(url: str) -> Media:
    """Return the media part for a URL: of a ``data:`` URL only its payload.

    So the same picture is equal whether a dialect writes it as a URL or as base64 text.
    """
    if url.startswith("data:"):
        return Media(url.partition(",")[2])
    return Media(url)


MARKERS = ("cache_control", "citations")
"""Keys of content blocks that say nothing about their meaning; clients move and drop them."""


def unknown(block: Mapping[str, Any], without: Iterable[str] = MARKERS) -> Media:
    """Return a part for a content block that we do not know, so that different ones differ."""
    return Media(canonical({key: block[key] for key in block if key not in without}))


P = TypeVar("P", bound=Part)


def parts(content: Any, read: Callable[[Json], tuple[P, ...]]) -> tuple[P | Text, ...]:
    """Return the parts of a message's ``content``: null, a string, or a list.

    ``read`` turns one content block (a JSON object) into the parts it stands for.  Raises
    `UnreadableBody` where the content is something else.
    """
    if type(content) is str:
        return (Text(content),) if content else ()
    if content is None:
        return ()
    if type(content) is not list:
        raise UnreadableBody("The content of a message is neither text nor a list.")
    found: list[P | Text] = []
    for item in content:
        if type(item) is dict:
            found += read(item)
        elif type(item) is str:
            found += texts(item)
        else:
            raise UnreadableBody("A content block is neither text nor an object.")
    return tuple(found)


def apart(parts: tuple[Part, ...]) -> tuple[Message, ...]:
    """Return what a user says as one message for each tool result and for what stands between.

    That is how OpenAI's dialects write it: so a client that switches dialects still has the
    same history.
    """
    groups: list[list[Part]] = []
    for part in parts:
        if not groups or type(part) is ToolResult or type(groups[-1][-1]) is ToolResult:
            groups.append([])
        groups[-1].append(part)
    return tuple(Message(USER, tuple(group)) for group in groups) or (Message(USER, ()),)


def unicode(words: str) -> str:
    """Return text without lone surrogates, which JSON that is UTF-8 can not hold.

    For text that others put into our mouth, such as the message of an error.
    """
    return words.encode(errors="replace").decode()
