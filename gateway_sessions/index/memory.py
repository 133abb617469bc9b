"""Sessions in this process: idle TTL and LRU, every operation O(1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway_sessions.detection.session import Session
from gateway_sessions.detection.table import FingerprintTable
from gateway_sessions.detection.view import CANDIDATES

EXPIRED_PER_COMMIT = 2
"""Sessions closed per request: more than can open, so expiry keeps up without sweeps."""

Ended = Callable[[Session, str], None]
"""Told of a session that ends, and why: ``expired`` or ``evicted``."""


class MemoryIndex:
    """The default index.

    The idle limit is the same for all sessions and every use renews it, so the order of use
    is the order of expiry too and one ordered dictionary serves both limits.  A session that
    has expired stays findable, as a ghost, while there is room: a conversation that goes on
    after its session ended can then name it.
    """

    def __init__(
        self,
        max_sessions: int,
        ttl_seconds: float,
        ended: Ended = lambda session, reason: None,
    ) -> None:
        """Keep up to ``max_sessions`` sessions, live for ``ttl_seconds`` after their last use."""
        self._max_sessions = max_sessions
        self._ttl = ttl_seconds
        self._ended = ended
        self._live: OrderedDict[str, int] = OrderedDict()
        self._ghosts: OrderedDict[str, int] = OrderedDict()
        self._slots: list[Session | None] = []
        self._free: list[int] = []
        self._table = FingerprintTable(self._alive, CANDIDATES)
        self._due = 0.0
        """Before this time nothing can expire."""

    @property
    def active(self) -> int:
        """Sessions that are live, as of the last `expire`."""
        return len(self._live)

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Return the sessions of a scope that registered a key, expired ones included."""
        numbers = self._table.find(key)
        if not numbers:
            return ()
        slots = self._slots
        found = []
        for number in numbers:
            session = slots[number]
            if session is not None and session.scope == scope and session.knows(key):
                found.append(session)
        return found

    def commit(
        self, session: Session, keys: Sequence[int], now: float, outdated: Sequence[int] = ()
    ) -> None:
        """Store a session that was just used at ``now`` and change its keys."""
        live = self._live
        slot = live.get(session.id)
        if slot is None:
            slot = self._seat(session)
            live[session.id] = slot
        else:
            live.move_to_end(session.id)
        for key in keys:
            self._table.add(key, slot)
        for key in outdated:
            self._table.discard(key, slot)
        self._expire(now, EXPIRED_PER_COMMIT)

    def expire(self, now: float) -> None:
        """Close all sessions that have been idle for too long."""
        self._expire(now, len(self._live))

    def close(self) -> None:
        """Forget everything."""
        self._live.clear()
        self._ghosts.clear()
        self._slots.clear()
        self._free.clear()
        self._table = FingerprintTable(self._alive, CANDIDATES)

    def _alive(self, key: int, number: int) -> bool:
        session = self._slots[number]
        return session is not None and session.may_know(key)

    def _seat(self, session: Session) -> int:
        """Find a slot for a new session, taking one away if there is none left."""
        slot = self._ghosts.pop(session.id, None)
        if slot is not None:
            self._slots[slot] = session
            return slot
        if len(self._live) + len(self._ghosts) >= self._max_sessions:
            self._make_room()
        if self._free:
            slot = self._free.pop()
            self._slots[slot] = session
            return slot
        self._slots.append(session)
        return len(self._slots) - 1

    def _make_room(self) -> None:
        if self._ghosts:
            _, slot = self._ghosts.popitem(last=False)
        else:
            _, slot = self._live.popitem(last=False)
            session = self._slots[slot]
            if session is not None:
                self._ended(session, "evicted")
        self._slots[slot] = None
        self._free.append(slot)

    def _expire(self, now: float, most: int) -> None:
        if now < self._due:
            return
        live = self._live
        for _ in range(most):
            name = next(iter(live), None)
            if name is None:
                return
            slot = live[name]
            session = self._slots[slot]
            assert session is not None
            if now - session.used <= self._ttl:
                # Uses only get later, and so does the end of the one used longest ago.
                self._due = session.used + self._ttl
                return
            if session.pending:
                # A long stream is still running: it is in use, whatever the clock says.
                live.move_to_end(name)
                continue
            del live[name]
            self._ghosts[name] = slot
            self._ended(session, "expired")
