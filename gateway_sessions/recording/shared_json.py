"""Events as JSON, made once for several writers that are given the same ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence

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
            return b"[%b]" % b",".join(map(_text, batch))
        found = self._take(batch)
        made: list[tuple[SessionEvent, bytes]] = []
        texts: list[bytes] = []
        for event, left in zip(batch, found, strict=True):
            if left is None:
                left = event, _text(event)  # noqa: PLW2901 - as if it had been found
                made.append(left)
            texts.append(left[1])
        if made:
            self._leave(made)
        return b"[%b]" % b",".join(texts)

    def _take(self, batch: Sequence[SessionEvent]) -> list[tuple[SessionEvent, bytes] | None]:
        with self._lock:
            found = [self._left.pop(id(event), None) for event in batch]
            self._bytes -= sum(_size(left) for left in found if left is not None)
        return found

    def _leave(self, made: list[tuple[SessionEvent, bytes]]) -> None:
        """Leave JSON for another writer; the oldest that nobody came for makes room."""
        with self._lock:
            for entry in made:
                key = id(entry[0])
                if key not in self._left:  # else both were at it at the same time
                    self._left[key] = entry
                    self._bytes += _size(entry)
            while self._bytes > LEFT_BYTES:
                self._bytes -= _size(self._left.pop(next(iter(self._left))))


def _text(event: SessionEvent) -> bytes:
    try:
        return _encode(event)
    except UnicodeEncodeError:  # half a character
        return json_line(event)


def _size(entry: tuple[SessionEvent, bytes]) -> int:
    return OVERHEAD_BYTES + len(entry[1])
