"""Which sessions a key leads to, in a mapped file: chains of entries, the newest first.

An entry names a session by its place and its number.  Numbers are never given twice, so an entry
whose session has gone leads nowhere, until `sweep` removes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.mapped_file import ENTRY, SWEEP_HAND, TABLES, MappedFile

_KEY, _PLACE, _NUMBER, _NEXT = range(4)
"""Words of an entry."""
NUMBER = 0
"""The word of a session, or of a scope, that has its number, the first; 0 once it has gone."""

KEPT = CANDIDATES + 8
"""Sessions kept of each key, those that registered it last: some of them may have gone."""
_SPREAD = 2654435761
"""Times this (2^32 / golden ratio), numbers in any order of arrival are spread evenly."""
_TRIMS = 3 << 30
"""A chain is trimmed by those whose number, spread, has none of these bits: one in four."""
SWEPT = 64
"""Chains looked at for each session that goes: all of them while some ten thousand go."""


def found(file: MappedFile, key: int) -> list[int]:
    """Return the places of those to whom a key leads, who registered it last first."""
    words = file.words
    at = words[TABLES + key % file.heads]
    places = []
    while at:
        if words[at] == key and words[words[at + _PLACE]] == words[at + _NUMBER]:
            places.append(words[at + _PLACE])
        at = words[at + _NEXT]
    return places


def add(file: MappedFile, keys: Iterable[int], place: int) -> None:
    """Let keys lead to a place, for which there is room.

    They are not compared with what is there, which would be long where many sessions share a
    key: now and then, the oldest beyond `KEPT` go.
    """
    words, heads = file.words, file.heads
    number = words[place]
    trims = not number * _SPREAD & _TRIMS
    for key in keys:
        head = TABLES + key % heads
        at = file.take(ENTRY)
        words[at], words[at + _PLACE], words[at + _NUMBER] = key, place, number
        words[at + _NEXT] = words[head]
        words[head] = at
        if trims:
            _trim(file, head, key)


def discard(file: MappedFile, keys: Iterable[int], number: int) -> None:
    """Let keys no longer lead to whoever has a number."""
    words, heads = file.words, file.heads
    for key in keys:
        link = TABLES + key % heads
        while at := words[link]:
            if words[at] == key and words[at + _NUMBER] == number:
                _remove(file, link, at)
            else:
                link = at + _NEXT


def sweep(file: MappedFile) -> None:
    """Remove entries that lead nowhere from the next chains."""
    words = file.words
    first = words[SWEEP_HAND]
    last = min(first + SWEPT, file.heads)
    for link in range(TABLES + first, TABLES + last):
        while at := words[link]:
            if words[words[at + _PLACE]] != words[at + _NUMBER]:
                _remove(file, link, at)
            else:
                link = at + _NEXT  # noqa: PLW2901 - it goes along the chain
    words[SWEEP_HAND] = last % file.heads


def _trim(file: MappedFile, link: int, key: int) -> None:
    """Of a key, leave those that registered it last, each once."""
    words = file.words
    seen: set[int] = set()
    while at := words[link]:
        if words[at] == key:
            number = words[at + _NUMBER]
            if number in seen or len(seen) == KEPT or words[words[at + _PLACE]] != number:
                _remove(file, link, at)
                continue
            seen.add(number)
        link = at + _NEXT


def _remove(file: MappedFile, link: int, at: int) -> None:
    file.words[link] = file.words[at + _NEXT]
    file.give(at, ENTRY)
