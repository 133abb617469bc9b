"""The ladder: every rule that can place a request, in the order in which they are asked.

=============  ==============================================================================
rule           answers when
=============  ==============================================================================
explicit       the client names its session
response_id    it goes on from a reply that it names
reset          the newest user text begins with a reset phrase
repeat         the very same request failed, is in flight, or was answered
subagent       it opens with an argument of a tool call that is still pending
prefix         the history up to its newest reply is one we know
anchor         the newest replies are ones we gave, though what surrounds them has changed
branch         an older part of the history is one we know
compaction     it opens with the summary of a session
side_call      it quotes the newest turn of a session, in a single request without tools
new            nothing else did
=============  ==============================================================================

Every rule prefers *no* answer to a doubtful one: a split can be joined later, a false merge
leaks one user's conversation into another's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.echo_rules import compaction, side_call, subagent
from gateway_sessions.detection.plan import (
    anchor_key,
    explicit_key,
    last_key,
    named_reply,
    older_states,
    replies,
    response_key,
)
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.verdict import Verdict
from gateway_sessions.detection.walk import Run

ENOUGH_TEXT = 60
"""Characters of canonical text that must agree before a reply can be told from a phrase that
many conversations share ("Is there anything else I can help you with?" has 38)."""
UNGUESSABLE = 1000
"""What a tool-call id counts for, in characters of agreeing text."""


def explicit(ask: Ask) -> Verdict | None:
    """Follow the id that the client itself gives its session."""
    plan = ask.plan
    given = plan.explicit
    if given is None:
        return None
    key = explicit_key(plan.scope, given)
    known = ask.named(key)
    if known is not None:
        if given.kind == "conversation" and known.head:
            plan.go_on_from(known.head)  # The provider keeps the history under this id.
        reason = f"the client names this session in {given.source}"
        relation = ask.relation_to(known)
        if given.compacted and relation == v.CONTINUE:
            relation = v.COMPACTION
        return Verdict(known, relation, v.EXPLICIT, 1.0, reason)
    if not given.parent:
        nameless = [session for session in ask.at_reply() if not session.explicit_key]
        if nameless:
            session, toss_up = ask.choose(nameless)
            if not toss_up:
                reason = f"{given.source} is new, on the history of a session without an id"
                return Verdict(session, ask.relation_to(session), v.EXPLICIT, 0.95, reason)
    session_id = ask.name(plan.scope, given.kind, given.value)
    reason = f"{given.source} names a session not seen before"
    if not given.parent:
        return ask.started(
            v.FIRST, v.EXPLICIT, 1.0, reason, new="first_request", session_id=session_id
        )
    above = explicit_key(plan.scope, type(given)(given.kind, given.parent, given.source))
    return ask.started(
        v.SUBAGENT,
        v.EXPLICIT,
        1.0,
        reason + " and its parent",
        new="subagent",
        session_id=session_id,
        parent=ask.named(above),
        parent_id=ask.name(plan.scope, given.kind, given.parent),
    )


def response_id(ask: Ask) -> Verdict | None:
    """Follow the id of the reply that a request goes on from, its history being kept there."""
    plan = ask.plan
    previous = named_reply(plan.conversation.fields)
    if not previous:
        return None
    key = response_key(plan.scope, previous)
    for session in ask.live(key, expires=True):
        place = session.anchor_place(key)
        state = session.head_of(place) if place >= 0 else session.head
        if place >= 0 or session.last_named == key:
            if plan.walk.reply is None:
                plan.go_on_from(state)
            reason = "it goes on from a reply of this session, which it names"
            return Verdict(session, ask.relation_to(session), v.RESPONSE_ID, 1.0, reason)
    ask.note = "the reply that it names is not known"
    return None


def reset(ask: Ask) -> Verdict | None:
    """Begin anew where the user says so."""
    texts = ask.plan.walk.prompt_texts()
    phrase = next(filter(None, map(ask.phrases.match, texts)), None)
    if phrase is None:
        return None
    if _repeated(ask):
        ask.note = f"“{phrase}” again, for a request that was sent before"
        return None
    reason = f"the newest message begins with “{phrase}”"
    return ask.started(v.RESET, v.NEW, 0.95, reason, new="reset_phrase")


_FAILED, _IN_FLIGHT, _ANSWERED = "failed", "is in flight", "was answered"
_OUTCOMES = (_FAILED, _IN_FLIGHT, _ANSWERED)
"""What became of an equal request; the likeliest reason to repeat it first."""


def _repeated(ask: Ask) -> list[tuple[Session, str]]:
    """Return the sessions that have sent this very request, and what became of it."""
    plan = ask.plan
    state = plan.request_state
    insists = bool(plan.retries)
    found: list[tuple[Session, str]] = []
    if plan.repeat_key:
        found += [
            (session, _FAILED)
            for session in ask.live(plan.repeat_key)
            if plan.repeat_key in session.pending or plan.repeat_key in session.failed
        ]
    reply = plan.walk.reply
    sent = ask.at_reply()
    # Only replies of ours are a history: the examples of a template stand in anybody's request.
    history = bool(sent)
    if reply is not None and not [s for s in sent if s.failed or not s.waits_at(reply.state)]:
        sent = []  # Nothing was asked after that reply, so not this either.
    openers = ask.live(state)
    for session in {s.id: s for s in (*openers, *sent)}.values() if openers else sent:
        if state in session.failed:
            found.append((session, _FAILED))
        elif state in session.pending:
            if history or insists:
                found.append((session, _IN_FLIGHT))
        elif session.answered(state) and (history or insists):
            found.append((session, _ANSWERED))
    return found


def repeat(ask: Ask) -> Verdict | None:
    """Recognise a retry (after a failure or in flight) and a regeneration (after an answer).

    A *first* request that was answered is no evidence: anybody may open with the same words.
    """
    found = _repeated(ask)
    if not found:
        return None
    reply = ask.plan.walk.reply
    outcome = min((outcome for _, outcome in found), key=_OUTCOMES.index)
    sessions = [session for session, became in found if became == outcome]
    if outcome != _FAILED and not ask.plan.retries and reply is not None:
        twins = [session for session in ask.at_reply() if session.waits_at(reply.state)]
        if twins and all(session in ask.at_reply() for session in sessions):
            ask.note = "the very same request was sent, but by a session with an equal twin"
            ask.doubtful = True
            return None
    session, toss_up = ask.choose(sessions)
    again = v.REGENERATE if outcome == _ANSWERED and not ask.plan.retries else v.RETRY
    confidence = 0.6 if toss_up else 0.95
    reason = f"the very same request {outcome}"
    return Verdict(session, again, v.PREFIX, confidence, reason, ambiguous=toss_up)


def prefix(ask: Ask) -> Verdict | None:
    """Follow the history, if we know it up to its newest reply."""
    candidates = ask.at_reply()
    if not candidates:
        return None
    session, toss_up = ask.choose(candidates)
    toss_up = toss_up or ask.doubtful
    relation = ask.relation_to(session)
    if relation == v.CONTINUE:
        reason = "the history ends with the newest reply of this session"
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
        ask.note = "no reply in the history is known to be ours"
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


def _evidence(ask: Ask, newest: Run) -> list[_Evidence]:
    """Collect the sessions that know replies of the history, and how much of it."""
    plan = ask.plan
    found: dict[str, _Evidence] = {}

    def count(key: int, weight: int) -> list[_Evidence]:
        sessions = ask.live(key, expires=weight >= ENOUGH_TEXT)
        counted = [found.setdefault(s.id, _Evidence(s)) for s in sessions]
        for evidence in counted:
            evidence.weight += weight
        return counted

    for evidence in count(last_key(plan.scope, newest), newest.weight):
        evidence.newest = evidence.by_reply_alone = True
    for reply in replies(plan.walk):
        weight = reply.weight + (reply.before.weight if reply.before else 0)
        if reply.call_ids:
            weight = UNGUESSABLE
        for evidence in count(anchor_key(plan.scope, reply.before, reply), weight):
            if reply.state == newest.state:
                evidence.newest, evidence.by_reply_alone = True, False
    for state, weight in older_states(plan.walk):
        if count(state, min(weight, UNGUESSABLE // 2)):
            break
    return list(found.values())


def _only_one_waits(ask: Ask, newest: Run, evidence: _Evidence) -> bool:
    """Whether a short newest reply is still enough, as just one session waits after it."""
    if not evidence.newest:
        return False
    session = evidence.session
    key = last_key(ask.plan.scope, newest)
    waiting = [s for s in ask.live(key) if s.last_reply == key and not s.pending]
    if waiting != [session]:
        return False
    return not evidence.by_reply_alone or ask.plan.messages_to_reply() == session.messages


def branch(ask: Ask) -> Verdict | None:
    """Follow an older part of the history, where what comes after it is unknown."""
    for state, weight in older_states(ask.plan.walk):
        candidates = ask.live(state)
        if not candidates:
            continue
        if weight < ENOUGH_TEXT:
            ask.note = "what is known of the history is too short to be told from others"
            return None
        session, toss_up = ask.choose(candidates)
        relation = v.CONTINUE if session.head == state else v.FORK
        reason = "the older part of the history is this session's"
        return Verdict(session, relation, v.PREFIX, 0.8, reason, ambiguous=toss_up)
    for state in ask.plan.walk.states_inside_prompt():
        waiting = [s for s in ask.live(state) if state in s.failed or state in s.pending]
        if waiting:
            session, toss_up = ask.choose(waiting)
            reason = "the history begins with a request of this session that got no answer"
            return Verdict(session, v.CONTINUE, v.PREFIX, 0.8, reason, ambiguous=toss_up)
    return None


def new(ask: Ask) -> Verdict:
    """Begin a session."""
    if ask.expired is not None:
        reason = "the session it continues has expired"
        return ask.started(v.FIRST, v.NEW, 0.9, reason, new="expired")
    if ask.plan.walk.reply is None:
        reason = "a first request, of no session that could be known"
        return ask.started(v.FIRST, v.NEW, 0.9, reason, new="first_request")
    reason = "nothing in the history is known"
    return ask.started(v.FIRST, v.NEW, 0.7, reason, new="no_match")


LADDER: tuple[tuple[str, Callable[[Ask], Verdict | None]], ...] = (
    ("explicit", explicit),
    ("response_id", response_id),
    ("reset", reset),
    ("repeat", repeat),
    ("subagent", subagent),
    ("prefix", prefix),
    ("anchor", anchor),
    ("branch", branch),
    ("compaction", compaction),
    ("side_call", side_call),
    ("new", new),
)
"""First that answers wins."""
