"""Sessions that outlive the process and are shared with others: a cache in front of a store.

Detection knows nothing of it.  Before a verdict, `SharedIndex.fetch` asks the store for whatever
the request may look up and lays what is newer into the index and the memories of this process;
then the rules decide as ever.  Afterwards what has changed is stored, see `Committer`.

What is known here and not led to by the store's keys any more has changed elsewhere: it is
forgotten, so that nobody is found by what no longer holds.  While the store is away, what is
known here is all there is, and changes wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Protocol

from gateway_sessions.detection.clients import CLIENTS_KEPT
from gateway_sessions.detection.detector import Detector
from gateway_sessions.detection.lookups import Lookups, first, further, going_on, last
from gateway_sessions.detection.plan import Plan
from gateway_sessions.detection.records import (
    Record,
    UnreadableRecord,
    decode,
    forgotten,
    name_key,
    restored,
    unpacked,
)
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.verdict import ECHO, SUBAGENT, Verdict
from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.breaker import Breaker
from gateway_sessions.index.committer import Committer
from gateway_sessions.index.habits import Habits
from gateway_sessions.index.held import HABIT, Held, HeldSession
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.index.store import PromptStore, Store, StoredSession, StoreFailed, prompt

logger = logging.getLogger(__name__)

IDLE_KEPT = 10_000
"""Ended sessions of which it is still to be found out whether they went on elsewhere."""

Ended = Callable[[Session, str], None]


class Placed(Protocol):
    """A request that was put into a session."""

    @property
    def plan(self) -> Plan:
        """The request."""

    @property
    def verdict(self) -> Verdict:
        """What the rules said."""

    @property
    def session(self) -> Session:
        """The session."""


class SharedIndex:
    """An index whose sessions are in a store; all methods belong to the event loop's thread."""

    def __init__(
        self,
        store: Store,
        detector: Detector,
        max_sessions: int,
        ttl_seconds: float,
        ended: Ended = lambda session, reason: None,
        fell_back: Callable[[], None] = lambda: None,
    ) -> None:
        """Share the sessions of a detector.

        Args:
            store: answers in time, or raises `StoreFailed`; see `Breaker`.
            detector: whose memories are shared as well.
            max_sessions: kept in this process.
            ttl_seconds: idle time after which a session has expired.
            ended: told of sessions that were used last by this process and have expired.
            fell_back: told of every look-up that the store did not answer.
        """
        if isinstance(store, Breaker):
            store.returned = self._worked
        self._store = store
        self._prompt = prompt(store)
        self._at_once = self._prompt is not None and not self._prompt.wants_batches
        """Whether changes are stored where they are made, so that nobody waits or is waited for."""
        self._detector = detector
        self._memories = detector.memories
        self._ended = ended
        self._fell_back = fell_back
        self._now = 0.0
        """When somebody told the time last."""
        self._ttl = ttl_seconds
        self._local = MemoryIndex(max_sessions, ttl_seconds, self._ended_here, self._left)
        self._held: dict[str, HeldSession] = {}
        self._leaving: dict[str, HeldSession] = {}
        """Sessions that had to leave this process before what is new of them was stored."""
        self._clients: dict[int, deque[str]] = {}
        self._habits = Habits(detector.memories.asides)
        self._committer = Committer(store, self._worked, self._failed, self._merged)
        self._idle: dict[str, HeldSession] = {}
        self._asking: asyncio.Task[None] | None = None
        self._open = False
        self._failure = ""

    async def open(self) -> None:
        """Open the store; one that does not answer is tried again with the first look-up.

        Raises:
            StartError: it can never be used as it is.
        """
        try:
            await self._opened()
        except StoreFailed as error:
            self._failed(error)

    async def stop(self) -> None:
        """Store what is new and close the store; idempotent."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        await self._committer.close()
        await self._store.close()
        self._open = False

    async def flush(self) -> None:
        """Return when everything that was changed before the call is stored, or has failed."""
        await self._committer.flush()

    def problems(self) -> list[str]:
        """Return one sentence if the store can not be used at present, for ``/readyz``."""
        # Nobody may have asked since the store went away, or ever.
        away = self._store.reason if isinstance(self._store, Breaker) else ""
        reason = self._failure or away
        return [f"sessions are not shared at present: {reason}"] if reason else []

    # What detection asks and tells.

    def candidates(self, scope: int, key: int) -> Sequence[Session]:
        """Return the sessions of a scope that registered a key, as far as is known here."""
        return self._local.candidates(scope, key)

    def commit(
        self, session: Session, keys: Sequence[int], now: float, outdated: Sequence[int] = ()
    ) -> None:
        """Keep a session that was just used, and store it soon."""
        held = self._held.get(session.id)
        if held is None:
            held = self._hold(session)
        held.rekey(keys, outdated)
        self._local.commit(session, keys, now, outdated)
        self._leaving.pop(session.id, None)
        if self._leaving:
            self._left(next(iter(self._leaving.values())).session)
        self._committer.changed(held)

    def expire(self, now: float) -> bool:
        """Close what has been idle for too long; see `Index.expire`."""
        self._now = now
        more = self._local.expire(now)
        if self._idle and self._asking is None and not self._failure:
            self._asking = asyncio.get_running_loop().create_task(self._ask_about_idle())
        return more

    @property
    def active(self) -> int:
        """Sessions that are live, as far as is known here."""
        return self._local.active

    def close(self) -> None:
        """Forget what is known here."""
        self._local.close()
        self._held.clear()

    # What the tracker asks and tells.

    async def fetch(self, plan: Plan, now: float) -> None:
        """Bring in what the rules may ask about a request; never raises."""
        try:
            if not self._open:
                await self._opened()
            if self._prompt is not None and self._bring_waiting(self._prompt, plan, now):
                return
            await self._bring(plan.scope.seed, first(plan), now)
            if self._is_placed(plan, now):
                return
            for step in (further, last):
                lookups = step(self._detector.ask(plan, self._local, now))
                if lookups is None:
                    break  # Who has nothing to ask further can be placed.
                await self._bring(plan.scope.seed, lookups, now)
        except StoreFailed as error:
            self._failed(error)
            self._fell_back()
        except Exception:
            # The request is placed by what is known here.
            logger.exception("sessions could not be fetched")
            self._fell_back()

    def remembered(self, tracked: Placed, now: float) -> None:
        """Note what a verdict has changed beside its own session."""
        plan, verdict, session = tracked.plan, tracked.verdict, tracked.session
        if verdict.relation == SUBAGENT and verdict.source == ECHO and session.parent:
            parent = self._held.get(session.parent)
            if parent is not None:
                self._committer.changed(parent)
        habit = self._habits.news(plan.scope.seed, plan.agent, now)
        if habit is not None:
            self._committer.changed(habit)
        if self._at_once:
            self._committer.store_now()

    def settled(self, tracked: Placed) -> Awaitable[None] | None:
        """Return what to wait for until others can see a session; it ends by itself."""
        held = self._held.get(tracked.session.id)
        if held is None or self._committer.is_waiting:
            return None
        if self._at_once and held.dirty:
            self._committer.store_now()
        if not (held.dirty or held.busy):
            return None
        return self._committer.wait(held)

    # Between this process and the store.

    async def _opened(self) -> None:
        if not self._open:
            await self._store.open()
            self._open = True

    def _is_placed(self, plan: Plan, now: float) -> bool:
        """Whether one session waits for a turn like this, so that no rule asks anything else."""
        session = going_on(plan) and self._detector.goes_on(plan, self._local, now)
        return session is not None and session.agent == plan.agent

    def _bring_waiting(self, store: PromptStore, plan: Plan, now: float) -> bool:
        """Bring in the one session that a request goes on in; return whether `_is_placed`."""
        keys = going_on(plan)
        if keys is None:
            return False
        scope, local = plan.scope.seed, self._local
        here = [each.id for key in keys for each in local.candidates(scope, key)]
        known = {name: held.version for name in here if (held := self._held.get(name))}
        found = store.fetch_now(scope, keys, known)
        if found is None or len(found) != 1 or any(name != found[0].id for name in here):
            return False
        self._worked()
        # Its newest turn gives way to the prompt at once, so it need not be learned.
        asked = bool(plan.walk.prompt_texts())
        record = self._learn(scope, found[0], now, asked=asked)
        if self._is_placed(plan, now):
            return True
        if record is not None and asked:
            restored(record, self._held[found[0].id].session, self._memories)
        return False

    async def _bring(self, scope: int, lookups: Lookups, now: float) -> None:
        """Ask the store, learn what is newer, and forget what no longer holds."""
        here = lookups.owners(scope, self._local, self._memories)
        # Of clients the rules want the newest sessions alone, but a store knows more of them.
        asked = here if lookups.client is None else here.union(self._begun(scope, lookups.client))
        known = {name: held.version for name in asked if (held := self._held.get(name))}
        if lookups.agent is not None:
            habit = self._habits.of(scope, lookups.agent)
            if habit is not None:
                known[habit.id] = habit.version
        keys = lookups.keys(scope)
        found = self._prompt.fetch_now(scope, keys, known) if self._prompt is not None else None
        if found is None:
            found = await self._store.fetch(scope, keys, known)
        self._worked()
        for each in found if len(found) < 2 else sorted(found, key=attrgetter("used")):
            if not each.id.startswith(HABIT):
                self._learn(scope, each, now)
            elif lookups.agent is not None:
                self._habits.learn(scope, lookups.agent, each)
        if len(here) > len(found) or here.difference(each.id for each in found):
            self._forget(here.difference(each.id for each in found), known, len(found))

    def _learn(
        self, scope: int, found: StoredSession, now: float, *, asked: bool = False
    ) -> Record | None:
        """Learn a session if that is news here, and return what is known of it then.

        ``asked`` as in `restored`.
        """
        held = self._held.get(found.id)
        if found.state is None or (held is not None and held.version >= found.version):
            return None
        try:
            record = decode(found.state)
        except UnreadableRecord:
            return None
        session = record.session
        if (session.scope, session.id) != (scope, found.id):
            return None
        if held is None:
            held = self._hold(session)
        before = held.keys
        record = held.learn(record, found.version, now, asked=asked)
        if held.dirty:
            self._committer.changed(held)
        if held.keys.startswith(before):
            keys = unpacked(held.keys[len(before) :])  # The usual case: some have come.
        else:
            had = set(unpacked(before))
            keys = [key for key in unpacked(held.keys) if key not in had]
        # The time of a use, not of a look, so that nothing expires by it.
        self._local.commit(held.session, keys, 0.0)
        return record

    def _hold(self, session: Session) -> HeldSession:
        held = self._held[session.id] = HeldSession(session, self._memories)
        self._begun(session.scope, session.client).append(session.id)
        return held

    def _begun(self, scope: int, client: int) -> deque[str]:
        """Return the sessions of a client that came here last."""
        begun = self._clients.get(scope ^ client)
        if begun is None:
            if len(self._clients) >= CLIENTS_KEPT:
                del self._clients[next(iter(self._clients))]
            begun = self._clients[scope ^ client] = deque(maxlen=CANDIDATES)
        return begun

    def _forget(self, names: set[str], known: dict[str, int], found: int) -> None:
        """Forget sessions that were changed elsewhere, so that keys no longer lead to them."""
        if found >= CANDIDATES:
            return  # A key that leads to so many does not name all of them.
        for name in names:
            held = self._held.get(name)
            if (
                held is not None
                and held.version
                and held.version == known.get(name)
                and not (held.dirty or held.busy or held.session.pending)
            ):
                self._local.forget(held.session)
                forgotten(held.session, held.begun_by, self._memories)
                del self._held[name]

    async def _ask_about_idle(self) -> None:
        """Announce the end of sessions that nobody has used since elsewhere."""
        try:
            while self._idle:
                held = next(iter(self._idle.values()))
                name, version = held.id, held.version
                keys = (name_key(held.scope, name),)
                found = await self._store.fetch(held.scope, keys, {name: version})
                del self._idle[name]
                for each in found:
                    if each.id == name:
                        self._learn(held.scope, each, self._now)
                if held.ours and held.version == version:
                    self._ended(held.session, "expired")
        except StoreFailed as error:
            self._failed(error)
        finally:
            self._asking = None

    def _ended_here(self, session: Session, reason: str) -> None:
        """Note that a session was idle for too long, as far as is known here."""
        held = self._held.get(session.id)
        # What has no room here goes on elsewhere, and what others used last is theirs to end.
        if reason == "expired" and held is not None and held.ours and len(self._idle) < IDLE_KEPT:
            self._idle[session.id] = held

    def _left(self, session: Session) -> None:
        """Let a session go that has no room here, as soon as it is stored and not in use."""
        held = self._held.get(session.id)
        self._leaving.pop(session.id, None)
        if held is None:
            return
        if held.dirty or held.busy or session.pending:
            self._leaving[session.id] = held
        else:
            del self._held[session.id]

    def _merged(self, held: Held) -> None:
        """Find a session by the keys that others gave it."""
        if isinstance(held, HeldSession):
            self._local.commit(held.session, unpacked(held.keys), 0.0)

    def _worked(self) -> None:
        if self._failure:
            self._failure = ""
            self._committer.resume()

    def _failed(self, error: StoreFailed) -> None:
        # The breaker says it once; here it would be said for every request.
        self._failure = str(error)
