"""Percentiles of many durations in little memory.

The first `EXACT` values are kept as they are and percentiles are exact, by nearest rank.  After
that they are counted in buckets whose bounds grow by `GROWTH`, so that a percentile is off by
2 % at most.  Everything is deterministic, and no number of values takes more than 3 kB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import ceil, exp, log

EXACT = 256
"""Values up to which percentiles are exact: most sessions have fewer exchanges."""
GROWTH = 1.04
"""Ratio of a bucket's bounds; its middle is within 2 % of all that it holds."""

_STEP = log(GROWTH)
_LEAST, _MOST = 0.001, 1e8
"""Milliseconds between which buckets lie: a microsecond and a day.  What is outside counts as
the nearest."""
_LOW, _HIGH = round(log(_LEAST) / _STEP), round(log(_MOST) / _STEP)


class Samples:
    """Durations in milliseconds."""

    __slots__ = ("_buckets", "_first", "_values", "count", "greatest", "least", "total")

    def __init__(self, values: Sequence[float] = ()) -> None:
        self.count = 0
        self.total = 0.0
        self.least = 0.0
        """The least value; 0 if there is none."""
        self.greatest = 0.0
        self._values: array[float] | None = array("d")
        self._buckets: array[int] | None = None
        self._first = 0
        """The number of the first bucket."""
        if values:
            self.extend(values)

    def add(self, value: float) -> None:
        """Take one more value."""
        if not self.count or value < self.least:
            self.least = value
        if not self.count or value > self.greatest:
            self.greatest = value
        self.count += 1
        self.total += value
        if self._values is None:
            self._count(value)
        elif self.count <= EXACT:
            self._values.append(value)
        else:
            for kept in self._values:
                self._count(kept)
            self._values = None
            self._count(value)

    def extend(self, values: Iterable[float]) -> None:
        """Take more values."""
        for value in values:
            self.add(value)

    @property
    def mean(self) -> float:
        """The arithmetic mean; 0 if there is no value."""
        return self.total / self.count if self.count else 0.0

    def percentiles(self, *shares: float) -> tuple[float, ...]:
        """Return the values below or at which the shares (0 to 1) of all lie; 0 if there is none.

        By nearest rank: a value that was there, or the middle of its bucket.
        """
        if not self.count:
            return (0.0,) * len(shares)
        ranks = [max(1, ceil(share * self.count - 1e-9)) for share in shares]
        if self._values is not None:
            ordered = sorted(self._values)
            return tuple(ordered[rank - 1] for rank in ranks)
        sums, seen = [], 0
        for number in self._buckets or ():
            seen += number
            sums.append(seen)
        return tuple(self._middle(bisect_left(sums, rank)) for rank in ranks)

    def _middle(self, place: int) -> float:
        middle = exp((self._first + place) * _STEP)
        return min(max(middle, self.least), self.greatest)

    def _count(self, value: float) -> None:
        number = _LOW if value <= _LEAST else min(_HIGH, round(log(value) / _STEP))
        if self._buckets is None:
            self._buckets, self._first = array("I"), number
        place = number - self._first
        if place < 0:
            self._buckets = array("I", bytes(-place * self._buckets.itemsize)) + self._buckets
            self._first, place = number, 0
        elif place >= len(self._buckets):
            missing = place + 1 - len(self._buckets)
            self._buckets.frombytes(bytes(missing * self._buckets.itemsize))
        self._buckets[place] += 1
