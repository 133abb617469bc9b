"""A compact multimap from 64-bit keys to small numbers.

A Python dict spends 90 bytes on such an entry, and sessions have two per exchange.  This one
spends about 18: open addressing with linear probing in two flat arrays.  It is cut into
shards by the top bits of the key so that growing one never takes long.

Entries need not be removed when their session goes; the owner says whether an entry is still
good, and a shard drops the bad ones when it fills up.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import pairwise

SHARDS = 1024
_SHIFT = 64 - 10
_SMALLEST = 16
_FULL = 0.8
"""Load at which a shard is cleaned or grown."""
_ROOMY = 0.55
"""Load after cleaning above which it grows, by a half."""

Alive = Callable[[int, int], bool]
"""Whether the entry (key, number) still counts."""


class _Shard:
    """One open-addressing table; a key of 0 marks a free place."""

    __slots__ = ("keys", "limit", "numbers", "size", "used")

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys = array("Q", bytes(8 * size))
        self.numbers = array("I", bytes(4 * size))
        self.used = 0
        self.limit = int(size * _FULL)


class FingerprintTable:
    """Keys (1 to 2^64-1) to numbers (0 to 2^32-1), several numbers a key."""

    def __init__(self, alive: Alive, most: int) -> None:
        """Make an empty table.

        Args:
            alive: asked about entries when a shard is cleaned.
            most: numbers kept per key; the oldest of them gives way to a further one.
        """
        self._alive = alive
        self._most = most
        # Of different sizes, so that they do not all fill up, and grow, at the same time.
        self._shards = [_Shard(_SMALLEST + number % _SMALLEST // 2) for number in range(SHARDS)]

    def find(self, key: int) -> list[int]:
        """Return the numbers under a key, in no particular order."""
        shard = self._shards[key >> _SHIFT]
        keys, size = shard.keys, shard.size
        place = key % size
        found: list[int] = []
        while held := keys[place]:
            if held == key:
                found.append(shard.numbers[place])
            place += 1
            if place == size:
                place = 0
        return found

    def add(self, key: int, number: int) -> None:
        """Put a number under a key, unless it is there."""
        shard = self._shards[key >> _SHIFT]
        keys, numbers, size = shard.keys, shard.numbers, shard.size
        place = key % size
        met: list[int] = []
        while held := keys[place]:
            if held == key:
                if numbers[place] == number:
                    return
                met.append(place)
                if len(met) == self._most:
                    _push(numbers, met, number)
                    return
            place += 1
            if place == size:
                place = 0
        keys[place] = key
        numbers[place] = number
        shard.used += 1
        if shard.used > shard.limit:
            self._shards[key >> _SHIFT] = self._rebuilt(shard)

    def discard(self, key: int, number: int) -> None:
        """Take a number away from a key, if it is there."""
        shard = self._shards[key >> _SHIFT]
        keys, numbers, size = shard.keys, shard.numbers, shard.size
        gap = key % size
        while (held := keys[gap]) and not (held == key and numbers[gap] == number):
            gap = gap + 1 if gap + 1 < size else 0
        if not held:
            return
        # Close the gap: an entry that was pushed past it by others moves back into it.
        place = gap
        while True:
            place = place + 1 if place + 1 < size else 0
            held = keys[place]
            if not held:
                break
            if (place - held % size) % size >= (place - gap) % size:
                keys[gap], numbers[gap] = held, numbers[place]
                gap = place
        keys[gap] = 0
        shard.used -= 1

    def _rebuilt(self, shard: _Shard) -> _Shard:
        """Return a shard without dead entries, larger if it is still full."""
        # From a free place on, so that entries of one key stay in the order in which they came.
        start = shard.keys.index(0)
        entries = [
            (key, number)
            for key, number in zip(
                shard.keys[start:] + shard.keys[:start],
                shard.numbers[start:] + shard.numbers[:start],
                strict=True,
            )
            if key and self._alive(key, number)
        ]
        size = shard.size
        if len(entries) > size * _ROOMY:
            size += size // 2
        fresh = _Shard(size)
        keys = fresh.keys
        for key, number in entries:
            place = key % size
            while keys[place]:
                place += 1
                if place == size:
                    place = 0
            keys[place] = key
            fresh.numbers[place] = number
        fresh.used = len(entries)
        return fresh


def _push(numbers: array[int], places: list[int], number: int) -> None:
    """Let a number in at the end of a key's places, the first one out."""
    for place, following in pairwise(places):
        numbers[place] = numbers[following]
    numbers[places[-1]] = number
