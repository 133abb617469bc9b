"""How evenly the chunks of a stream came."""

from __future__ import annotations

from array import array

KEPT = 1024
"""Gaps kept of a stream; of a longer one every second, every fourth, … so that they stay evenly
spread over it."""


class Pace:
    """Takes the time between the chunks of one stream."""

    __slots__ = ("_gaps", "_last", "_number", "_stride")

    def __init__(self) -> None:
        self._gaps = array("d")  # A fourth of what as many objects take.
        self._last = 0.0
        self._number = -1
        self._stride = 1

    def chunk(self, now: float) -> None:
        """Note a chunk; ``now`` is seconds that never go back."""
        number = self._number + 1
        if number and number % self._stride == 0:
            gaps = self._gaps
            gaps.append(now - self._last)
            if len(gaps) == KEPT:
                self._gaps = gaps[1::2]
                self._stride *= 2
        self._number = number
        self._last = now

    def gaps_ms(self) -> tuple[float, ...]:
        """Return the gaps between chunks, in milliseconds; fewer than `KEPT`."""
        return tuple([gap * 1000 for gap in self._gaps])
