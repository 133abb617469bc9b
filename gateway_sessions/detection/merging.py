"""Two changes of one session, joined.

While a store is away, or where two processes answer requests of one session at the same time,
each changes the session as it knew it.  Nothing that either of them knows may be lost: all
exchanges, keys and texts are joined.  What can only have one value is taken from the side that
is *ahead*: the one on which the conversation itself went on, since side calls and children change
a session too.  Where it went on on both, the later use counts.

The result does not depend on which of the two is called ours.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from gateway_sessions.detection.histories import TURNS_KEPT
from gateway_sessions.detection.records import (
    KEYS_KEPT,
    Exchanged,
    Quotable,
    Record,
    encode,
    packed,
    unpacked,
)
from gateway_sessions.detection.session import EXCHANGES_KEPT, FAILED_KEPT, Session

_ENTRY = 20
"""Bytes of an exchange in a session's trail: request state, head, low half of the anchor."""
_NO_ANCHOR = bytes(4)


class ScopesDiffer(ValueError):
    """Two records are not of one session."""


def merge(ours: Record, theirs: Record) -> Record:
    """Return a record with all that two records of one session know.

    Raises:
        ScopesDiffer: they are of two sessions, or of two scopes.
    """
    one, other = ours.session, theirs.session
    if (one.scope, one.id) != (other.scope, other.id):
        raise ScopesDiffer("records of two sessions can not be joined")
    ahead, behind = _ordered(ours, theirs)
    said = ahead if (ahead.said_at, ahead.prompt) >= (behind.said_at, behind.prompt) else behind
    return msgspec.structs.replace(
        ahead,
        session=_session(ahead.session, behind.session),
        keys=packed(_keys(ahead, behind)[-KEYS_KEPT:]),
        marks=packed(list(dict.fromkeys((*unpacked(behind.marks), *unpacked(ahead.marks))))),
        begun_by=max(ahead.begun_by, behind.begun_by),
        prompt=said.prompt,
        reply=said.reply,
        said_at=said.said_at,
        turns=_turns(ahead.turns, behind.turns),
        texts=_texts(ahead.texts, behind.texts),
        ending=said.ending,
        length=said.length,
    )


def _ordered(ours: Record, theirs: Record) -> tuple[Record, Record]:
    """Return the record that is ahead, then the other."""
    return (ours, theirs) if _rank(ours, theirs) >= _rank(theirs, ours) else (theirs, ours)


def _rank(record: Record, other: Record) -> tuple[bool, float, int, bytes]:
    """Return how far a version of a session is ahead of another; the last tells equals apart."""
    session = record.session
    asked = _open(session) - _open(other.session)
    answered = _answered(_news(other.session, session))
    went_on = bool(set(asked) - answered) or bool(_news(session, other.session))
    return went_on, session.used, session.messages, encode(record)


def _entries(session: Session) -> list[bytes]:
    trail = session.trail
    return [trail[place : place + _ENTRY] for place in range(0, len(trail), _ENTRY)]


def _is_aside(entry: bytes) -> bool:
    """Whether an exchange stands beside the conversation, see `Session.know_aside`."""
    return entry[16:] == _NO_ANCHOR and entry[:8] != entry[8:16]


def _news(session: Session, other: Session) -> list[bytes]:
    """Return the exchanges of the conversation itself that only one version knows."""
    known = set(_entries(other))
    return [e for e in _entries(session) if e not in known and not _is_aside(e)]


def _open(session: Session) -> Counter[int]:
    return Counter((*session.pending, *session.failed))


def _answered(news: list[bytes]) -> set[int]:
    return {int.from_bytes(entry[:8], "little") for entry in news}


def _over(session: Session, other: Session, news: list[bytes]) -> Counter[int]:
    """Return which requests are no longer in flight, as only one version knows; each as often."""
    answers = {(entry[:8], entry[8:16]) for entry in news}  # one may be known by several names
    over = Counter(int.from_bytes(request, "little") for request, _ in answers)
    over.update(state for state in session.failed if state not in other.failed)
    return over


def _session(ahead: Session, behind: Session) -> Session:
    first, second = _news(ahead, behind), _news(behind, ahead)
    # What failed on one side may since have been answered on the other.
    failed = [s for s in behind.failed if s in ahead.failed or s not in _answered(first)]
    failed += [s for s in ahead.failed if s in behind.failed or s not in _answered(second)]
    over = _over(ahead, behind, first), _over(behind, ahead, second)
    pending = [*(Counter(ahead.pending) - over[1] | Counter(behind.pending) - over[0]).elements()]
    return msgspec.structs.replace(
        ahead,
        started=min(ahead.started, behind.started),
        used=max(ahead.used, behind.used),
        trail=_trail(ahead, behind),
        pending=tuple(sorted(pending)),
        failed=tuple(dict.fromkeys(failed))[-FAILED_KEPT:],
        parent=ahead.parent or behind.parent,
        root=ahead.root or behind.root,
        external=ahead.external or behind.external,
        explicit_key=ahead.explicit_key or behind.explicit_key,
    )


def _trail(ahead: Session, behind: Session) -> bytes:
    """Return all exchanges: those beside the conversation first, the newest head last."""
    newest = _entries(ahead)[-1:]
    joined = dict.fromkeys([*_entries(behind), *_entries(ahead)])
    if newest and not _is_aside(newest[0]):
        del joined[newest[0]]
        joined[newest[0]] = None
    entries = sorted(joined, key=lambda entry: not _is_aside(entry))
    return b"".join(entries[-EXCHANGES_KEPT:])


def _keys(ahead: Record, behind: Record) -> list[int]:
    return list(dict.fromkeys((*unpacked(behind.keys), *unpacked(ahead.keys))))


def _turns(ahead: tuple[Exchanged, ...], behind: tuple[Exchanged, ...]) -> tuple[Exchanged, ...]:
    known = {(turn.prompt_key, turn.reply_key) for turn in behind}
    news = [turn for turn in ahead if (turn.prompt_key, turn.reply_key) not in known]
    return (*behind, *news)[-TURNS_KEPT:]


def _texts(ahead: tuple[Quotable, ...], behind: tuple[Quotable, ...]) -> tuple[Quotable, ...]:
    """Return the tool arguments of the newest reply, and the newest summary."""
    before = {(text.call, text.at): text for text in behind}
    calls = [_taken(text, before.get((text.call, text.at), text)) for text in ahead if text.call]
    summaries = [text for text in (*behind, *ahead) if not text.call]
    return (*calls, *sorted(summaries, key=lambda text: (text.at, text.folded))[-1:])


def _taken(text: Quotable, before: Quotable) -> Quotable:
    return msgspec.structs.replace(
        text, taken=max(text.taken, before.taken), taker=max(text.taker, before.taker)
    )
