"""What instructions serve for, as far as this process knows it from the store.

A client's instructions tell whether its requests are asides, see
`gateway_sessions.detection.asides`.  What one process has seen of that, others shall know too; it
is stored beside the sessions.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway_sessions.detection.asides import Asides
from gateway_sessions.index.held import HeldHabit
from gateway_sessions.index.store import StoredSession

HABITS_KEPT = 4096
"""Instructions of which the version in the store is known; others are asked for again."""


class Habits:
    """The habits of all scopes, by scope and digest of the instructions."""

    def __init__(self, asides: Asides, kept: int = HABITS_KEPT) -> None:
        """Follow what is known of instructions; remember the versions of ``kept`` of them."""
        self._asides = asides
        self._kept = kept
        self._held: OrderedDict[tuple[int, int], HeldHabit] = OrderedDict()

    def of(self, scope: int, agent: int) -> HeldHabit | None:
        """Return what is held of some instructions; None if their version is not known."""
        return self._held.get((scope, agent))

    def news(self, scope: int, agent: int, now: float) -> HeldHabit | None:
        """Return what is to be stored of some instructions; None where nothing is new."""
        habit = self._held.get((scope, agent))
        if habit is None:
            if self._asides.of(scope, agent) is None:
                return None
            habit = self._hold(scope, agent)
        if not habit.is_news:
            return None
        habit.used = now
        return habit

    def learn(self, scope: int, agent: int, found: StoredSession) -> None:
        """Learn what the store says of some instructions, if it is about them and newer."""
        habit = self._held.get((scope, agent)) or self._hold(scope, agent)
        if found.id == habit.id and found.state is not None and found.version > habit.version:
            habit.met(found)

    def _hold(self, scope: int, agent: int) -> HeldHabit:
        if len(self._held) >= self._kept:
            self._held.popitem(last=False)
        habit = self._held[scope, agent] = HeldHabit(scope, agent, self._asides)
        return habit
