"""The slots of each scope in the order of their use: 8 bytes a slot, every operation O(1)."""

from __future__ import annotations

from array import array


class ScopedOrder:
    """One ring of slots a scope.

    Each slot knows the one used before it and the one used after it; the newest is followed by
    the oldest.  So one number a scope is enough to find both ends, and a scope that uses its
    slots in turns only moves that number.
    """

    def __init__(self) -> None:
        """Start without slots."""
        self._earlier = array("I")
        self._later = array("I")
        self._newest: dict[int, int] = {}

    def add(self, scope: int, slot: int) -> None:
        """Put a slot, which is in no ring, at the new end of a scope's ring."""
        missing = slot + 1 - len(self._later)
        if missing > 0:
            self._earlier.extend((0,) * missing)
            self._later.extend((0,) * missing)
        newest = self._newest.get(scope)
        if newest is None:
            self._earlier[slot] = self._later[slot] = slot
        else:
            self._link(newest, slot)
        self._newest[scope] = slot

    def use(self, scope: int, slot: int) -> None:
        """Move a slot of a scope to the new end."""
        newest = self._newest[scope]
        if slot == newest:
            return
        if self._later[newest] != slot:  # The oldest becomes the newest where it stands.
            self._unlink(slot)
            self._link(newest, slot)
        self._newest[scope] = slot

    def remove(self, scope: int, slot: int) -> None:
        """Take a slot out of a scope's ring."""
        if self._newest[scope] == slot:
            before = self._earlier[slot]
            if before == slot:
                del self._newest[scope]
                return
            self._newest[scope] = before
        self._unlink(slot)

    def oldest(self, scope: int) -> int:
        """Return the slot that a scope, which has one, used longest ago."""
        return self._later[self._newest[scope]]

    def clear(self) -> None:
        """Forget everything."""
        self._newest.clear()
        del self._earlier[:], self._later[:]

    def _link(self, newest: int, slot: int) -> None:
        """Put a slot between the newest of a ring and the oldest."""
        oldest = self._later[newest]
        self._earlier[slot], self._later[slot] = newest, oldest
        self._later[newest] = self._earlier[oldest] = slot

    def _unlink(self, slot: int) -> None:
        before, after = self._earlier[slot], self._later[slot]
        self._later[before], self._earlier[after] = after, before
