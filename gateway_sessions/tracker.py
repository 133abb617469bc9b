"""Detection and index tied together: the one path for live traffic and for logs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from gateway_sessions.conversation import Conversation, Reply
from gateway_sessions.detection.detector import SESSION_PREFIX, Detector, Sender
from gateway_sessions.detection.plan import Plan
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.verdict import SIDE_CALL, Verdict
from gateway_sessions.exchange import SessionTag
from gateway_sessions.index.base import Index
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.index.shared import SharedIndex
from gateway_sessions.index.store import Store
from gateway_sessions.random_names import random_name
from gateway_sessions.redaction import masked_text
from gateway_sessions.telemetry import (
    ExplicitIdRejected,
    IndexFellBack,
    SessionEnded,
    Telemetry,
)


def random_session_id() -> str:
    """Return ``sess_`` and 100 random bits in Crockford base32."""
    return SESSION_PREFIX + random_name()


class Tracked(msgspec.Struct, frozen=True, gc=False):
    """A request that has been put into a session."""

    plan: Plan
    verdict: Verdict

    @property
    def session(self) -> Session:
        """The session."""
        return self.verdict.session

    def tag(self) -> SessionTag:
        """Return what everybody may know of the verdict."""
        verdict = self.verdict
        session = verdict.session
        return SessionTag(
            session_id=session.id,
            relation=verdict.relation,
            source=verdict.source,
            confidence=verdict.confidence,
            root_session_id=session.root or session.id,
            parent_session_id=session.parent,
            previous_session_id=verdict.previous_session_id,
            external_id=None if session.external is None else masked_text(session.external),
            reason=verdict.reason,
            explain=verdict.steps,
        )


class Shared(Protocol):
    """What holds sessions together that several processes follow."""

    async def open(self) -> None:
        """Make ready; raises `StartError`."""

    async def stop(self) -> None:
        """Store what is new and release everything; idempotent."""

    async def fetch(self, plan: Plan, now: float) -> None:
        """Bring in what others know of a request's session; see `Tracker.fetch`."""

    def remembered(self, tracked: Tracked, now: float) -> None:
        """Note what a verdict has changed beside its own session."""

    def settled(self, tracked: Tracked) -> Awaitable[None] | None:
        """Return what an exchange's end waits for; see `Tracker.settled`."""

    def problems(self) -> list[str]:
        """Return one sentence for what does not work at present."""


class Tracker:
    """Follows sessions; the caller brings the time."""

    def __init__(
        self,
        settings: DetectionSettings,
        secret: bytes,
        telemetry: Telemetry,
        *,
        index: Index | None = None,
        store: Store | None = None,
        backend: str = "",
        mint: Callable[[], str] = random_session_id,
        explain: bool = False,
    ) -> None:
        """Follow sessions in an index, by default one in memory.

        With a ``store``, of a kind named ``backend``, its sessions are shared with all who use
        the same store.
        """
        self._telemetry = telemetry
        self._detector = Detector(settings, secret, mint, explain=explain, rejected=self._rejected)
        self._backend = backend
        self.shared: Shared | None = None
        """Where sessions are shared with other processes; None where all is in memory."""
        sizes = settings.max_sessions, settings.session_ttl_seconds
        self.index: Index = index or MemoryIndex(*sizes, self._ended)
        if store is not None:
            shared = SharedIndex(store, self._detector, *sizes, self._ended, self._fell_back)
            self.index = self.shared = shared

    async def open(self) -> None:
        """Make ready what is shared; raises `StartError` where that can never work."""
        if self.shared is not None:
            await self.shared.open()

    async def close(self) -> None:
        """Store what is new and release what is shared; idempotent."""
        if self.shared is not None:
            await self.shared.stop()

    def problems(self) -> list[str]:
        """Return one sentence for what does not work at present."""
        return [] if self.shared is None else self.shared.problems()

    def begin(self, conversation: Conversation, sender: Sender, now: float) -> Tracked:
        """Put a request that arrives now into a session.

        Raises:
            UnreadableBody: a message is not what the dialect says.
        """
        tracked = self.place(self.plan(conversation, sender), now)
        self.remember(tracked, now)
        return tracked

    def remember(self, tracked: Tracked, now: float) -> None:
        """Do what the verdict need not wait for; call it soon after `place`."""
        self._detector.remember(tracked.plan, tracked.verdict, now)
        if self.shared is not None:
            self.shared.remembered(tracked, now)

    def plan(self, conversation: Conversation, sender: Sender) -> Plan:
        """Read a request; safe on any thread.

        Raises:
            UnreadableBody: a message is not what the dialect says.
        """
        return self._detector.plan(conversation, sender)

    async def fetch(self, plan: Plan, now: float) -> None:
        """Bring in what other processes know of the session of a request, before `place`.

        Needed only where there is something `shared`.  Takes 50 ms at the most and never raises.
        """
        if self.shared is not None:
            await self.shared.fetch(plan, now)

    def settled(self, tracked: Tracked) -> Awaitable[None] | None:
        """Return what the end of an exchange has to wait for, right after `answered` or `failed`.

        That is until other processes can see what became of its session: 50 ms at the most, and
        it never raises.  It goes on also where nobody waits.  None where there is nothing to
        wait for.
        """
        return None if self.shared is None else self.shared.settled(tracked)

    def place(self, plan: Plan, now: float) -> Tracked:
        """Put a request that was read and arrives now into a session; `remember` it next."""
        verdict, keys = self._detector.decide(plan, self.index, now)
        self.index.commit(verdict.session, keys, now)
        return Tracked(plan, verdict)

    def find(self, plan: Plan, now: float) -> SessionTag | None:
        """Return the session that a request would go on in, without sending it; None for a new one.

        For token counts: nothing is remembered of the request.
        """
        verdict = self._detector.find(plan, self.index, now)
        return Tracked(plan, verdict).tag() if verdict else None

    def answered(self, tracked: Tracked, reply: Reply, now: float) -> None:
        """Note the complete reply to a request."""
        session = tracked.session
        if tracked.verdict.relation == SIDE_CALL:
            keys = self._detector.answered_aside(tracked.plan, session, reply)
        else:
            keys = self._detector.answered(tracked.plan, session, reply, now)
        self.index.commit(session, keys.added, now, keys.outdated)

    def failed(self, tracked: Tracked, reply: Reply | None, now: float) -> None:
        """Note that a request failed; ``reply`` is what had arrived of a broken stream."""
        if tracked.verdict.relation == SIDE_CALL:
            return
        session = tracked.session
        keys = self._detector.failed(tracked.plan, session, reply, now)
        self.index.commit(session, keys.added, now, keys.outdated)

    def _ended(self, session: Session, reason: str) -> None:
        self._telemetry.emit(SessionEnded(session.id, reason, session.messages))

    def _fell_back(self) -> None:
        self._telemetry.emit(IndexFellBack(self._backend))

    def _rejected(self, name: str) -> None:
        self._telemetry.emit(ExplicitIdRejected(name))
