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
fuzzy          the history says much the same as one session's, and nothing that contradicts it
compaction     it opens with the summary of a session
side_call      it quotes the newest turn of a session, in a single request without tools
new            nothing else did
=============  ==============================================================================

Every rule prefers *no* answer to a doubtful one: a split can be joined later, a false merge
leaks one user's conversation into another's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import msgspec

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask, is_stranger
from gateway_sessions.detection.beginnings import new
from gateway_sessions.detection.echo_rules import compaction, subagent, tasks_given
from gateway_sessions.detection.facts import CALLS, FIELDS, HISTORY, NAMED, SUMMARIES
from gateway_sessions.detection.fuzzy import fuzzy
from gateway_sessions.detection.plan import explicit_key, named_reply, response_key
from gateway_sessions.detection.rules_of_history import (
    anchor,
    branch,
    is_rather_anothers,
    prefix,
)
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.side_calls import side_call
from gateway_sessions.detection.signals import Explicit
from gateway_sessions.detection.verdict import Verdict


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
        return Verdict(known, _named_relation(ask, given, known), v.EXPLICIT, 1.0, reason)
    if not (given.parent or given.previous or given.relation == v.SIDE_CALL):
        nameless = [session for session in ask.at_reply() if not session.explicit_key]
        if nameless:
            session, toss_up = ask.choose(nameless)
            if not toss_up and _is_up_to_date(ask, session):
                reason = f"{given.source} is new, on the history of a session without an id"
                return Verdict(session, ask.relation_to(session), v.EXPLICIT, 0.95, reason)
    session_id = ask.name(plan.scope, given.kind, given.value)
    reason = f"{given.source} names a session not seen before"
    aside = v.SIDE_CALL if given.relation == v.SIDE_CALL else ""
    if given.parent:
        return ask.started(
            aside or v.SUBAGENT,
            v.EXPLICIT,
            1.0,
            reason + " and its parent",
            new="subagent",
            session_id=session_id,
            parent=ask.named(_key_of(ask, given, given.parent)),
            parent_id=ask.name(plan.scope, given.kind, given.parent),
        )
    relation = aside or (v.FORK if given.previous else v.FIRST)
    verdict = ask.started(
        relation, v.EXPLICIT, 1.0, reason, new="first_request", session_id=session_id
    )
    if not given.previous:
        return verdict
    origin = ask.named(_key_of(ask, given, given.previous))
    previous = origin.id if origin else ask.name(plan.scope, given.kind, given.previous)
    return msgspec.structs.replace(verdict, previous_session_id=previous)


def _is_up_to_date(ask: Ask, session: Session) -> bool:
    """Whether a session waits after a history, rather than having gone on from there."""
    reply = ask.plan.walk.reply
    return reply is not None and session.waits_at(reply.state)


def _key_of(ask: Ask, given: Explicit, value: str) -> int:
    """Return the key of another id of the same kind."""
    return explicit_key(ask.plan.scope, given, value)


def _named_relation(ask: Ask, given: Explicit, known: Session) -> str:
    """Return how a request relates to the session that its client names."""
    if given.relation == v.SIDE_CALL:
        return v.SIDE_CALL
    if not known.messages:  # So far there were only side calls.
        return v.SUBAGENT if known.parent else v.FIRST
    relation = ask.relation_to(known)
    if given.relation == v.COMPACTION and relation in (v.CONTINUE, v.FORK):
        return v.COMPACTION
    # Some clients say for ever that they have compacted: what goes on as known is no news.
    if given.compacted and relation == v.CONTINUE and known not in ask.at_reply():
        return v.COMPACTION
    return relation


def response_id(ask: Ask) -> Verdict | None:
    """Follow the id of the reply that a request goes on from, its history being kept there."""
    plan = ask.plan
    previous = named_reply(plan.conversation.fields) if plan.conversation.fields else ""
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
    phrase = ask.phrases.begins(ask.plan.walk.prompt_texts())
    if phrase is None:
        return None
    if _repeated(ask):
        ask.note = f"“{phrase}” again, for a request that was sent before"
        return None
    reason = f"the newest message begins with “{phrase}”"
    verdict = ask.started(v.RESET, v.NEW, 0.95, reason, new="reset_phrase")
    over = ask.at_reply()
    if len(over) != 1:
        return verdict
    return msgspec.structs.replace(verdict, ended_session_id=over[0].id)


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
    openers = ask.fitting(state)
    for session in {s.id: s for s in (*openers, *sent)}.values() if openers else sent:
        if state in session.failed:
            found.append((session, _FAILED))
        elif state in session.pending:
            if history or insists:
                found.append((session, _IN_FLIGHT))
        elif session.answered(state) and (history or insists):
            found.append((session, _ANSWERED))
    return found


def _is_given_again(ask: Ask) -> bool:
    """Whether a call waits for this task that no sub-agent has taken: several got the same."""
    return any(not task.text.taken for task in tasks_given(ask))


def _is_elsewhere(ask: Ask, session: Session) -> bool:
    """Whether an opening was sent before by another application, which proves nothing."""
    if ask.plan.repeat_key or not is_stranger(session, ask.plan):
        return False
    ask.note = "another application has opened with the very same request"
    return True


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
        equal = all(session in ask.at_reply() for session in sessions)
        known = outcome == _ANSWERED or all(session.knows(reply.state) for session in sessions)
        if twins and (equal or known):
            # Those that are not among `at_reply` made other tool calls, or began with a history
            # that nobody knew.
            ask.doubtful = equal
            ask.note = "the very same request was sent, but by a session with an equal twin"
            return None
    if outcome == _IN_FLIGHT and not ask.plan.retries and _is_given_again(ask):
        ask.note = "the very same request is in flight, but the task was given to another as well"
        return None
    session, toss_up = ask.choose(sessions)
    if toss_up and outcome == _IN_FLIGHT and reply is None:
        ask.note = "several sessions have opened with the very same request, and each waits"
        return None
    if is_rather_anothers(ask, session) or (reply is None and _is_elsewhere(ask, session)):
        return None
    again = v.REGENERATE if outcome == _ANSWERED and not ask.plan.retries else v.RETRY
    confidence = 0.6 if toss_up else 0.95
    reason = f"the very same request {outcome}"
    return Verdict(session, again, v.PREFIX, confidence, reason, ambiguous=toss_up)


class Rule(NamedTuple):
    """One rung of the ladder."""

    name: str
    answer: Callable[[Ask], Verdict | None]
    needs: int = 0
    """Facts without which it has never anything to say, see `gateway_sessions.detection.facts`."""


LADDER = (
    Rule("explicit", explicit, needs=NAMED),
    Rule("response_id", response_id, needs=FIELDS),
    Rule("reset", reset),
    Rule("repeat", repeat),
    Rule("subagent", subagent, needs=CALLS),
    Rule("prefix", prefix, needs=HISTORY),
    Rule("anchor", anchor, needs=HISTORY),
    Rule("branch", branch, needs=HISTORY),
    Rule("fuzzy", fuzzy, needs=HISTORY),
    Rule("compaction", compaction, needs=SUMMARIES),
    Rule("side_call", side_call),
    Rule("new", new),
)
"""First that answers wins."""


@cache
def answering(facts: int) -> tuple[Callable[[Ask], Verdict | None], ...]:
    """Return the rules that may answer where some facts hold, in their order."""
    return tuple(rule.answer for rule in LADDER if rule.needs & facts == rule.needs)
