"""A JSON array whose elements come one by one, read incrementally and in bounded memory.

The usual chunk holds one whole element, and msgspec tells that in one go; anything else is
scanned for the brackets that open and close an element.
"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from gateway_sessions.dialects.parsing import JSON_ERRORS
from gateway_sessions.dialects.sse import EVENT_LIMIT, Event

LAST = b"]"
"""The data of the event that stands for the end of the array."""

_SEPARATORS = b" \t\r\n,"
_QUOTE, _BACKSLASH = b'"\\'
_BETWEEN = re.compile(rb'[^"{}\[\]]*')
_WITHIN = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
"""Runs of bytes that change nothing: outside of strings, and within one."""
_check = msgspec.json.Decoder(msgspec.Raw).decode


class Parser:
    """Turns chunks into an event for each object in the array, and one for its end."""

    end: ClassVar[bytes] = b""
    """What completes an event: nothing is missing after its last bracket."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.overflowed = False
        """True once an element was longer than ``limit`` bytes and was dropped."""
        self._limit = limit
        self._pending = bytearray()
        self._depth = 0
        self._in_element = False
        self._in_string = False
        self._in_escape = False
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the elements that this chunk completes."""
        if self._depth == 1 and not self._in_string:
            element = chunk.strip(_SEPARATORS)
            if len(element) <= self._limit and _is_object(element):
                return [Event(b"", element)]
        return self._scan(chunk)

    def unfinished(self) -> Event | None:
        """Return None: an element without its last bracket says nothing yet."""
        return None

    def _scan(self, chunk: bytes) -> list[Event]:
        """Follow strings and brackets; what they hold is for others to read."""
        events: list[Event] = []
        start, place, end = 0, 0, len(chunk)
        if self._in_escape and chunk:
            self._in_escape, place = False, 1
        while (place := _skip(chunk, place, self._in_string)) < end:
            mark = chunk[place]
            place += 1
            if mark == _BACKSLASH:
                self._in_escape = True
            elif mark == _QUOTE:
                self._in_string = not self._in_string
            elif mark in b"{[":
                self._depth += 1
                if self._depth == 2:
                    self._in_element, start = True, place - 1
            else:
                self._depth -= 1
                if self._depth == 1 and self._in_element:
                    self._keep(chunk[start:place])
                    events += self._element()
                elif self._depth == 0:
                    events.append(Event(b"", LAST))
        if self._in_element:
            self._keep(chunk[start:])
        return events

    def _keep(self, piece: bytes) -> None:
        self._pending += piece
        if self._skipping or len(self._pending) > self._limit:
            self._skipping = self.overflowed = True
            self._pending = bytearray()

    def _element(self) -> list[Event]:
        """Return the element that is complete now, unless it was too long."""
        events = [] if self._skipping else [Event(b"", bytes(self._pending))]
        self._pending, self._in_element, self._skipping = bytearray(), False, False
        return events


def _skip(chunk: bytes, place: int, in_string: bool) -> int:
    """Return where the next byte that matters is, the end of the chunk if there is none."""
    found = (_WITHIN if in_string else _BETWEEN).match(chunk, place)
    return found.end() if found else place


def _is_object(element: bytes) -> bool:
    """Tell whether these are the bytes of one whole JSON object."""
    if not element.startswith(b"{") or not element.endswith(b"}"):
        return False
    try:
        _check(element)
    except JSON_ERRORS:
        return False
    return True
