"""The rules that go by the history: known to its end, in parts, or by the replies in it."""

from __future__ import annotations

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask, agreeing, is_stranger
from gateway_sessions.detection.chains import runs_backwards
from gateway_sessions.detection.echo_rules import compaction
from gateway_sessions.detection.evidence import (
    ENOUGH_TEXT,
    UNGUESSABLE,
    evidence_of,
    gave_all,
    is_shared,
    knows_all,
    only_one_waits,
    waits_after,
)
from gateway_sessions.detection.plan import last_key, older_states
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.verdict import Verdict

GOES_ON = "the history ends with the newest reply of this session"
"""Why most requests are where they are."""
_FOREIGN = "it agrees with the session that knows its history in nothing else"
_EXPIRED = "newer replies in the history are those of a session that has expired"


def _has_expired_waiting(ask: Ask, session: Session) -> bool:
    """Whether a session that has expired waits where another would be gone back in.

    It must be as near to the sender: its client has come back, rather than somebody gone back.
    """
    plan, reply = ask.plan, ask.plan.walk.reply
    if reply is None:
        return False
    for other in ask.view.candidates(plan.scope.seed, reply.state):
        if ask.is_live(other) or not other.waits_at(reply.state):
            continue
        if agreeing(other, plan) >= agreeing(session, plan):
            ask.expired = other
            return True
    return False


def _is_foreign(ask: Ask, session: Session) -> bool:
    """Whether a request agrees with a session's newest in nothing but the history.

    Then somebody else has said the same, rather than gone back with all of it changed at once.
    """
    return agreeing(session, ask.plan) == 0


def prefix(ask: Ask) -> Verdict | None:
    """Follow the history, if we know it up to its newest reply."""
    candidates = ask.at_reply()
    if not candidates:
        return None
    session, toss_up = ask.choose(candidates)
    if is_rather_anothers(ask, session):
        return None
    toss_up = toss_up or ask.doubtful
    relation = ask.relation_to(session)
    if relation == v.FORK and _has_expired_waiting(ask, session):
        ask.note = _EXPIRED
        return None
    if relation == v.CONTINUE:
        reason = GOES_ON
    else:
        reason = "the history ends with an earlier reply of this session"
    if toss_up:
        waits = relation == v.CONTINUE and not session.pending
        how = "waits for longest" if waits else "was busy last"
        reason = f"{reason}; {len(candidates)} sessions know it, this one {how}"
    confidence = 0.5 if toss_up else 1.0 if len(candidates) == 1 else 0.9
    return Verdict(session, relation, v.PREFIX, confidence, reason, ambiguous=toss_up)


def is_rather_anothers(ask: Ask, session: Session) -> bool:
    """Whether a history that a session knows word for word is still more likely another's.

    The same may have been said twice, and a client that sends only the end of its history, or
    leaves out of it what it added to a message, may then send what another session has said from
    its beginning.  So where a session would be gone back in, was named by its client, or looks
    like one of another application, it is asked whether one of the sender's own waits after the
    very same turns; and unless another application's would be gone back in, one whose client is
    known to send less than it has said.
    """
    newest = ask.plan.walk.newest_answer
    if newest is None:
        return False
    stranger = is_stranger(session, ask.plan)
    known = ask.at_reply()
    alike = agreeing(session, ask.plan)
    gone_back = not session.waits_at(newest.state)
    if stranger and gone_back and any(agreeing(other, ask.plan) > alike for other in known):
        ask.note = "a session nearer to the sender knows this history as well"
        ask.passed_over = session
        return True
    if gone_back and _is_foreign(ask, session):
        ask.note = _FOREIGN
        ask.passed_over = session
        return True
    if not stranger and not session.explicit_key and session.head == newest.state:
        return False
    key = last_key(ask.plan.scope, newest)
    waiting = [
        s for s in ask.live(key) if s not in known and ask.is_sender(s) and waits_after(s, key)
    ]
    equals = [s for s in known if ask.is_sender(s) and s.waits_at(newest.state)]
    if not waiting or any(not equal.explicit_key for equal in equals):
        return False
    for evidence in evidence_of(ask, newest):
        other = evidence.session
        if other not in waiting or not knows_all(ask, evidence, newest):
            continue
        left = stranger or (session.was_retold() and gave_all(ask, evidence, newest))
        if evidence.adds or other.was_retold() or (gone_back and left):
            ask.note = "a session of the sender's own waits after the very same turns"
            ask.passed_over = session
            return True
    return False


def anchor(ask: Ask) -> Verdict | None:
    """Recognise our own replies where the history around them has changed."""
    newest = ask.plan.walk.newest_answer
    if newest is None:
        return None
    found = evidence_of(ask, newest)
    if not found:
        ask.note = _EXPIRED if ask.expired else "no reply in the history is known to be ours"
        return None
    if ask.candidates is not None:
        ask.candidates += [evidence.told() for evidence in found]
    best = max(evidence.rank() for evidence in found)
    fitting = [evidence for evidence in found if evidence.rank() == best]
    session, toss_up = ask.choose([evidence.session for evidence in fitting])
    evidence = next(evidence for evidence in fitting if evidence.session is session)
    if toss_up and len(fitting) > 2 and not evidence.is_as_long:
        ask.note = "several sessions wait after the turns that the client has sent"
        return None
    if is_shared(evidence, found) and (toss_up or not only_one_waits(ask, newest, evidence)):
        ask.note = "several sessions gave the replies that are known"
        return None
    if evidence.weight < ENOUGH_TEXT and (toss_up or not only_one_waits(ask, newest, evidence)):
        ask.note = "the replies that are known are too short to be told from others"
        return None
    if not evidence.calls and not evidence.waits and _is_foreign(ask, session):
        ask.note = _FOREIGN
        return None
    if not evidence.calls and compaction(ask) is not None:
        ask.note = "it opens with a summary, which says more than a few replies"
        return None
    confidence = 0.5 if toss_up else 0.95 if evidence.weight >= UNGUESSABLE else 0.8
    reason = "replies of this session stand in a history that has otherwise changed"
    relation = ask.relation_to(session)
    return Verdict(session, relation, v.ANCHOR, confidence, reason, ambiguous=toss_up)


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
