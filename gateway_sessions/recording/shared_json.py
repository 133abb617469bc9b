"""Events as JSON, made once for several writers that are given the same ones."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from itertools import repeat

import msgspec

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.jsontext import json_line

LEFT_BYTES = 16 * 1024 * 1024
"""JSON that waits for the other writer: of some ten thousand events.  One that is further behind
than that makes its own."""
OVERHEAD_BYTES = 300
"""What an event occupies there besides."""

_encode = msgspec.json.Encoder().encode


class SharedJson:
    """What one writer makes it leaves for the next one; any thread may use it.

    Args:
        writers: how many there are.  With three, the third makes its own.
    """

    def __init__(self, writers: int) -> None:
        self._is_shared = writers > 1
        self._lock = threading.Lock()
        """Held for moments, never while JSON is made."""
        self._left: dict[int, tuple[SessionEvent, bytes]] = {}  # by `id`: the event is kept too
        self._bytes = 0

    def array(self, batch: Sequence[SessionEvent]) -> bytes:
        """Return events as a JSON array.

        Raises `TypeError` and the like for an event with a value that JSON has no form for.
        """
        if not self._is_shared:
            return b"[%b]" % b",".join(_texts(batch))
        found = self._take(batch)
        missing = [place for place, left in enumerate(found) if left is None]
        if missing:
            made = _texts([batch[place] for place in missing])
            entries = [(batch[place], text) for place, text in zip(missing, made, strict=True)]
            self._leave(entries)
            for place, entry in zip(missing, entries, strict=True):
                found[place] = entry
        return b"[%b]" % b",".join([left[1] for left in found if left is not None])

    def _take(self, batch: Sequence[SessionEvent]) -> list[tuple[SessionEvent, bytes] | None]:
        with self._lock:
            found = [*map(self._left.pop, map(id, batch), repeat(None))]
            self._bytes -= _size([left for left in found if left is not None])
        return found

    def _leave(self, made: Sequence[tuple[SessionEvent, bytes]]) -> None:
        """Leave JSON for another writer; the oldest that nobody came for makes room."""
        with self._lock:
            # What both were at at the same time is there already.
            new = {id(entry[0]): entry for entry in made if id(entry[0]) not in self._left}
            self._left |= new
            self._bytes += _size(new.values())
            while self._bytes > LEFT_BYTES:
                self._bytes -= _size([self._left.pop(next(iter(self._left)))])


def _texts(batch: Sequence[SessionEvent]) -> list[bytes]:
    try:
        return [*map(_encode, batch)]
    except UnicodeEncodeError:  # half a character in one of them
        return [*map(_text, batch)]


def _text(event: SessionEvent) -> bytes:
    try:
        return _encode(event)
    except UnicodeEncodeError:  # half a character
        return json_line(event)


def _size(entries: Collection[tuple[SessionEvent, bytes]]) -> int:
    return OVERHEAD_BYTES * len(entries) + sum([len(text) for _, text in entries])
