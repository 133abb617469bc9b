"""What was said lately in each session, for histories that come back altered.

A chain and its anchors need whole messages that are equal.  A client that masks names, corrects
slips of the pen or stamps old messages anew leaves few of those, and short ones.  So the newest
turns of the sessions in use are kept as text, and found by the replies in them.

Bounds: turns per session, bytes per message, bytes in all, and a share of these for each scope.
A long message is kept by its digest alone.  To remember a turn costs a few look-ups; texts are
the very strings that the request was read into, and are taken apart when somebody asks.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec
from xxhash import xxh3_64_intdigest

from gateway_sessions.conversation import Message, Text, Thinking
from gateway_sessions.detection.chains import Run
from gateway_sessions.detection.plan import Plan, last_key
from gateway_sessions.detection.session import Session

TURNS_KEPT = 8
"""Newest turns kept of a session."""
LONGEST = 2048
"""Canonical bytes up to which a message is kept as text."""
LONGEST_RAW = 2 * LONGEST
"""Characters up to which it is, white space included."""
KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of all turns together, with what it costs to keep them."""
SCOPE_SHARE = 4
"""One scope may fill one part in so many of all the space."""
SAME_REPLY = 4
"""Sessions known to have given the same reply; what so many say is nobody's own."""

MARKING_LETTERS = 8
"""Bytes of letters from which these stand for a message; a shorter one stands for itself."""

_SESSION_COST = 700
"""Bytes that a session takes beside its turns."""
_TURN_COST = 400
"""Bytes that a turn takes beside its texts."""

_NO_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())
_MORE_PUNCTUATION = re.compile(rb"\xe2\x80[\x80-\xbf]|\xc2[\xa0-\xbf]|\xe3\x80[\x80-\x83]")
"""General punctuation of Unicode, and that of Latin and Chinese, as UTF-8."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """A prompt or a reply, as it is compared."""

    key: int
    """Digest of the whole of it."""
    text: str | None = None
    """None if it is long, or more than text: then only the digest counts."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A prompt and its reply."""

    prompt: Told
    reply: Told
    mark: int
    """The reply's `mark_of`."""

    def size(self) -> int:
        """Return roughly the bytes it takes."""
        return _TURN_COST + len(self.prompt.text or "") + len(self.reply.text or "")


class History(msgspec.Struct, gc=False):
    """The newest turns of a session, oldest first."""

    session: Session
    turns: list[Turn] = []


class Histories:
    """The newest turns of recent sessions of all scopes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Keep turns of ``kept_bytes`` in all."""
        self._most = kept_bytes
        self._share = kept_bytes // SCOPE_SHARE
        self._size = 0
        self._all: OrderedDict[str, History] = OrderedDict()
        self._scopes: dict[int, _Scope] = {}
        self._by_reply: dict[int, tuple[str, ...]] = {}

    def note(self, session: Session, turn: Turn, before: int) -> None:
        """Remember a turn; ``before`` is the key of the reply before it, 0 if there is none.

        Turns that the client went back behind are forgotten.
        """
        scope, history = self._used(session)
        turns = history.turns
        if turns and turns[-1].reply.key != before:
            self._go_back(scope, history, before)
        self._append(scope, history, turn)
        self._shrink(scope)

    def put(self, session: Session, turns: Sequence[Turn]) -> None:
        """Let these be the newest turns of a session, oldest first."""
        known = self._all.get(session.id)
        place = _goes_on(known.turns, turns) if known is not None else -1
        if known is None or place < 0:
            self.forget(session)
        else:  # It went on elsewhere: what is known need not be learned again.
            scope = self._scopes[session.scope]
            for _ in range(place):
                self._forget_turn(scope, known, 0)
            turns = turns[len(known.turns) :]
        if not turns:
            return
        scope, history = self._used(session)
        for turn in turns:
            self._append(scope, history, turn)
        self._shrink(scope)

    def forget(self, session: Session) -> None:
        """Forget the turns of a session."""
        if session.id in self._all:
            self._drop(session.id)

    def owners(self, marks: Iterable[int]) -> set[str]:
        """Return the sessions that gave a reply with any of some marks."""
        return {name for mark in marks for name in self._by_reply.get(mark, ())}

    def _used(self, session: Session) -> tuple[_Scope, History]:
        """Return what is known of a session, from now on the one that was used last."""
        scope = self._scopes.get(session.scope)
        if scope is None:
            scope = self._scopes[session.scope] = _Scope()
        history = self._all.get(session.id)
        if history is None:
            history = self._all[session.id] = History(session)
            scope.histories[session.id] = history
            self._grow(scope, _SESSION_COST)
        else:
            self._all.move_to_end(session.id)
            scope.histories.move_to_end(session.id)
            history.session = session
        return scope, history

    def _append(self, scope: _Scope, history: History, turn: Turn) -> None:
        if len(history.turns) == TURNS_KEPT:
            self._forget_turn(scope, history, 0)
        history.turns.append(turn)
        self._grow(scope, turn.size())
        self._index(turn.mark, history.session.id)

    def _shrink(self, scope: _Scope) -> None:
        while scope.size > self._share:
            self._drop(next(iter(scope.histories)))
        while self._size > self._most:
            self._drop(next(iter(self._all)))

    def of(self, session: Session) -> Sequence[Turn]:
        """Return the newest turns of a session, oldest first; none if they are forgotten."""
        history = self._all.get(session.id)
        return history.turns if history is not None else ()

    def giving(self, mark: int) -> Sequence[History]:
        """Return what is known of the sessions that gave a reply with this mark."""
        return [self._all[name] for name in self._by_reply.get(mark, ())]

    def _go_back(self, scope: _Scope, history: History, before: int) -> None:
        """Forget the turns after the reply before; all where nothing comes before."""
        places = [i for i, turn in enumerate(history.turns) if turn.reply.key == before]
        if places or not before:
            kept = places[-1] + 1 if places else 0
            while len(history.turns) > kept:
                self._forget_turn(scope, history, -1)

    def _forget_turn(self, scope: _Scope, history: History, place: int) -> None:
        turn = history.turns.pop(place)
        self._grow(scope, -turn.size())
        if turn.mark not in [other.mark for other in history.turns]:
            self._unindex(turn.mark, history.session.id)

    def _drop(self, name: str) -> None:
        history = self._all.pop(name)
        scope = self._scopes[history.session.scope]
        size = _SESSION_COST
        for turn in history.turns:
            size += turn.size()
            self._unindex(turn.mark, name)
        del scope.histories[name]
        self._grow(scope, -size)
        if not scope.histories:
            del self._scopes[history.session.scope]

    def _grow(self, scope: _Scope, size: int) -> None:
        scope.size += size
        self._size += size

    def _index(self, mark: int, name: str) -> None:
        """Let a session be found by a reply; of many that gave it, the newest are."""
        names = self._by_reply.get(mark)
        if names is None:
            self._by_reply[mark] = (name,)
        elif name not in names:
            self._by_reply[mark] = (*names, name)[-SAME_REPLY:]

    def _unindex(self, mark: int, name: str) -> None:
        """Let a session be found by a reply no longer."""
        names = self._by_reply.get(mark, ())
        if name not in names:
            return  # Too many others have given it since.
        left = tuple([other for other in names if other != name])
        if left:
            self._by_reply[mark] = left
        else:
            del self._by_reply[mark]


class _Scope:
    """What one scope takes: its histories, those used longest ago first, and their bytes."""

    __slots__ = ("histories", "size")

    def __init__(self) -> None:
        self.histories: OrderedDict[str, History] = OrderedDict()
        self.size = 0


def _goes_on(known: Sequence[Turn], turns: Sequence[Turn]) -> int:
    """Return how many turns that are known have given way, where turns go on after the others.

    -1 where they do not.
    """
    if not turns:
        return -1
    places = range(len(known))
    return next((i for i in places if known[i:] == turns[: len(known) - i]), -1)


def turn_of(plan: Plan, run: Run, reply: Message, key: int) -> Turn:
    """Return the turn that ends with the reply to a request.

    Args:
        plan: the request.
        run: the reply in the chain, with the prompt before it.
        reply: the reply as it came.
        key: the reply's `last_key`.
    """
    asked = run.before
    assert asked is not None
    prompt = told(last_key(plan.scope, asked), asked.weight, plan.walk.prompt())
    # A request that ends with the beginning of the answer has that, and the reply the rest.
    whole = plan.walk.tail is asked
    answer = told(key, run.weight, (reply,)) if whole else Told(key)
    return Turn(prompt, answer, mark_of(answer, plan.scope.seed))


def told(key: int, weight: int, messages: Sequence[Message]) -> Told:
    """Return what messages of one side say together, ready to be compared.

    Args:
        key: digest of all of it.
        weight: its canonical bytes.
        messages: in the order in which they were sent.
    """
    if weight > LONGEST:
        return Told(key)
    texts = []
    for message in messages:
        for part in message.parts:
            if type(part) is Text:
                texts.append(part.text)
            elif type(part) is not Thinking:
                return Told(key)
    text = texts[0] if len(texts) == 1 else "\n".join(texts)
    return Told(key, text if len(text) <= LONGEST_RAW else None)


def mark_of(reply: Told, seed: int) -> int:
    """Return what a reply is found by when numbers, punctuation or case of letters have changed.

    It is the digest of its letters alone, under the scope's seed; where these are few, or none
    are known, the digest of the whole.
    """
    if reply.text is None:
        return reply.key
    sent = reply.text.lower().encode("utf-8", "surrogatepass")
    letters = sent.translate(None, _NO_LETTERS)
    if not letters.isascii():
        letters = _MORE_PUNCTUATION.sub(b"", letters)
    return xxh3_64_intdigest(letters, seed) if len(letters) >= MARKING_LETTERS else reply.key
