"""What assemblers have in common: events in, deltas merged, memory bounded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import msgspec

from gateway_sessions.conversation import Reply
from gateway_sessions.dialects import parsing, sse
from gateway_sessions.dialects.parsing import Json

COLLECT_LIMIT = 16 * 1024 * 1024
"""How much of one reply is kept: characters of text plus bytes of other values.  The longest
answers of today's models are about a megabyte of text; above this limit the reply counts as
incomplete and the stream is only watched for its end."""

_WHOLE = frozenset({"id", "type", "role", "name", "format"})
"""Strings in a delta that come in one piece; a repeated one replaces the first."""

NEW = 256
"""What a new field or list entry takes of the limit beside its text: about its bytes here."""


class Words(bytearray):
    """Text that comes in pieces of a few characters: a `StringIO` keeps each as an object."""

    __slots__ = ()

    def write(self, text: str) -> int:
        """Add to the end and return how many characters that were."""
        self += text.encode("utf-8", "surrogatepass")
        return len(text)

    def getvalue(self) -> str:
        """Return the whole text."""
        return self.decode("utf-8", "surrogatepass")


class Merged:
    """A JSON object that grows by deltas: texts are joined, lists extended, objects merged.

    Entries of a list that carry an ``index`` are found by it.  One that brings another ``id``
    is a new entry all the same: some providers number all parallel tool calls 0.

    ``start`` is what the object holds before the first delta.
    """

    __slots__ = ("_by_index", "_values")

    def __init__(self, start: Json | None = None) -> None:
        self._values: Json = start or {}
        self._by_index: dict[tuple[str, int], Merged] = {}

    def merge(self, delta: Json) -> int:
        """Take the next delta and return how much of the limit it takes."""
        values, weight = self._values, 0
        for key, value in delta.items():
            present = values.get(key)
            if type(value) is str and key not in _WHOLE:
                if type(present) is not Words:
                    begun = present if type(present) is str else ""
                    present = values[key] = Words()
                    present.write(begun)
                    weight += NEW
                weight += present.write(value)
            elif type(value) is dict:
                if type(present) is not Merged:
                    present = values[key] = Merged(parsing.mapping(present))
                    weight += NEW
                weight += present.merge(value)
            elif type(value) is list:
                if type(present) is not list:
                    present = values[key] = []
                    weight += NEW
                weight += self._extend(key, present, value)
            else:
                weight += replace(values, key, value)
        return weight

    def value(self) -> Json:
        """Return the object as it is now."""
        return {key: _value(value) for key, value in self._values.items()}

    def is_other(self, item: Json) -> bool:
        """Tell whether an entry of a list has an id of its own, other than this one's."""
        known, new = self._values.get("id"), item.get("id")
        return bool(known and new and known != new)

    def _extend(self, key: str, present: list[Any], items: list[Any]) -> int:
        weight = 0
        for item in items:
            index = item.get("index") if type(item) is dict else None
            if type(index) is not int:
                present.append(item)
                weight += weigh(item)
                continue
            entry = self._by_index.get((key, index))
            if entry is None or entry.is_other(item):
                entry = self._by_index[key, index] = Merged()
                present.append(entry)
                weight += NEW
            weight += entry.merge(item)
        return weight


def replace(values: Json, key: str, value: Any) -> int:
    """Set a field that comes as a whole and return how much of the limit it takes.

    Null and the empty string are what providers send for "as before".
    """
    if key in values and (value is None or value == "" or value == values[key]):
        return 0
    values[key] = value
    return weigh(value)


def weigh(value: Any) -> int:
    """Return about how many bytes a JSON value takes here."""
    return NEW if value is None or type(value) is int else NEW + len(msgspec.json.encode(value))


def _value(value: Any) -> Any:
    if type(value) is Words:
        return value.getvalue()
    if type(value) is Merged:
        return value.value()
    if type(value) is list:
        return [_value(item) for item in value]
    return value


class EventParser(Protocol):
    """Cuts a stream into events (`sse`, `ndjson`, `json_array`, `event_stream`).

    Any way of cutting the same bytes into chunks gives the same events.
    """

    @property
    def overflowed(self) -> bool:
        """True once something of the stream was dropped."""

    @property
    def end(self) -> bytes:
        """What completes an event."""

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """Return the events that this chunk completes."""

    def unfinished(self) -> sse.Event | None:
        """Return the event of which only the end is missing, or None."""


class ReadReply(Protocol):
    """Reads a dialect's response object, in one piece or put together from a stream."""

    def __call__(self, answer: Json, body: bytes, *, complete: bool) -> Reply:
        """Return the reply in the object, of which ``body`` is the JSON."""


class StreamAssembler(ABC):
    """Base of the assemblers for streams of JSON events.

    Subclasses say what an event adds (`_apply`), what has come together (`_object`), how the
    end is known (`_is_end`, `_ends`) and how to read the whole (`_read`).
    """

    def __init__(self, limit: int = COLLECT_LIMIT, parser: EventParser | None = None) -> None:
        self.finished = False
        """True once the provider's own end marker has been seen."""
        self._parser: EventParser = parser or sse.Parser()
        self._room = limit
        self._failed = False

    def feed(self, chunk: bytes) -> None:
        """Take the next decoded bytes of the stream, cut anywhere.  Never raises."""
        for event in self._parser.feed(chunk):
            if self._is_end(event):
                self.finished = True
            elif event.data:
                self._take(event)

    def reply(self) -> Reply:
        """Return what the stream has said so far; ``complete`` tells whether it ended well."""
        last = self._parser.unfinished()
        if last is not None and (self._is_end(last) or _is_object(last.data)):
            # Some providers forget what completes the last event.
            self.feed(self._parser.end)
        whole = self._room > 0 and not self._failed and not self._parser.overflowed
        try:
            answer = self._object()
            body = msgspec.json.encode(answer) if answer else b""
        except RecursionError:
            return Reply((), complete=False)
        return self._read(answer, body, whole and (self.finished or self._has_answer()))

    def _take(self, event: sse.Event) -> None:
        try:
            value = parsing.parse(event.data)
            if type(value) is not dict or value.get("error"):
                self._failed = True
                return
            if self._ends(value):
                self.finished = True
            if self._room > 0:
                self._room -= self._apply(value)
        except parsing.JSON_ERRORS:
            self._failed = True

    @abstractmethod
    def _apply(self, event: Json) -> int:
        """Collect an event and return how much of the limit it takes."""

    @abstractmethod
    def _object(self) -> Json:
        """Return the non-streaming object; empty if there is none."""

    def _is_end(self, event: sse.Event) -> bool:
        """Tell whether this is an end marker that says nothing else."""
        return event.data == b"[DONE]"

    def _ends(self, event: Json) -> bool:
        """Tell whether an event that says something is the last one."""
        return False

    def _has_answer(self) -> bool:
        """Tell whether all that matters has come, even if the end marker is missing."""
        return False

    @abstractmethod
    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        """Return the reply in the object."""


def _is_object(data: bytes) -> bool:
    try:
        return type(parsing.parse(data)) is dict
    except parsing.JSON_ERRORS:
        return False
