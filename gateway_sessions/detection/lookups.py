"""What a request asks of a store, step by step: as few keys as will do.

Rules ask an index key by key, and most requests go on where a session waits: two or three keys
place them.  So a store is asked in steps, one round trip each, and each only where the rules can
not answer from what the steps before have brought:

=========  =====================================================================================
`first`    what every request asks: ids that it names, the history up to its newest reply, the
           request itself.  Of one without a history it is all, where nobody waits for tasks
`further`  replies and older parts of the history; tasks; calls that tell equal histories apart
`last`     words: altered histories, summaries, side calls, other sessions of the client
=========  =====================================================================================

All are pure: they read the plan, and what is known locally.
"""

from __future__ import annotations

import msgspec

from gateway_sessions.detection.ask import Ask, is_stranger
from gateway_sessions.detection.chains import runs_backwards
from gateway_sessions.detection.echo import CALL, SUMMARY
from gateway_sessions.detection.echo_rules import (
    subagent,
    summary_marks,
    task_marks,
)
from gateway_sessions.detection.fuzzy import reply_marks
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.plan import (
    Plan,
    anchor_key,
    call_key,
    explicit_key,
    last_key,
    named_reply,
    newest_call,
    older_states,
    replies,
    response_key,
)
from gateway_sessions.detection.records import (
    client_key,
    echo_key,
    habit_key,
    history_key,
    texts_key,
    turn_key,
)
from gateway_sessions.detection.rules_of_history import anchor, branch, prefix
from gateway_sessions.detection.side_calls import turn_marks
from gateway_sessions.detection.view import CANDIDATES, View


class Lookups(msgspec.Struct, frozen=True, gc=False):
    """Keys to ask for, by kind."""

    states: frozenset[int] = frozenset()
    """Keys of the index."""
    texts: frozenset[int] = frozenset()
    """Fingerprints of pending tool arguments and summaries."""
    any_texts: bool = False
    """Whether to ask for sessions of the scope that have such texts, the newest."""
    turns: frozenset[int] = frozenset()
    """Beginnings of newest prompts and replies."""
    replies: frozenset[int] = frozenset()
    """Marks of recent replies."""
    client: int | None = None
    """The client whose sessions are asked for."""
    agent: int | None = None
    """The instructions of which it is asked what they serve for."""

    def keys(self, scope: int) -> list[int]:
        """Return all as keys of a store."""
        found = list(self.states)
        found += map(echo_key, self.texts)
        if self.any_texts:
            found.append(texts_key(scope))
        found += map(turn_key, self.turns)
        found += map(history_key, self.replies)
        if self.client is not None:
            found.append(client_key(scope, self.client))
        if self.agent is not None:
            found.append(habit_key(scope, self.agent))
        return found

    def owners(self, scope: int, view: View, memories: Memories) -> set[str]:
        """Return the sessions to which these lead as far as is known here."""
        found = {session.id for key in self.states for session in view.candidates(scope, key)}
        if self.texts:
            found |= memories.echo.owners(self.texts)
        if self.any_texts:
            found |= memories.echo.newest(scope, 2 * CANDIDATES)
        if self.turns:
            found |= memories.turns.owners(self.turns)
        if self.replies:
            found |= memories.histories.owners(self.replies)
        if self.client is not None:
            found |= {session.id for session in memories.recent.of(scope, self.client)}
        return found


def going_on(plan: Plan) -> tuple[int, int] | None:
    """Return the two keys that place a request which simply goes on, the history's first.

    None where others may count as well.  If one session is found by them that waits there, no
    step asks anything more; see `gateway_sessions.detection.straight`.
    """
    tail = plan.walk.tail
    if plan.explicit is not None or plan.repeat_key or plan.conversation.fields or tail is None:
        return None
    reply = tail.before
    if reply is None or reply.before is None or tail.model_side or reply.call_ids:
        return None
    return reply.state, plan.request_state


def first(plan: Plan) -> Lookups:
    """Return what a request asks in any case."""
    keys = going_on(plan)
    if keys is not None:  # Nearly always; what follows would find the same two.
        return Lookups(frozenset(keys), agent=plan.agent)
    scope, walk, given = plan.scope, plan.walk, plan.explicit
    reply, answer = walk.reply, walk.newest_answer
    states = {plan.request_state}
    if plan.repeat_key:
        states.add(plan.repeat_key)
    if reply is not None:
        states.add(reply.state)
    if answer is not None and answer.call_ids:
        states.add(call_key(scope, answer.call_ids[0]))
    named = named_reply(plan.conversation.fields)
    if named:
        states.add(response_key(scope, named))
    if given is not None:
        ids = (given.value, given.parent, given.previous)
        states |= {explicit_key(scope, given, each) for each in ids if each}
    elif answer is None and not named:
        opening = _opening(plan, with_texts=False)
        states |= opening.states
        return msgspec.structs.replace(opening, states=frozenset(states), agent=plan.agent)
    return Lookups(frozenset(states), agent=plan.agent)


def further(ask: Ask) -> Lookups | None:
    """Return what to ask where the history is not known to its end, or not to one alone."""
    plan = ask.plan
    reply = plan.walk.reply
    known = ask.live(reply.state) if reply is not None else []
    calls = _calls(ask)
    if len(known) > 1:
        states, tasks = _parts(plan) if _may_be_anothers(ask) else calls, True
    elif plan.explicit is not None or _answered_by_id(ask):
        return None
    elif known and ask.at_reply():
        doubted = _may_be_anothers(ask)
        if _waits(ask) and not doubted and not calls:
            return None
        states, tasks = _parts(plan) if doubted else calls, True
    elif plan.walk.newest_answer is None:
        if named_reply(plan.conversation.fields):
            return _opening(plan, with_texts=True)
        # `first` has asked for all of it, but for texts: there may be none in the scope.
        scope = plan.scope.seed
        if not (ask.echo.holds(scope, CALL) or ask.echo.holds(scope, SUMMARY)):
            return None
        return Lookups(texts=frozenset(task_marks(plan) | summary_marks(plan)))
    else:
        states, tasks = _parts(plan), True
    texts = task_marks(plan) if tasks and plan.explicit is None else ()
    turns = turn_marks(plan) if texts else ()
    found = Lookups(states, texts=frozenset(texts), turns=frozenset(turns))
    return found if states or texts or turns else None


def last(ask: Ask) -> Lookups | None:
    """Return what to ask where nothing that the history consists of is known."""
    plan = ask.plan
    if plan.explicit is not None or plan.walk.newest_answer is None or _answered_by_id(ask):
        return None
    if any(rule(ask) for rule in (subagent, prefix, anchor, branch)):
        return None
    return _words(plan, fuzzy=ask.settings.fuzzy_matching)


def _opening(plan: Plan, *, with_texts: bool) -> Lookups:
    """Return all that a request without a history asks: nothing but words tell whose it is."""
    found = _words(plan, fuzzy=False, summaries=with_texts)
    texts = found.texts | task_marks(plan) if with_texts else found.texts
    return msgspec.structs.replace(
        found, states=_inside(plan), texts=texts, any_texts=not with_texts
    )


def _words(plan: Plan, *, fuzzy: bool, summaries: bool = True) -> Lookups:
    return Lookups(
        texts=frozenset(summary_marks(plan)) if summaries else frozenset(),
        turns=frozenset(turn_marks(plan)),
        replies=frozenset(reply_marks(plan)) if fuzzy else frozenset(),
        client=plan.client,
    )


def _waits(ask: Ask) -> bool:
    """Whether an agent goes on with its own work, which is the end of the question."""
    reply = ask.plan.walk.reply
    return reply is not None and any(
        session.waits_at(reply.state) and session.agent == ask.plan.agent
        for session in ask.at_reply()
    )


def _may_be_anothers(ask: Ask) -> bool:
    """Whether `is_rather_anothers` looks for another session than those that know the history."""
    known, newest = ask.at_reply(), ask.plan.walk.newest_answer
    if not known or newest is None:
        return False
    session, _ = ask.choose(known)
    gone_back = session.head != newest.state
    return gone_back or bool(session.explicit_key) or is_stranger(session, ask.plan)


def _answered_by_id(ask: Ask) -> bool:
    """Whether the reply that a request names is known."""
    named = named_reply(ask.plan.conversation.fields)
    return bool(named) and bool(ask.live(response_key(ask.plan.scope, named)))


def _calls(ask: Ask) -> frozenset[int]:
    """Return the key of the newest tool call, where it has to tell equal histories apart."""
    scope, reply = ask.plan.scope, ask.plan.walk.reply
    if reply is None or len(ask.view.candidates(scope.seed, reply.state)) < 2:
        return frozenset()
    return _call(ask.plan)


def _call(plan: Plan) -> frozenset[int]:
    call = newest_call(plan.walk)
    return frozenset((call_key(plan.scope, call),) if call else ())


def _parts(plan: Plan) -> frozenset[int]:
    """Return the keys of all parts of a history: replies, older states, the newest prompt."""
    walk, scope = plan.walk, plan.scope
    found = {anchor_key(scope, reply.before, reply) for reply in replies(walk)}
    newest, reply = walk.newest_answer, walk.reply
    if newest is not None:
        found.add(last_key(scope, newest))
    found |= {state for state, _ in older_states(walk)}
    if reply is not None:
        asked = (run.before for run in runs_backwards(walk.full()) if run.state == reply.state)
        found |= {run.state for run in asked if run is not None}
    return frozenset(found) | _call(plan) | _inside(plan)


def _inside(plan: Plan) -> frozenset[int]:
    return frozenset(plan.walk.states_inside_prompt())
