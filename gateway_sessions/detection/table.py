"""A compact multimap from 64-bit keys to small numbers.

A Python dict spends 90 bytes on such an entry, and sessions have two per exchange.  This one
spends about 15: an entry is 12 bytes in one of many byte strings, chosen by the top bits of the
key, and is found by a search through that string.  With a thousand entries that is still
faster than the first step through a hash table written in Python.

Entries need not be removed when their session goes; the owner says whether an entry is still
good, and a string drops the bad ones when it has grown to twice its length.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from struct import Struct

STRINGS = 1 << 14
_SHIFT = 64 - 14
_ENTRY = Struct("<QI")
_KEY = Struct("<Q")
_SIZE = _ENTRY.size
_SMALLEST = 16 * _SIZE
"""Bytes up to which a string is never searched for bad entries."""

Alive = Callable[[int, int], bool]
"""Whether the entry (key, number) still counts."""


class FingerprintTable:
    """Keys (1 to 2^64-1) to numbers (0 to 2^32-1), several numbers a key."""

    def __init__(self, alive: Alive, most: int) -> None:
        """Make an empty table.

        Args:
            alive: asked about entries when a string has become long.
            most: numbers kept per key; the oldest of them gives way to a further one.
        """
        self._alive = alive
        self._most = most
        self._strings = [b""] * STRINGS
        self._limits = array("I", [_SMALLEST]) * STRINGS

    def find(self, key: int) -> list[int]:
        """Return the numbers under a key, the one added last at the end."""
        string = self._strings[key >> _SHIFT]
        sought = _KEY.pack(key)
        found: list[int] = []
        place = string.find(sought)
        while place >= 0:
            if place % _SIZE == 0:
                found.append(_ENTRY.unpack_from(string, place)[1])
            place = string.find(sought, place + 1)
        return found

    def add(self, key: int, number: int) -> None:
        """Put a number under a key, unless it is there; the key 0 stands for none."""
        if not key:
            return
        which = key >> _SHIFT
        string = self._strings[which]
        entry = _ENTRY.pack(key, number)
        sought = entry[: _KEY.size]
        if sought in string:
            if _places(string, entry):
                return
            pieces = string.split(sought)
            if len(pieces) > self._most:
                string = _without_oldest(string, sought, pieces, self._most)
        string += entry
        if len(string) > self._limits[which]:
            string = self._cleaned(string)
            self._limits[which] = max(2 * len(string), _SMALLEST)
        self._strings[which] = string

    def discard(self, key: int, number: int) -> None:
        """Take a number away from a key, if it is there."""
        which = key >> _SHIFT
        string = self._strings[which]
        entry = _ENTRY.pack(key, number)
        place = string.find(entry)
        while place > 0 and place % _SIZE:  # It straddles two entries.
            place = string.find(entry, place + 1)
        if place >= 0:
            self._strings[which] = _without(string, place)

    def _cleaned(self, string: bytes) -> bytes:
        alive = self._alive
        kept = [entry for entry in _ENTRY.iter_unpack(string) if alive(*entry)]
        if len(kept) * _SIZE == len(string):
            return string
        return b"".join([_ENTRY.pack(*entry) for entry in kept])


def _places(string: bytes, sought: bytes) -> list[int]:
    """Return where entries begin that begin with some bytes, in the order of their arrival."""
    places: list[int] = []
    place = string.find(sought)
    while place >= 0:
        if place % _SIZE == 0:
            places.append(place)
        # Anything else straddles two entries; another match may begin right behind that.
        place = string.find(sought, place + 1)
    return places


def _without_oldest(string: bytes, sought: bytes, pieces: list[bytes], most: int) -> bytes:
    """Return a string without the oldest entry of a key, if the key has as many as it may.

    ``pieces`` are what the key's bytes split the string into.
    """
    # What many sessions share comes often, so the places are counted without a step for each:
    # nothing straddles where all pieces but the first begin with a number and end with an entry.
    between = {length % _SIZE for length in set(map(len, pieces[1:]))}
    if not len(pieces[0]) % _SIZE and between == {_SIZE - len(sought)}:
        return _without(string, len(pieces[0])) if len(pieces) == most + 1 else string
    places = _places(string, sought)
    return _without(string, places[0]) if len(places) == most else string


def _without(string: bytes, place: int) -> bytes:
    return string[:place] + string[place + _SIZE :]
