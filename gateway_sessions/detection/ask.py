"""One request on its way through the rules: what they may look up, and how they choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.asides import Asides
from gateway_sessions.detection.clients import RecentSessions
from gateway_sessions.detection.echo import EchoIndex, Text
from gateway_sessions.detection.histories import Histories
from gateway_sessions.detection.phrases import ResetPhrases
from gateway_sessions.detection.plan import Plan, call_key, newest_call, seal_key
from gateway_sessions.detection.scope import Scope
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.turns import RecentTurns
from gateway_sessions.detection.verdict import Verdict
from gateway_sessions.detection.view import CANDIDATES, View

LEFT_SECONDS = 300.0
"""Silence after which somebody who goes back in a session is rather somebody else."""


class Ask(msgspec.Struct, gc=False):
    """A plan, the index as it is now, and the clock's time."""

    plan: Plan
    view: View
    now: float
    settings: DetectionSettings
    phrases: ResetPhrases
    mint: Callable[[], str]
    """Makes a random session id."""
    name: Callable[[Scope, str, str], str]
    """Makes the session id that belongs to a client's own id of a kind."""
    echo: EchoIndex
    """Summaries, and what was handed to tools."""
    turns: RecentTurns
    """The newest turns."""
    histories: Histories
    """What was said lately in each session."""
    recent: RecentSessions
    """Which sessions each client began last."""
    asides: Asides
    """Which instructions serve for side calls."""
    candidates: list[dict[str, Any]] | None = None
    """What the rule at hand chose among, for explanations; None if nobody wants one."""
    doubtful: bool = False
    """Whether a rule that did not answer might as well have."""
    expired: Session | None = None
    """A session that fitted but had expired."""
    note: str = ""
    """Why the rule at hand did not answer, for explanations."""
    known: list[Session] | None = None
    """What `at_reply` found."""
    passed_over: Session | None = None
    """A session that knows the history, which is more likely another's all the same."""
    claimed: Text | None = None
    """The tool call's argument that a sub-agent was found to open with."""

    def live(self, key: int, *, expires: bool = False) -> list[Session]:
        """Return the live sessions under a key.

        With ``expires``, note an expired one: the key stands for enough to say that the request
        would have continued it.
        """
        found = self.view.candidates(self.plan.scope.seed, key)
        if not found:
            return []
        limit = self.now - self.settings.session_ttl_seconds
        live = [session for session in found if session.used >= limit or session.pending]
        if expires and not live and self.expired is None:
            self.expired = max(found, key=_used)
        if len(found) >= CANDIDATES:
            # The sender's own may be among those that are no longer kept under this key.
            live = [session for session in live if not is_stranger(session, self.plan)]
        if self.passed_over is not None:
            return [session for session in live if session is not self.passed_over]
        return live

    def is_sender(self, session: Session) -> bool:
        """Whether a session's newest request had the instructions, client and model of this."""
        return agreeing(session, self.plan) == SENDER

    def is_live(self, session: Session) -> bool:
        """Whether a session has not expired, for what is found without a key of the index."""
        limit = self.now - self.settings.session_ttl_seconds
        return session.used >= limit or bool(session.pending)

    def named(self, key: int) -> Session | None:
        """Return the session whose client gave it the id with this key, expired or not."""
        for session in self.view.candidates(self.plan.scope.seed, key):
            if session.explicit_key == key:
                return session
        return None

    def at_reply(self) -> list[Session]:
        """Return the live sessions that know the history up to its newest reply."""
        if self.known is None:
            reply = self.plan.walk.reply
            self.known = self.fitting(reply.state, expires=True) if reply else []
        return self.known

    def fitting(self, key: int, *, expires: bool = False) -> list[Session]:
        """Of the live sessions under a key of the history, return those whose calls it holds.

        Histories may agree in every word; ids of tool calls are never given twice.  So nobody is
        left where a call is known to be another session's, which may have expired.  Clients that
        write ids of their own have none that anybody knows.

        Calls before the newest answer are asked about too, unless one session alone is known by
        the key, waits after the history, and looks like the sender's: whoever knows it besides
        may have expired, or have told it otherwise.
        """
        candidates = self.live(key, expires=expires)
        if not candidates:
            return candidates
        plan = self.plan
        newest, first = plan.walk.newest_answer, candidates[0]
        alone = len(self.view.candidates(plan.scope.seed, key)) == 1
        waits = newest is not None and first.waits_at(newest.state)
        if newest is not None and alone and waits and not is_stranger(first, plan):
            call = newest.call_ids[0] if newest.call_ids else ""
        else:
            call = newest_call(plan.walk)
        if not call:
            return self._sealed(candidates) if len(candidates) > 1 else candidates
        key = call_key(plan.scope, call)
        own = [session for session in candidates if session.made(key)]
        if own:
            return own
        self.live(key, expires=True)
        return [] if self.view.candidates(plan.scope.seed, key) else candidates

    def _sealed(self, candidates: list[Session]) -> list[Session]:
        """Of sessions with the same history, return the one whose newest reply it holds, if any.

        Equal words of two replies are signed differently, and have other ids.
        """
        if not any(session.seal for session in candidates):
            return candidates
        scope = self.plan.scope
        keys = {seal_key(scope, seal) for seal in self.plan.walk.seals()}
        return [session for session in candidates if session.seal in keys] or candidates

    def choose(self, candidates: Sequence[Session]) -> tuple[Session, bool]:
        """Return the likeliest of some sessions, and whether it was a toss-up.

        Who sends the same instructions from the same address to the same model is preferred,
        then who is waiting for this very answer, then who has been waiting for longest.  If
        nobody waits, somebody goes back, or asks several things at once: who was busy last.
        """
        if self.candidates is not None:
            self.candidates += map(self._told, candidates)
        if len(candidates) == 1:
            return candidates[0], False
        ranked = sorted(candidates, key=self._rank, reverse=True)
        ranked = self._waiting_since(ranked[0], ranked) or ranked
        return ranked[0], len(ranked) > 1 and self._fit(ranked[0]) == self._fit(ranked[1])

    def _waiting_since(self, likeliest: Session, ranked: list[Session]) -> list[Session]:
        """Return the sessions that wait, if the likeliest has not been used since one of them was.

        A client may change to another dialect on the way, with another user agent and model.  It
        rather goes on with what has just been answered than back in what was left long ago.
        """
        rank = self._fit(likeliest)
        if rank[-1]:
            return []
        left = self.now - likeliest.used > LEFT_SECONDS
        if not left and not likeliest.answered(self.plan.request_state):
            return []
        waiting = [s for s in ranked if self._fit(s)[-1] and self._fit(s)[:2] == rank[:2]]
        return waiting if any(s.used > likeliest.used for s in waiting) else []

    def _told(self, session: Session) -> dict[str, Any]:
        """Return what `choose` goes by, for explanations."""
        _, instructions, client, model, waits = self._fit(session)
        return {
            "session_id": session.id,
            "same_instructions": instructions,
            "same_client": client,
            "same_model": model,
            "waits_for_this": waits,
            "idle_seconds": round(self.now - session.used, 3),
        }

    def _rank(self, session: Session) -> tuple[tuple[bool, bool, bool, bool, bool], bool, float]:
        fit = self._fit(session)
        # Nobody sits in front of a sub-agent: one that is silent has done its task.
        done = session.parent is not None and self.now - session.used > SUBAGENT_SECONDS
        return fit, not done, -session.used if fit[-1] else session.used

    def _fit(self, session: Session) -> tuple[bool, bool, bool, bool, bool]:
        plan = self.plan
        reply = plan.walk.reply
        return (
            not session.explicit_key,
            session.agent == plan.agent,
            session.client == plan.client,
            session.model == plan.model,
            reply is not None and session.waits_at(reply.state),
        )

    def relation_to(self, session: Session) -> str:
        """Return how the request relates to a session it is known to belong to."""
        reply = self.plan.walk.reply
        state = self.plan.request_state
        if reply is not None and not session.failed and session.waits_at(reply.state):
            return v.CONTINUE
        if state in session.failed or state in session.pending:
            return v.RETRY
        if session.answered(state):
            return v.REGENERATE
        if reply is not None and session.head != reply.state:
            place = session.head_place(reply.state)
            if place >= 0 and not session.is_latest(place):
                return v.FORK
        return v.CONTINUE

    def started(
        self,
        relation: str,
        source: str,
        confidence: float,
        reason: str,
        *,
        new: str,
        session_id: str = "",
        parent: Session | None = None,
        parent_id: str | None = None,
    ) -> Verdict:
        """Return a verdict with a new session."""
        plan = self.plan
        parent_id = parent.id if parent else parent_id
        session = Session(
            id=session_id or self.mint(),
            scope=plan.scope.seed,
            started=self.now,
            used=self.now,
            parent=parent_id,
            root=(parent.root or parent.id) if parent else parent_id,
        )
        expired = self.expired if new == "expired" else None
        previous = expired.id if expired else None
        return Verdict(
            session,
            relation,
            source,
            confidence,
            reason,
            new=new,
            previous_session_id=previous,
        )


SUBAGENT_SECONDS = 300.0
"""How long a sub-agent waits for a tool, at most, where others may go on instead."""

SENDER = 3
"""What may agree: instructions with tools, client, and model."""


def agreeing(session: Session, plan: Plan) -> int:
    """Return how many of these three a request has in common with a session's newest one."""
    return (
        (session.agent == plan.agent)
        + (session.client == plan.client)
        + (session.model == plan.model)
    )


def is_stranger(session: Session, plan: Plan) -> bool:
    """Whether a request looks like one of another application.

    Many applications write the time into their instructions, or fall back to another model, so
    one difference says nothing.
    """
    return agreeing(session, plan) < SENDER - 1


def _used(session: Session) -> float:
    return session.used
