"""Sessions in this process: idle TTL, LRU and a quota per scope, every operation O(1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway_sessions.detection.quota import Quota
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.table import FingerprintTable
from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.order import ScopedOrder

EXPIRED_PER_COMMIT = 2
"""Sessions closed per request: more than can open, so expiry keeps up without sweeps."""

EXPIRED_AT_ONCE = 1000
"""Sessions closed by one `MemoryIndex.expire`: a few milliseconds, for which requests wait."""

Ended = Callable[[Session, str], None]
"""Told of a session that ends, and why: ``expired`` or ``evicted``."""


class MemoryIndex:
    """The default index.

    The idle limit is the same for all sessions and every use renews it, so the order of use
    is the order of expiry too and one ordered dictionary serves both limits.  A session that
    has expired stays findable, as a ghost, while there is room: a conversation that goes on
    after its session ended can then name it.

    Where room is short, ended sessions go first, then what is over the quota of a scope (see
    `Quota`), then whatever was used longest ago.
    """

    def __init__(
        self,
        max_sessions: int,
        ttl_seconds: float,
        ended: Ended = lambda session, reason: None,
        left: Callable[[Session], None] = lambda session: None,
    ) -> None:
        """Keep up to ``max_sessions`` sessions, live for ``ttl_seconds`` after their last use.

        ``left`` is told of every session that is no longer found, whether it had ended or not.
        """
        self._max_sessions = max_sessions
        self._ttl = ttl_seconds
        self._ended = ended
        self._left = left
        self._live: OrderedDict[str, int] = OrderedDict()
        self._ghosts: OrderedDict[str, int] = OrderedDict()
        self._slots: list[Session | None] = []
        self._free: list[int] = []
        self._order = ScopedOrder()
        self._quota = Quota(max_sessions)
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
            slot = live[session.id] = self._seat(session)
            self._order.add(session.scope, slot)
            self._quota.add(session.scope)
        else:
            live.move_to_end(session.id)
            self._order.use(session.scope, slot)
        for key in keys:
            self._table.add(key, slot)
        for key in outdated:
            self._table.discard(key, slot)
        if now >= self._due:
            self._expire(now, EXPIRED_PER_COMMIT)

    def expire(self, now: float) -> bool:
        """Close sessions that have been idle for too long; tell whether there may be more."""
        closed = self._expire(now, EXPIRED_AT_ONCE)
        # Where all that were looked at are in use, looking again at once would find them again.
        return closed > 0 and now >= self._due

    def forget(self, session: Session) -> None:
        """Find a session no longer, and tell nobody."""
        slot = self._live.get(session.id)
        if slot is not None:
            self._leave(slot)
        else:
            slot = self._ghosts.pop(session.id, None)
        if slot is not None:
            self._slots[slot] = None
            self._free.append(slot)

    def close(self) -> None:
        """Forget everything."""
        self._live.clear()
        self._ghosts.clear()
        self._slots.clear()
        self._free.clear()
        self._order.clear()
        self._quota.clear()
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
            self._make_room(session.scope)
        if self._free:
            slot = self._free.pop()
            self._slots[slot] = session
            return slot
        self._slots.append(session)
        return len(self._slots) - 1

    def _make_room(self, asker: int) -> None:
        """Take a slot away from whoever has to give one to a scope."""
        if self._ghosts:
            _, slot = self._ghosts.popitem(last=False)
            session = self._slots[slot]
            assert session is not None
        else:
            payer = self._quota.payer(asker)
            slot = next(iter(self._live.values())) if payer is None else self._order.oldest(payer)
            session = self._leave(slot)
            self._ended(session, "evicted")
        self._slots[slot] = None
        self._free.append(slot)
        self._left(session)

    def _leave(self, slot: int) -> Session:
        """Take a session out of what is live; return it."""
        session = self._slots[slot]
        assert session is not None
        del self._live[session.id]
        self._order.remove(session.scope, slot)
        self._quota.remove(session.scope)
        return session

    def _expire(self, now: float, most: int) -> int:
        """Look at up to ``most`` sessions that may have expired; return how many were closed."""
        closed = 0
        if now < self._due:
            return closed
        live = self._live
        for _ in range(most):
            name = next(iter(live), None)
            if name is None:
                break
            slot = live[name]
            session = self._slots[slot]
            assert session is not None
            if now - session.used <= self._ttl:
                # Uses only get later, and so does the end of the one used longest ago.
                self._due = session.used + self._ttl
                break
            if session.pending:
                # A long stream is still running: it is in use, whatever the clock says.
                live.move_to_end(name)
                self._order.use(session.scope, slot)
                continue
            self._leave(slot)
            self._ghosts[name] = slot
            closed += 1
            self._ended(session, "expired")
        return closed
