"""JSON values on lines of their own, read incrementally and in bounded memory."""

from __future__ import annotations

from typing import ClassVar

from gateway_sessions.dialects.sse import EVENT_LIMIT, Event


class Parser:
    """Turns chunks into an event for each line that has something on it."""

    end: ClassVar[bytes] = b"\n"
    """What completes an event."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.overflowed = False
        """True once a line was longer than ``limit`` bytes and was dropped."""
        self._limit = limit
        self._pending = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the lines that this chunk completes."""
        first, *others = chunk.split(b"\n")
        if not others:
            self._keep(first)
            return []
        *lines, rest = others
        if self._pending or self._skipping:
            self._keep(first)
            first, self._pending, self._skipping = bytes(self._pending), bytearray(), False
        events = [event for line in (first, *lines) if (event := self._event(line)) is not None]
        self._keep(rest)
        return events

    def unfinished(self) -> Event | None:
        """Return the line that the end of the stream cut off before its line end."""
        return self._event(bytes(self._pending))

    def _keep(self, piece: bytes) -> None:
        """Keep the beginning of a line; nothing of one that is too long."""
        self._pending += piece
        if self._skipping or len(self._pending) > self._limit:
            self._skipping = self.overflowed = True
            self._pending = bytearray()

    def _event(self, line: bytes) -> Event | None:
        if len(line) > self._limit:
            self.overflowed = True
            return None
        line = line.strip()
        return Event(b"", line) if line else None
