"""Which sessions a key leads to, in a mapped file: chains of entries, the newest first.

An entry names a session by its place and its number.  Numbers are never given twice, so an entry
whose session has gone leads nowhere; it is removed by whoever comes past, and in the end by
`sweep`.
"""

from __future__ import annotations

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.mapped_file import ENTRY, SWEEP_HAND, TABLES, MappedFile

_KEY, _PLACE, _NUMBER, _NEXT = range(4)
"""Words of an entry."""
NUMBER = 0
"""The word of a session, or of a scope, that has its number; 0 once it has gone."""

KEPT = CANDIDATES + 8
"""Sessions kept of each key, those that registered it last: some of them may have gone."""
SWEPT = 64
"""Chains looked at for each session that goes: all of them while some ten thousand go."""


def found(file: MappedFile, key: int) -> list[int]:
    """Return the places of those to whom a key leads, who registered it last first."""
    words = file.words
    at = words[TABLES + key % file.heads]
    places = []
    while at:
        if words[at] == key and words[words[at + _PLACE] + NUMBER] == words[at + _NUMBER]:
            places.append(words[at + _PLACE])
        at = words[at + _NEXT]
    return places


def add(file: MappedFile, key: int, place: int) -> None:
    """Let a key lead to a place, for which there is room; the oldest beyond `KEPT` goes."""
    words = file.words
    head = link = TABLES + key % file.heads
    number, kept = words[place + NUMBER], 1
    while at := words[link]:
        if words[words[at + _PLACE] + NUMBER] != words[at + _NUMBER]:
            _remove(file, link, at)
            continue
        if words[at] == key:
            if words[at + _NUMBER] == number:
                return
            kept += 1
            if kept > KEPT:
                _remove(file, link, at)
                continue
        link = at + _NEXT
    at = file.take(ENTRY)
    words[at], words[at + _PLACE], words[at + _NUMBER] = key, place, number
    words[at + _NEXT] = words[head]
    words[head] = at


def discard(file: MappedFile, key: int, number: int) -> None:
    """Let a key no longer lead to whoever has a number."""
    words = file.words
    link = TABLES + key % file.heads
    while at := words[link]:
        if words[at] == key and words[at + _NUMBER] == number:
            _remove(file, link, at)
            return
        link = at + _NEXT


def sweep(file: MappedFile) -> None:
    """Remove entries that lead nowhere from the next chains."""
    words = file.words
    first = words[SWEEP_HAND]
    last = min(first + SWEPT, file.heads)
    for link in range(TABLES + first, TABLES + last):
        while at := words[link]:
            if words[words[at + _PLACE] + NUMBER] != words[at + _NUMBER]:
                _remove(file, link, at)
            else:
                link = at + _NEXT  # noqa: PLW2901 - it goes along the chain
    words[SWEEP_HAND] = last % file.heads


def _remove(file: MappedFile, link: int, at: int) -> None:
    file.words[link] = file.words[at + _NEXT]
    file.give(at, ENTRY)
