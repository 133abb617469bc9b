"""Server-sent events, read incrementally and in bounded memory.

The bytes of a stream come cut anywhere: between CR and LF, inside a character, inside the
byte order mark.  Line ends are folded to LF first (all of them are ASCII, so UTF-8 never gets
in the way), and what is then left is to cut at blank lines.  The usual chunk holds whole
events, and costs one ``split`` and one slice for each of them.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

EVENT_LIMIT = 8 * 1024 * 1024
"""Bytes of one event that are kept.  The largest that providers send are images in base64, of
a few megabytes; anything above this is a broken or hostile stream."""

_MARK = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its ``event:`` name (empty if it has none) and its data lines, joined by LF.

    The data stay bytes: they are JSON, whose reader decodes them in any case.
    """

    name: bytes
    data: bytes


class Parser:
    """Turns chunks into events.  Any way of cutting the same bytes gives the same events."""

    end: ClassVar[bytes] = b"\n\n"
    """What completes an event."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.overflowed = False
        """True once an event was longer than ``limit`` bytes and was dropped."""
        self._limit = limit
        self._pending = bytearray()
        self._after_cr = False
        self._skipping = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that this chunk completes."""
        if (
            chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n")
            and not (self._pending or self._after_cr or b"\r" in chunk)
            and len(chunk) <= self._limit
        ):
            # One event of one line, as most chunks are: nothing is left to be cut.
            self._at_start = False
            return [Event(b"", chunk[6:-2])]
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not chunk:
            return []
        if not self._pending:
            *blocks, rest = chunk.split(b"\n\n")
        elif (cut := self._end(chunk)) is None:
            self._keep(chunk)
            return []
        else:
            first = bytes(self._pending[:-1] if cut == 1 else self._pending + chunk[: cut - 2])
            *blocks, rest = chunk[cut:].split(b"\n\n")
            if not self._skipping:
                blocks.insert(0, first)
            self._pending, self._skipping = bytearray(), False
        if rest:
            self._keep(rest)
        return self._events(blocks) if blocks else []

    def unfinished(self) -> Event | None:
        """Return the event that the end of the stream cut off before its blank line.

        The standard discards it, and so does `feed`; but some providers forget the last blank
        line, and then it holds their end marker.
        """
        block = bytes(self._pending)
        if self._at_start:
            block = block.removeprefix(_MARK)
        return _event(block)

    def _end(self, chunk: bytes) -> int | None:
        """Return where in the chunk the pending event's blank line ends, or None."""
        if chunk.startswith(b"\n") and self._pending.endswith(b"\n"):
            return 1
        found = chunk.find(b"\n\n")
        return None if found < 0 else found + 2

    def _keep(self, piece: bytes) -> None:
        """Keep the beginning of an event, or of one too long only its last byte."""
        self._pending += piece
        # The last LF may turn out to belong to the blank line and is not counted yet.
        if self._skipping or len(self._pending) > self._limit + piece.endswith(b"\n"):
            self._skipping = self.overflowed = True
            self._at_start = False
            self._pending = bytearray(piece[-1:])

    def _events(self, blocks: list[bytes]) -> list[Event]:
        if self._at_start:
            self._at_start = False
            if len(blocks[0]) <= self._limit:
                blocks[0] = blocks[0].removeprefix(_MARK)
        events = []
        for block in blocks:
            if len(block) > self._limit:
                self.overflowed = True
            elif block.startswith(b"data: ") and b"\n" not in block:
                events.append(Event(b"", block[6:]))
            elif (event := _event(block)) is not None:
                events.append(event)
        return events


def _event(block: bytes) -> Event | None:
    """Return the event in the lines of a block, or None if it has no data."""
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(name, b"\n".join(data)) if data else None
