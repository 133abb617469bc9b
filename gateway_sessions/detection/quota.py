"""Who gives way where room is short: no scope takes what is another's.

A scope may fill all the room that nobody else needs, so that a deployment with one tenant loses
nothing.  But only its quota is its own: once there is no room left, a scope that has its quota
or more pays for what it asks for itself, and before anybody else loses something, those who
hold more than their quota do.
"""

from __future__ import annotations

SCOPE_SHARE = 4
"""The quota of a scope is one part in so many of all the room."""


class Quota:
    """How much each scope holds, in any unit: sessions, turns, bytes."""

    def __init__(self, room: int) -> None:
        """Share ``room`` among scopes."""
        self._each = max(1, room // SCOPE_SHARE)
        self._held: dict[int, int] = {}
        self._over: set[int] = set()
        """Who holds more than the quota: fewer scopes than `SCOPE_SHARE` can, as long as all
        that is held together fits into the room."""

    def add(self, scope: int, amount: int = 1) -> None:
        """Note that a scope holds more."""
        held = self._held[scope] = self._held.get(scope, 0) + amount
        if held > self._each:
            self._over.add(scope)

    def remove(self, scope: int, amount: int = 1) -> None:
        """Note that a scope holds less."""
        held = self._held[scope] - amount
        if held > 0:
            self._held[scope] = held
        else:
            del self._held[scope]
        if held <= self._each:
            self._over.discard(scope)

    def payer(self, asker: int) -> int | None:
        """Return the scope that gives way for something of ``asker``; None if any may."""
        if self._held.get(asker, 0) >= self._each:
            return asker
        return max(self._over, key=self._held.__getitem__, default=None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._over.clear()
