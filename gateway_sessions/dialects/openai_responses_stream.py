"""The streams of OpenAI Responses.

Their last event holds the whole response, so most of what comes before is needed only where
the stream breaks off.  Some servers leave the output out of the last event; then the items
that came before it are used.
"""

from __future__ import annotations

from typing import Any

from gateway_sessions.conversation import Reply
from gateway_sessions.dialects import streaming
from gateway_sessions.dialects.parsing import Json

_LAST = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_FRAMES = _LAST | {"response.created", "response.in_progress", "response.queued"}
"""Events that hold the response as it is then."""

_FIELD_DELTAS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
"""Pieces of text in a field of an item."""

_LIST_DELTAS = {
    "response.output_text.delta": ("content", "content_index", "output_text", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta":
        ("summary", "summary_index", "summary_text", "text"),
}  # fmt: skip
"""Pieces of text in an entry of a list in an item: the list, what tells the entry's place, its
type and its field."""


class _Item:
    """An output item as it comes together."""

    def __init__(self, start: Json) -> None:
        self._start = start
        self._fields = streaming.Merged()
        self._lists: dict[str, dict[int, streaming.Merged]] = {}
        self.weight = streaming.weigh(start)

    def field(self, name: str, piece: str) -> int:
        """Take a piece of one of the item's fields; return what it weighs."""
        added = self._fields.merge({name: piece})
        self.weight += added
        return added

    def entry(self, name: str, place: int, kind: str, field: str, piece: str) -> int:
        """Take a piece of an entry in one of the item's lists; return what it weighs."""
        entries = self._lists.setdefault(name, {})
        entry, added = entries.get(place), 0
        if entry is None:
            entry = entries[place] = streaming.Merged({"type": kind})
            added = streaming.NEW
        added += entry.merge({field: piece})
        self.weight += added
        return added

    def value(self) -> Json:
        """Return the item as it is now."""
        lists = {
            name: [entry.value() for _, entry in sorted(entries.items())]
            for name, entries in self._lists.items()
        }
        return self._start | self._fields.value() | lists


class ResponseAssembler(streaming.StreamAssembler):
    """Rebuilds the ``response`` object from a stream of events."""

    def __init__(self, read: streaming.ReadReply, limit: int = streaming.COLLECT_LIMIT) -> None:
        super().__init__(limit)
        self._read_reply = read
        self._response: Json = {}
        self._weight = 0
        self._items: dict[int, _Item] = {}

    def _apply(self, event: Json) -> int:
        kind = event.get("type")
        if type(kind) is not str:
            return 0
        if (place := _LIST_DELTAS.get(kind)) is not None:
            name, key, part, field = place
            index = _integer(event.get(key))
            return self._item(event).entry(name, index, part, field, _string(event.get("delta")))
        if name := _FIELD_DELTAS.get(kind, ""):
            return self._item(event).field(name, _string(event.get("delta")))
        if kind == "response.output_item.added" or kind == "response.output_item.done":
            return self._put(_integer(event.get("output_index")), _object(event.get("item")))
        if kind in _FRAMES:
            return self._frame(_object(event.get("response")))
        if kind == "error":
            raise ValueError("the provider reports an error")
        return 0

    def _item(self, event: Json) -> _Item:
        index = _integer(event.get("output_index"))
        item = self._items.get(index)
        if item is None:
            raise ValueError("a delta came before the start of its item")
        return item

    def _put(self, index: int, value: Json) -> int:
        """Take an item as it is now, in the place of what had come of it."""
        before = self._items.get(index)
        item = self._items[index] = _Item(value)
        return item.weight - (before.weight if before else 0)

    def _frame(self, response: Json) -> int:
        """Take the response as it is now, in the place of what it was."""
        freed = self._weight
        self._response, self._weight = response, streaming.weigh(response)
        if response.get("output"):
            freed += sum(item.weight for item in self._items.values())
            self._items.clear()
        return self._weight - freed

    def _ends(self, event: Json) -> bool:
        kind = event.get("type")
        return type(kind) is str and kind in _LAST

    def _object(self) -> Json:
        if not self._response and not self._items:
            return {}
        start: Json = {"object": "response", "output": []}
        items = {"output": [item.value() for _, item in sorted(self._items.items())]}
        return start | self._response | (items if self._items else {})

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return self._read_reply(answer, body, complete=complete)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a place in an event is no integer")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a delta is no text")
    return value


def _object(value: Any) -> Json:
    if type(value) is not dict:
        raise ValueError("a part of an event is no object")
    return value
