"""What one exchange says, read through its dialect: the facts that records and trees are made of.

Of a request only what is new in it is read; its history stays raw.  What can not be read gives
facts without content and never an error: a record of little is better than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw

from gateway_sessions.analysis import rawjson
from gateway_sessions.analysis.results import NOTHING, Outcome, read_outcomes, reply_outcomes
from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Conversation,
    Media,
    Message,
    Part,
    Reply,
    Text,
    ToolCall,
    ToolResult,
)
from gateway_sessions.dialects import ROUTES, Dialect
from gateway_sessions.dialects.parsing import JSON_ERRORS
from gateway_sessions.errors import UnreadableBody

DIALECTS: dict[str, Dialect] = {route.dialect.name: route.dialect for route in ROUTES}
"""The wire formats by name."""

CALLS_LOOKED_BACK = 8
"""Messages before what is new, from the newest, in which an unknown result's call is looked for:
it is in the one before, unless the dialect writes each call of an answer as an item of its own."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A tool call that a model made; ``id`` is empty in dialects without ids."""

    id: str
    name: str
    arguments: bytes
    """As JSON."""


class Result(msgspec.Struct, frozen=True, gc=False):
    """What a tool gave back; ``call_id`` is empty in dialects without ids."""

    call_id: str
    name: str
    """Empty where the dialect does not repeat it."""
    size: int
    """Bytes of text, and of the references to media."""
    text: str
    success: bool | None
    """None where nobody says."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request says.  Of one that can not be read, nothing is known but why."""

    unreadable: str | None = None
    """Why; None if it could be read."""
    conversation: Conversation | None = None
    fields: Mapping[str, Raw] = {}
    """Of the body, as on the wire."""
    new: tuple[Raw, ...] = ()
    """The messages that are new, as on the wire: slices of the body."""
    delta: tuple[Message, ...] = ()
    """The same, read."""
    text: str | None = None
    """The newest text of the user's; None if there is none in what is new."""
    results: tuple[Result, ...] = ()
    """Tool results after the newest answer in what is new, in their order."""
    has_system_prompt: bool = False
    tool_count: int = 0

    def call(self, call_id: str) -> Call | None:
        """Return the call with this id, if it stands just before what is new, or in it."""
        if self.conversation is None:
            return None
        read = self.conversation.read
        older = self.conversation.messages[: -len(self.new) or None]
        for messages in (self.delta, *map(_reader(read), older[: -CALLS_LOOKED_BACK - 1 : -1])):
            for found in calls(part for message in messages for part in message.parts):
                if found.id == call_id:
                    return found
        return None


class Alternative(msgspec.Struct, frozen=True, gc=False):
    """Another answer to the same request, where several were asked for."""

    text: str
    calls: tuple[Call, ...]


class Answered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a response says; of one with alternatives, the main one."""

    message: Message | None = None
    """None where there is no answer: an error, or what can not be read."""
    text: str | None = None
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()
    """Of tools that ran at the provider's; their calls are among ``calls``."""
    blocks: int = 0
    """Parts of the answer: texts, reasoning, calls, …"""
    reply: Reply | None = None
    alternatives: tuple[Alternative, ...] = ()
    """The answers beside the main one."""


def asked(dialect: str, path: str, body: bytes, new: int) -> Asked:
    """Return what a request says.

    Args:
        dialect: its name; see `DIALECTS`.
        path: of the request; some dialects have the model there.
        body: decoded JSON, of any quality.
        new: how many messages, at the end, the session had not brought before.
    """
    known = DIALECTS.get(dialect)
    if known is None:
        return Asked(unreadable="The format of the request is not known.")
    try:
        conversation = known.read_request(body, path)
    except UnreadableBody as error:
        return Asked(unreadable=str(error))
    messages = conversation.messages
    fresh = tuple(messages[max(0, len(messages) - new) :]) if new > 0 else ()
    read = [_read(conversation.read, raw) for raw in fresh]
    delta = tuple(chain.from_iterable(read))
    return Asked(
        conversation=conversation,
        fields=rawjson.fields_of(body),
        new=fresh,
        delta=delta,
        text=newest_text(delta),
        results=_results(fresh, read) if _has_results(delta) else (),
        has_system_prompt=bool(conversation.system) or _opens_with_system(messages),
        tool_count=_tool_count(conversation.tools),
    )


def answered(dialect: str, body: bytes) -> Answered:
    """Return what the body of a response of status 2xx says, streamed or not."""
    known = DIALECTS.get(dialect)
    if known is None or not body:
        return Answered()
    try:
        reply = known.read_reply(body)
    except UnreadableBody:
        return Answered()
    if not reply.messages:
        return Answered(reply=reply)
    message = reply.messages[0]
    if len(reply.messages) == len(message.parts) == 1 and type(message.parts[0]) is Text:
        # As most answers are.
        words = message.parts[0].text
        return Answered(message=message, text=words or None, blocks=1, reply=reply)
    made = tuple(calls(message.parts))
    ran = [part for part in message.parts if isinstance(part, ToolResult)]
    return Answered(
        message=message,
        text=_said(message) or None,
        calls=made,
        results=tuple(map(_result, ran, _padded(reply_outcomes(body) if ran else [], len(ran)))),
        blocks=len(message.parts),
        reply=reply,
        alternatives=tuple(
            [Alternative(_said(other), tuple(calls(other.parts))) for other in reply.messages[1:]]
        ),
    )


def calls(parts: Iterable[Part]) -> Iterable[Call]:
    """Yield the tool calls among the parts of a message."""
    for part in parts:
        if type(part) is ToolCall:
            name, arguments = rawjson.text(part.name), rawjson.encoded(part.arguments)
            yield Call(rawjson.text(part.id), name, arguments)


def newest_text(messages: Sequence[Message]) -> str | None:
    """Return what the user said last, its blocks on lines of their own; None if nothing."""
    for message in reversed(messages):
        if message.role == USER:
            words = [part.text for part in message.parts if type(part) is Text]
            if words:
                return "\n".join(words)
    return None


def _said(message: Message) -> str:
    return "".join([part.text for part in message.parts if type(part) is Text])


def _read(read: Any, raw: Raw) -> tuple[Message, ...]:
    try:
        found: tuple[Message, ...] = read(raw)
    except UnreadableBody:
        return ()
    return found


def _reader(read: Any) -> Any:
    return lambda raw: _read(read, raw)


def _results(fresh: Sequence[Raw], read: Sequence[tuple[Message, ...]]) -> tuple[Result, ...]:
    start = len(read)
    while start and not any(message.role == ASSISTANT for message in read[start - 1]):
        start -= 1
    found: list[Result] = []
    for raw, messages in zip(fresh[start:], read[start:], strict=True):
        parts = [part for message in messages for part in message.parts]
        results = [part for part in parts if isinstance(part, ToolResult)]
        if results:
            found += map(_result, results, _padded(read_outcomes(raw), len(results)))
    return tuple(found)


def _has_results(delta: tuple[Message, ...]) -> bool:
    return ToolResult in [type(part) for message in delta for part in message.parts]


def _padded(outcomes: list[Outcome], count: int) -> list[Outcome]:
    """Return as many outcomes as there are results; where the numbers differ, none is known."""
    return outcomes if len(outcomes) == count else [NOTHING] * count


def _result(part: ToolResult, outcome: Outcome) -> Result:
    words = "".join([piece.text for piece in part.parts if type(piece) is Text])
    media = sum(len(piece.reference) for piece in part.parts if type(piece) is Media)
    size = media + (len(words) if words.isascii() else len(words.encode(errors="replace")))
    name = rawjson.text(outcome.name)
    return Result(rawjson.text(part.call_id), name, size, words, outcome.success)


class _Role(msgspec.Struct, gc=False):
    role: str = ""


_role = msgspec.json.Decoder(_Role).decode


def _opens_with_system(messages: Sequence[Raw]) -> bool:
    """Tell whether the first message is one of the system's, where these are in line."""
    if not messages:
        return False
    try:
        return _role(messages[0]).role in ("system", "developer")
    except JSON_ERRORS:
        return False


class _Tool(msgspec.Struct, gc=False, rename="camel"):
    """A declaration of one tool, or of several in Gemini's dialect."""

    function_declarations: list[Raw] | None = None
    in_snake_case: list[Raw] | None = msgspec.field(name="function_declarations", default=None)


class _ToolConfig(msgspec.Struct, gc=False):
    """The tools of Bedrock's Converse."""

    tools: list[Raw] = []


_tools = msgspec.json.Decoder(list[_Tool]).decode
_raw_tools = msgspec.json.Decoder(list[Raw]).decode
_tool_config = msgspec.json.Decoder(_ToolConfig).decode


def _tool_count(tools: bytes) -> int:
    """Return how many tools are declared; what is no declaration that we know counts as one."""
    if not tools:
        return 0
    try:
        if tools.startswith(b"{"):
            return len(_tool_config(tools).tools)
        declared = _tools(tools)
    except JSON_ERRORS:
        return _raw_count(tools)
    return sum(map(_tools_in, declared))


def _tools_in(tool: _Tool) -> int:
    names = tool.in_snake_case if tool.function_declarations is None else tool.function_declarations
    return 1 if names is None else len(names)


def _raw_count(tools: bytes) -> int:
    try:
        return len(_raw_tools(tools))
    except JSON_ERRORS:
        return 0
