"""The last rule: a new session, and why it is one.

==============  =========================================================================
reason          when
==============  =========================================================================
expired         it goes on from a session that was idle for too long
count_drop      it has fewer than ``min_messages_for_new_session`` messages, and a live session
                of the same client has more: the client has begun anew
context_break   it has little to do with the only live session of its client
first_request   none of these, and it has no history
no_match        none of these, and nothing in its history is known
==============  =========================================================================

The reason is a word for people and counters.  The session is new whatever it says.
"""

from __future__ import annotations

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.histories import LONGEST_RAW
from gateway_sessions.detection.likeness import words
from gateway_sessions.detection.session import Session
from gateway_sessions.detection.verdict import Verdict

SHORT_WORD = 3
"""Letters of a word that say nothing of a topic; each further one counts."""
ENOUGH_TOPIC = 12
"""Letters that must count before a text has a topic."""
SAME_TOPIC = 0.25
"""The share of them, in words of the session, from which it is the session's topic."""
TURNS_READ = 3
"""Turns of the session, the newest, whose words are its topic."""


def new(ask: Ask) -> Verdict:
    """Begin a session."""
    if ask.expired is not None:
        reason = "the session it continues has expired"
        return ask.started(v.FIRST, v.NEW, 0.9, reason, new="expired")
    history = ask.plan.walk.reply is not None
    word, reason = _begun_anew(ask) or (
        ("no_match", "nothing in the history is known")
        if history
        else ("first_request", "a first request, of no session that could be known")
    )
    return ask.started(v.FIRST, v.NEW, 0.7 if history else 0.9, reason, new=word)


def _begun_anew(ask: Ask) -> tuple[str, str] | None:
    """Return how a client has turned away from what it did before, if it has."""
    plan = ask.plan
    limit = ask.now - ask.settings.session_ttl_seconds
    begun = ask.recent.of(plan.scope.seed, plan.client)
    live = [s for s in begun if s.used >= limit or s.pending]
    if not live:
        return None
    longest = live[0]
    for session in live:
        if session.messages > longest.messages:
            longest = session
    if plan.messages < min(ask.settings.min_messages_for_new_session, longest.messages):
        _tell(ask, longest, messages=longest.messages)
        return "count_drop", (
            f"its history is short ({plan.messages}), and its client has"
            f" a live session that is longer ({longest.messages})"
        )
    share = _same_topic(ask, live[0]) if len(live) == 1 else None
    if share is not None:
        _tell(ask, live[0], same_topic=round(share, 2))
        if share < SAME_TOPIC:
            return "context_break", "it has little to do with its client's only live session"
    return None


def _same_topic(ask: Ask, session: Session) -> float | None:
    """Return the share of a prompt's words that a session knows, long words counting more.

    None where there is no telling: too few words, or a session whose words are forgotten.
    """
    asked = _topic("\n".join(ask.plan.walk.prompt_texts()))
    turns = ask.histories.of(session)[-TURNS_READ:]
    said = {
        word
        for turn in turns
        for told in (turn.prompt, turn.reply)
        if told.text is not None
        for word in _topic(told.text)
    }
    counted = sum(map(_weight, asked))
    if counted < ENOUGH_TOPIC or not said:
        return None
    return sum(map(_weight, asked & said)) / counted


def _topic(text: str) -> set[str]:
    return {word.casefold() for word in words(text[:LONGEST_RAW])}


def _weight(word: str) -> int:
    return max(0, len(word) - SHORT_WORD)


def _tell(ask: Ask, session: Session, **marks: float) -> None:
    if ask.candidates is not None:
        ask.candidates.append({"session_id": session.id, **marks})
