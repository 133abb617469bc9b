"""AWS event streams (``application/vnd.amazon.eventstream``), read in bounded memory.

A frame is::

    total length, length of the headers, CRC-32 of these eight bytes    4 bytes each
    headers                                                             name, type, value
    payload
    CRC-32 of everything before                                         4 bytes

A frame with a bad checksum is dropped.  Where the first checksum is wrong, nobody knows where
the next frame begins, and the rest of the stream is not looked at.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar
from zlib import crc32

from gateway_sessions.dialects.sse import EVENT_LIMIT, Event

FAULT = b"fault"
"""The name of a frame that reports an exception or an error, which is no event."""

_PRELUDE = Struct(">III")
_CHECKSUM = Struct(">I")
_LEAST = _PRELUDE.size + _CHECKSUM.size
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type: true, false, the integers, time stamp, UUID."""
_BYTES, _STRING = 6, 7
"""The types whose value begins with its length, in two bytes."""


class Parser:
    """Turns chunks into events, named by their ``:event-type``, or `FAULT`."""

    end: ClassVar[bytes] = b""
    """What completes an event: nothing does, a frame is whole or it is none."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.overflowed = False
        """True once a frame was longer than ``limit`` bytes or damaged, and was dropped."""
        self._limit = limit
        self._pending = bytearray()
        self._to_skip = 0
        self._lost = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that this chunk completes."""
        events: list[Event] = []
        self._pending += chunk
        while not self._lost and (frame := self._frame()) is not None:
            event = _event(frame) if frame else None
            if event is None:
                self.overflowed = True
            else:
                events.append(event)
        if self._lost:
            self._pending.clear()
        return events

    def unfinished(self) -> Event | None:
        """Return None: what is left of a cut frame can not be checked."""
        return None

    def _frame(self) -> bytes | None:
        """Return the next frame, empty if it is too long, or None if it is still to come."""
        pending = self._pending
        if self._to_skip:
            skipped = min(self._to_skip, len(pending))
            self._to_skip -= skipped
            del pending[:skipped]
        if len(pending) < _PRELUDE.size:
            return None
        total, _, checksum = _PRELUDE.unpack_from(pending)
        if crc32(pending[:8]) != checksum or total < _LEAST:
            self._lost = self.overflowed = True
            return None
        if total > self._limit:
            self._to_skip = total
            return b""
        if len(pending) < total:
            return None
        frame = bytes(pending[:total])
        del pending[:total]
        return frame


def _event(frame: bytes) -> Event | None:
    """Return the event in a frame, or None if it is damaged."""
    end = len(frame) - _CHECKSUM.size
    if crc32(frame[:end]) != _CHECKSUM.unpack_from(frame, end)[0]:
        return None
    _, size, _ = _PRELUDE.unpack_from(frame)
    payload = _PRELUDE.size + size
    if payload > end:
        return None
    try:
        headers = _headers(frame[_PRELUDE.size : payload])
    except (IndexError, KeyError):
        return None
    return Event(headers.get(b":event-type", FAULT), frame[payload:end] or b"{}")


def _headers(data: bytes) -> dict[bytes, bytes]:
    """Return the headers that are text; raises IndexError or KeyError where they are damaged."""
    headers: dict[bytes, bytes] = {}
    place = 0
    while place < len(data):
        name_end = place + 1 + data[place]
        name, kind = data[place + 1 : name_end], data[name_end]
        place = name_end + 1
        if kind in (_BYTES, _STRING):
            size = data[place] << 8 | data[place + 1]
            place += 2
        else:
            size = _FIXED[kind]
        if kind == _STRING:
            headers[name] = data[place : place + size]
        place += size
    if place > len(data):
        raise IndexError("a header is cut off")
    return headers
