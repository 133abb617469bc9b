"""What was said, independent of the wire format it was said in.

A dialect turns bytes into these values and nothing above it looks at provider JSON again.
All of them are frozen.  They are msgspec structs because building one costs a tenth of a
frozen dataclass, and every request builds a few.  None of them can be part of a cycle, so the
garbage collector need not know of them (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, overload

import msgspec


class Text(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Plain text."""

    text: str


class Thinking(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Visible reasoning of a model; clients drop it at will, so it never takes part in identity."""

    text: str


class Media(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An image, a sound or a file.

    ``reference`` is its URL or provider file id, or the base64 text of its bytes; either is
    equal for equal content, which is all that detection needs.
    """

    reference: str


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A model's request to run a tool.

    ``arguments`` is the parsed JSON value, or the raw text where it is not JSON.  ``id`` is
    empty in dialects that give calls none (Gemini, Ollama).
    """

    id: str
    name: str
    arguments: Any


class ToolResult(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What a tool gave back; ``call_id`` is empty in dialects without ids."""

    call_id: str
    parts: tuple[Text | Media, ...]


Part = Text | Thinking | Media | ToolCall | ToolResult

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
"""The roles a `Message` can have: provider roles are folded onto these three
(``developer`` is system; ``tool`` and ``function`` are user, their content a `ToolResult`;
``model`` is assistant)."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message: a role (`SYSTEM`, `USER` or `ASSISTANT`) and its parts in order."""

    role: str
    parts: tuple[Part, ...]
    seal: str = ""
    """What only this reply has, and clients send back with it though it says nothing: a signature
    of its reasoning, or the id of an item.  Empty where there is none."""


class Continued(Sequence[msgspec.Raw]):
    """Messages of a body of which only the newest have been read, since the others are known.

    The first `SHOWN`, the newest, and the last before these are there at once.  For any other the
    whole body is read.
    """

    SHOWN: ClassVar[int] = 2

    __slots__ = ("_all", "_body", "_count", "_cut", "_last", "_newest", "_read", "_starts")

    def __init__(
        self,
        body: bytes,
        count: int,
        starts: tuple[int, ...],
        last: int,
        cut: int,
        newest: Sequence[msgspec.Raw],
        read: Callable[[], Sequence[msgspec.Raw]],
    ) -> None:
        """Make the messages of a body without reading it.

        Args:
            body: JSON without blanks between the messages.
            count: how many messages come before the newest; at least one.
            starts: where the first `SHOWN` of them begin, and the next.
            last: where the last of them begins.
            cut: where it ends.
            newest: all after it.
            read: reads all messages.
        """
        self._body = body
        self._count = count
        self._starts = starts
        self._last = last
        self._cut = cut
        self._newest = newest
        self._read = read
        self._all: Sequence[msgspec.Raw] | None = None

    def __len__(self) -> int:
        return self._count + len(self._newest)

    @overload
    def __getitem__(self, place: int) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[msgspec.Raw]: ...
    def __getitem__(self, place: int | slice) -> msgspec.Raw | Sequence[msgspec.Raw]:
        if isinstance(place, int):
            count = self._count
            found = place + len(self) if place < 0 else place
            if found >= count:
                return self._newest[found - count]
            if 0 <= found < self.SHOWN:
                starts = self._starts
                return msgspec.Raw(self._body[starts[found] : starts[found + 1] - 1])
            if found == count - 1:
                return msgspec.Raw(self._body[self._last : self._cut])
        if self._all is None:
            self._all = self._read()
        return self._all[place]

    def sent(self, start: int, end: int) -> bytes | memoryview[int]:
        """Return the bytes of consecutive messages, with commas between them."""
        if end == self._count and start <= self.SHOWN:
            return memoryview(self._body)[self._starts[start] : self._cut]
        return b",".join(self[start:end])


class Conversation(msgspec.Struct, frozen=True, gc=False):
    """The content of one request, its messages not yet read.

    A request repeats its whole history, so reading every message each time would be most of
    the work.  The messages therefore stay raw JSON (``messages``, zero-copy slices of the
    body) and ``read`` turns one of them into values when somebody has not seen its bytes
    before.  ``read`` may return several messages for one raw item.
    """

    messages: Sequence[msgspec.Raw]
    """Raw JSON of each message, in wire order, in-line system messages included."""
    read: Callable[[msgspec.Raw], tuple[Message, ...]]
    """Turns one raw message into values; raises `UnreadableBody`."""
    plain: Mapping[str, str] = {}
    """The roles, by the dialect's own name, of messages that ``{"role": …, "content": "text"}``
    says all about: such a message is that text of that role, and need not be given to ``read``."""
    system: bytes = b""
    """Raw JSON of the system prompt where the dialect keeps it outside of the messages."""
    tools: bytes = b""
    """Raw JSON of the tool declarations."""
    model: str = ""
    stream: bool = False
    end_user: str = ""
    """The end user as the client names them (``user``, ``safety_identifier``,
    ``metadata.user_id``), unabridged."""
    fields: Mapping[str, Any] = {}
    """The body fields that may name a session, those present only, as parsed JSON (for
    instance ``metadata``, ``session_id``, ``prompt_cache_key``, ``previous_response_id``)."""

    def sent(self, start: int, end: int) -> bytes | memoryview[int]:
        """Return the raw bytes of consecutive messages, with commas between them."""
        messages = self.messages
        if type(messages) is Continued:
            return messages.sent(start, end)
        return b",".join(messages[start:end])


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of one exchange, in tokens.

    ``input_tokens`` includes cached input and ``output_tokens`` includes reasoning, whatever
    the provider's own habit; all other counts are parts of those sums.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    """What the model thought before it spoke, whatever the provider calls it."""
    thinking_tokens: int = 0
    """Those of ``reasoning_tokens`` that the provider calls thinking or thoughts."""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    """Those of ``cache_creation_tokens`` that went into a cache that lives an hour."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What the provider answered.

    ``messages`` has one assistant message per alternative (``n`` > 1 gives several), the
    first being the main one; it is empty where the provider gave an error.  ``body`` is the
    reply as the non-streaming JSON object, also if it was streamed.
    """

    messages: tuple[Message, ...]
    body: bytes = b""
    id: str = ""
    model: str = ""
    finish_reason: str = ""
    """The provider's own word (``stop``, ``tool_calls``, ``end_turn``, …)."""
    usage: Usage | None = None
    complete: bool = True
    """False where a stream broke off before its end marker."""
    refused: bool = False
    """The provider declined (refusal or content filter), as opposed to a normal end."""
