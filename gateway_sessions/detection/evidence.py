"""What speaks for a session where the history is not known to its end, or another's as well.

Replies that it gave, alone and with what they answered; tool-call ids; older parts of the history.
A client that adds context to its newest message, and leaves it out of the history, has asked
something else than its history says.  So what a reply answered counts as known too where the
session's newest prompt begins or ends with it.
"""

from __future__ import annotations

from typing import Any

from gateway_sessions.conversation import ASSISTANT, Message, Text
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.chains import Run
from gateway_sessions.detection.plan import anchor_key, last_key, older_states, replies
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.turns import Turn

ENOUGH_TEXT = 60
"""Characters of canonical text that must agree before a reply can be told from a phrase that
many conversations share ("Is there anything else I can help you with?" has 38)."""
TURN_READ = 32
"""Messages that are read, from the newest reply, to find the one text that it answers."""
UNGUESSABLE = 1000
"""What a tool-call id counts for, in characters of agreeing text."""


class Evidence:
    """What speaks for one session, in characters of agreeing text."""

    __slots__ = (
        "adds",
        "by_reply_alone",
        "calls",
        "is_as_long",
        "is_sender",
        "newest",
        "replies",
        "session",
        "waits",
        "weight",
    )

    def __init__(self, session: Session, ask: Ask) -> None:
        """Know nothing yet of what a session has in common with a request."""
        self.session = session
        self.is_sender = ask.is_sender(session)
        self.is_as_long = session.messages == ask.plan.messages_to_reply()
        """Whether the request has as many messages as the session would have now."""
        self.calls = 0
        """How many of the history's tool calls it made, of those that are looked up."""
        self.replies = 0
        """What the replies count for, apart from what came before them."""
        self.weight = 0
        self.newest = False
        """Whether the newest reply is one of this session's."""
        self.by_reply_alone = False
        """Whether the newest reply agrees, but not what it answered."""
        self.adds = False
        """Whether its newest prompt says what the newest reply answers, and more."""
        self.waits = False
        """Whether the session waits after the newest turn."""

    def rank(self) -> tuple[bool, int, bool, int, bool, bool, int, bool]:
        """Return what speaks for a session, weightiest first.

        The same may be said in many sessions, while ids of tool calls are never given twice, and
        who names one session does not forget to in between.
        Who knows the very beginning of what is sent knows more, but where a client sends the end
        of its history that is not the beginning of what was said.
        """
        return (
            self.newest,
            self.calls,
            not self.session.explicit_key and not self.by_reply_alone,
            self.replies,
            self.is_sender,
            self.waits,
            self.weight,
            self.is_as_long,
        )

    def told(self) -> dict[str, Any]:
        """Return this for explanations."""
        return {
            "session_id": self.session.id,
            "agreeing_characters": self.weight,
            "knows_the_newest_reply": self.newest,
        }


class _Found:
    """The sessions that know replies of a history."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.sessions: dict[str, Evidence] = {}

    def count(self, key: int, weight: int, *, alone: bool = False) -> list[Evidence]:
        """Let a key speak for whoever knows it; with ``alone``, if no call speaks against that."""
        look_up = self._ask.fitting if alone else self._ask.live
        known = [
            self.sessions.setdefault(session.id, Evidence(session, self._ask))
            for session in look_up(key, expires=weight >= ENOUGH_TEXT)
        ]
        for evidence in known:
            evidence.weight += weight
        return known

    def only_expired(self) -> bool:
        """Whether all that is known so far is an expired session's."""
        return self._ask.expired is not None and not self.sessions


def evidence_of(ask: Ask, newest: Run) -> list[Evidence]:
    """Collect the sessions that know replies of the history, and how much of it.

    None are returned where the newest reply that is known is an expired session's: what others
    know of older ones, that session knows as well.
    """
    plan = ask.plan
    if ask.expired is not None and ask.expired.waits_at(newest.state):
        return []  # All of the history is that session's.
    found = _Found(ask)
    key = last_key(plan.scope, newest)
    for evidence in found.count(key, newest.weight, alone=True):
        evidence.newest = evidence.by_reply_alone = True
    for reply in replies(plan.walk):
        if found.only_expired():
            return []
        weight = reply.weight + (reply.before.weight if reply.before else 0)
        if reply.call_ids:
            weight = UNGUESSABLE
        anchor = anchor_key(plan.scope, reply.before, reply)
        for evidence in found.count(anchor, weight):
            evidence.calls += bool(reply.call_ids)
            if reply.state == newest.state:
                session = evidence.session
                evidence.newest, evidence.by_reply_alone = True, False
                evidence.waits = waits_after(session, key) and session.is_latest(
                    session.anchor_place(anchor)
                )
    if found.only_expired():
        return []
    _count_rewritten(ask, newest, list(found.sessions.values()))
    for evidence in found.sessions.values():
        evidence.replies = evidence.weight
    for state, weight in older_states(plan.walk):
        if found.count(state, min(weight, UNGUESSABLE // 2)):
            break
    return list(found.sessions.values())


def _count_rewritten(ask: Ask, newest: Run, found: list[Evidence]) -> None:
    """Let the newest prompts of sessions speak for them that gave the newest reply to it."""
    key = last_key(ask.plan.scope, newest)
    waiting = [e for e in found if e.by_reply_alone and waits_after(e.session, key)]
    asked = _asked_before(ask) if waiting else ""
    if not asked:
        return
    for evidence in waiting:
        turn = ask.turns.of(evidence.session)
        if turn is not None and _adds_to(turn, asked):
            evidence.weight += newest.weight + len(fold_text(asked))  # As much as the turn does.
            evidence.by_reply_alone, evidence.adds, evidence.waits = False, True, True


def _asked_before(ask: Ask) -> str:
    """Return what the newest reply of the history answers, if that is nothing but text."""
    walk, conversation = ask.plan.walk, ask.plan.conversation
    if walk.tail is None or walk.tail.model_side:
        return ""
    asked: list[Message] = []
    answered = False
    oldest = max(walk.start, walk.answer_end - TURN_READ)
    for raw in reversed(conversation.messages[oldest : walk.answer_end]):
        said = conversation.read(raw)
        is_answer = bool(said) and said[-1].role == ASSISTANT
        if answered and is_answer:
            break
        answered = answered or is_answer
        asked += () if is_answer else said
    parts = [part for message in asked for part in message.parts]
    texts = [part.text for part in parts if type(part) is Text]
    return "\n".join(texts).strip() if len(texts) == len(parts) else ""


def _adds_to(turn: Turn, asked: str) -> bool:
    """Whether a prompt begins or ends with a text, and something else stands apart from it."""
    prompt, ending, size = turn.prompt, turn.ending, turn.length
    if not ending:
        prompt = ending = prompt.strip()
        size = len(prompt)
    place = size - len(asked)
    if place <= 0:
        return False
    if prompt.startswith(asked) and prompt[len(asked) : len(asked) + 1].isspace():
        return True
    # Of a long prompt only the start and the end are kept.
    inside = place - 1 - (size - len(ending))
    before = prompt[place - 1] if place <= len(prompt) else ending[inside] if inside >= 0 else " "
    return (
        before.isspace()
        and asked.startswith(prompt[place:])
        and asked.endswith(ending[-len(asked) :])
    )


def is_shared(evidence: Evidence, found: list[Evidence]) -> bool:
    """Whether a session is known by replies alone that another gave as well."""
    return evidence.by_reply_alone and any(
        other.replies >= evidence.replies for other in found if other is not evidence
    )


def knows_all(ask: Ask, evidence: Evidence, newest: Run) -> bool:
    """Whether a session gave all replies of a history to what it says they answer.

    Where its client leaves something out of each, the newest turn and the number are enough.
    """
    if not evidence.newest or evidence.by_reply_alone:
        return False
    return evidence.is_as_long or gave_all(ask, evidence, newest)


def gave_all(ask: Ask, evidence: Evidence, newest: Run) -> bool:
    """Whether a session gave all replies of a history, to the very words that they answer."""
    whole = newest.weight
    for reply in replies(ask.plan.walk):
        turn = reply.weight + (reply.before.weight if reply.before else 0)
        whole += UNGUESSABLE if reply.call_ids else turn
    return evidence.replies >= whole


def waits_after(session: Session, key: int) -> bool:
    """Whether a session waits after a reply with this `last_key`."""
    return session.last_reply == key and not session.pending


def only_one_waits(ask: Ask, newest: Run, evidence: Evidence) -> bool:
    """Whether a short newest reply is still enough, as just one session waits after it.

    Where several do, what it answered may tell them apart; but that is short too, so the rest
    must fit: who sends it, and that its client has cut the history before, as windows do.
    """
    if not evidence.newest:
        return False
    session, plan = evidence.session, ask.plan
    key = last_key(plan.scope, newest)
    waiting = [s for s in ask.live(key) if waits_after(s, key)]
    if waiting == [session]:
        return not evidence.by_reply_alone or plan.messages_to_reply() == session.messages
    pair = anchor_key(plan.scope, newest.before, newest)
    return (
        [s for s in waiting if s.anchor_place(pair) >= 0] == [session]
        and (session.agent, session.client) == (plan.agent, plan.client)
        and plan.messages < session.messages
    )
