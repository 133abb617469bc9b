"""The rules that go by the history: known to its end, in parts, or by the replies in it."""

from __future__ import annotations

from typing import Any

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.chains import Run, runs_backwards
from gateway_sessions.detection.plan import anchor_key, last_key, older_states, replies
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.verdict import Verdict

ENOUGH_TEXT = 60
"""Characters of canonical text that must agree before a reply can be told from a phrase that
many conversations share ("Is there anything else I can help you with?" has 38)."""
UNGUESSABLE = 1000
"""What a tool-call id counts for, in characters of agreeing text."""

GOES_ON = "the history ends with the newest reply of this session"
"""Why most requests are where they are."""
_EXPIRED = "newer replies in the history are those of a session that has expired"


def prefix(ask: Ask) -> Verdict | None:
    """Follow the history, if we know it up to its newest reply."""
    candidates = ask.at_reply()
    if not candidates:
        return None
    session, toss_up = ask.choose(candidates)
    toss_up = toss_up or ask.doubtful
    relation = ask.relation_to(session)
    if relation == v.CONTINUE:
        reason = GOES_ON
    else:
        reason = "the history ends with an earlier reply of this session"
    if toss_up:
        reason = f"{reason}; {len(candidates)} sessions know it, this one waits for longest"
    confidence = 0.5 if toss_up else 1.0 if len(candidates) == 1 else 0.9
    return Verdict(session, relation, v.PREFIX, confidence, reason, ambiguous=toss_up)


def anchor(ask: Ask) -> Verdict | None:
    """Recognise our own replies where the history around them has changed."""
    newest = ask.plan.walk.newest_answer
    if newest is None:
        return None
    found = _evidence(ask, newest)
    if not found:
        ask.note = _EXPIRED if ask.expired else "no reply in the history is known to be ours"
        return None
    if ask.candidates is not None:
        ask.candidates += [evidence.told() for evidence in found]
    best = max(evidence.rank() for evidence in found)
    fitting = [evidence for evidence in found if evidence.rank() == best]
    session, toss_up = ask.choose([evidence.session for evidence in fitting])
    evidence = next(evidence for evidence in fitting if evidence.session is session)
    if evidence.weight < ENOUGH_TEXT and (toss_up or not _only_one_waits(ask, newest, evidence)):
        ask.note = "the replies that are known are too short to be told from others"
        return None
    confidence = 0.5 if toss_up else 0.95 if evidence.weight >= UNGUESSABLE else 0.8
    reason = "replies of this session stand in a history that has otherwise changed"
    relation = ask.relation_to(session)
    return Verdict(session, relation, v.ANCHOR, confidence, reason, ambiguous=toss_up)


class _Evidence:
    """What speaks for one session, in characters of agreeing text."""

    __slots__ = ("by_reply_alone", "newest", "session", "weight")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.weight = 0
        self.newest = False
        """Whether the newest reply is one of this session's."""
        self.by_reply_alone = False
        """Whether the newest reply agrees, but not what it answered."""

    def rank(self) -> tuple[bool, int]:
        return self.newest, self.weight

    def told(self) -> dict[str, Any]:
        return {
            "session_id": self.session.id,
            "agreeing_characters": self.weight,
            "knows_the_newest_reply": self.newest,
        }


class _Found:
    """The sessions that know replies of a history."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.sessions: dict[str, _Evidence] = {}

    def count(self, key: int, weight: int, *, alone: bool = False) -> list[_Evidence]:
        """Let a key speak for whoever knows it; with ``alone``, if no call speaks against that."""
        live = self._ask.live(key, expires=weight >= ENOUGH_TEXT)
        known = [
            self.sessions.setdefault(session.id, _Evidence(session))
            for session in (self._ask.narrowed(live) if alone else live)
        ]
        for evidence in known:
            evidence.weight += weight
        return known

    def only_expired(self) -> bool:
        """Whether all that is known so far is an expired session's."""
        return self._ask.expired is not None and not self.sessions


def _evidence(ask: Ask, newest: Run) -> list[_Evidence]:
    """Collect the sessions that know replies of the history, and how much of it.

    None are returned where the newest reply that is known is an expired session's: what others
    know of older ones, that session knows as well.
    """
    plan = ask.plan
    found = _Found(ask)
    for evidence in found.count(last_key(plan.scope, newest), newest.weight, alone=True):
        evidence.newest = evidence.by_reply_alone = True
    for reply in replies(plan.walk):
        if found.only_expired():
            return []
        weight = reply.weight + (reply.before.weight if reply.before else 0)
        if reply.call_ids:
            weight = UNGUESSABLE
        for evidence in found.count(anchor_key(plan.scope, reply.before, reply), weight):
            if reply.state == newest.state:
                evidence.newest, evidence.by_reply_alone = True, False
    if found.only_expired():
        return []
    for state, weight in older_states(plan.walk):
        if found.count(state, min(weight, UNGUESSABLE // 2)):
            break
    return list(found.sessions.values())


def _only_one_waits(ask: Ask, newest: Run, evidence: _Evidence) -> bool:
    """Whether a short newest reply is still enough, as just one session waits after it.

    Where several do, what it answered may tell them apart; but that is short too, so the rest
    must fit: who sends it, and that its client has cut the history before, as windows do.
    """
    if not evidence.newest:
        return False
    session, plan = evidence.session, ask.plan
    key = last_key(plan.scope, newest)
    waiting = [s for s in ask.live(key) if s.last_reply == key and not s.pending]
    if waiting == [session]:
        return not evidence.by_reply_alone or plan.messages_to_reply() == session.messages
    pair = anchor_key(plan.scope, newest.before, newest)
    return (
        [s for s in waiting if s.anchor_place(pair) >= 0] == [session]
        and (session.agent, session.client) == (plan.agent, plan.client)
        and plan.messages < session.messages
    )


def branch(ask: Ask) -> Verdict | None:
    """Follow an older part of the history, where what comes after it is unknown."""
    older = older_states(ask.plan.walk) if ask.expired is None else ()
    for state, weight in older:
        candidates = ask.live(state)
        if not candidates:
            continue
        if weight < ENOUGH_TEXT:
            ask.note = "what is known of the history is too short to be told from others"
            return None
        session, toss_up = ask.choose(candidates)
        relation = v.CONTINUE if session.head == state else v.FORK
        reason = "the older part of the history is this session's"
        confidence = 0.5 if toss_up else 0.8
        return Verdict(session, relation, v.PREFIX, confidence, reason, ambiguous=toss_up)
    ask.note = _EXPIRED if ask.expired else ""
    return _unanswered(ask) or _overtaking(ask)


def _unanswered(ask: Ask) -> Verdict | None:
    """Follow a prompt that begins with a request that got no answer, and says more."""
    for state in ask.plan.walk.states_inside_prompt():
        waiting = [s for s in ask.live(state) if state in s.failed or state in s.pending]
        if waiting:
            session, toss_up = ask.choose(waiting)
            reason = "the history begins with a request of this session that got no answer"
            confidence = 0.5 if toss_up else 0.8
            return Verdict(session, v.CONTINUE, v.PREFIX, confidence, reason, ambiguous=toss_up)
    return None


def _overtaking(ask: Ask) -> Verdict | None:
    """Follow a history with a reply that its client has and we have not, as it still arrives."""
    walk = ask.plan.walk
    reply = walk.reply
    if reply is None:
        return None
    runs = runs_backwards(walk.full())
    asked = next((run.before for run in runs if run.state == reply.state), None)
    if asked is None:
        return None
    waiting = [s for s in ask.live(asked.state) if asked.state in s.pending]
    if len(waiting) != 1:
        return None
    if sum(run.weight for run in runs_backwards(asked)) < ENOUGH_TEXT:
        ask.note = "a request like its first one is in flight, but too short to be told from others"
        return None
    reason = "it goes on from a reply of this session that is not complete yet"
    return Verdict(waiting[0], v.CONTINUE, v.PREFIX, 0.7, reason)
