"""A memory of states by the bytes that led to them."""

from __future__ import annotations

from array import array


class StateMemo:
    """Remembers which state a history's raw bytes lead to.

    A direct-mapped table of fixed size: an entry is lost when another falls on its place,
    which costs a slow walk and nothing else.  16 bytes an entry, no upkeep.  Keys are stored
    mixed with their state, so that an entry half written by another thread matches nothing.
    """

    def __init__(self, capacity: int) -> None:
        """Make a table of ``capacity`` entries, rounded up to a power of two."""
        size = 1 << max(10, (capacity - 1).bit_length())
        self._mask = size - 1
        self._entries = array("Q", bytes(16 * size))

    def get(self, key: int) -> int | None:
        """Return the state for a hash of raw bytes, or None."""
        place = (key & self._mask) << 1  # Both numbers in one line of the processor's cache.
        state = self._entries[place]
        return state if self._entries[place + 1] ^ state == key else None

    def put(self, key: int, state: int) -> None:
        """Remember a state."""
        place = (key & self._mask) << 1
        self._entries[place] = state
        self._entries[place + 1] = key ^ state
