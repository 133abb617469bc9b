"""The newest turn of each session that was in use just now.

Clients ask for a title, tags or follow-up questions right after a turn, or check a prompt for a
new topic while it is being answered.  So of each session only the newest prompt and reply
matter, and only for a short while: a few hundred turns per scope, compared one by one.  To
remember a turn costs next to nothing; texts are brought into canonical form when somebody asks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.session import Session

TURNS_KEPT = 4096
"""Sessions whose newest turn is remembered."""
TURNS_COMPARED = 256
"""Turns of a scope, the newest first, that one request is compared with."""
LONGEST = 4096
"""Characters kept of a prompt or reply, from its start."""
OPENING = 24
"""Canonical bytes of a line by which quotations are found."""
FRESH_SECONDS = 120.0
"""How long after a turn clients ask about it."""


class Said(msgspec.Struct, gc=False):
    """A prompt or a reply."""

    text: str
    key: bytes = b""
    """How its first line begins, in canonical form; empty until somebody asks."""

    def opening(self) -> bytes:
        """Return how it begins: what a line that quotes it begins with too."""
        if not self.key:
            self.key = line_key(self.text.lstrip().partition("\n")[0])
        return self.key


class Turn(msgspec.Struct, gc=False):
    """What was said last in a session."""

    session: Session
    prompt: Said | None = None
    reply: Said | None = None
    at: float = 0.0
    """When the newer of the two was said; unix seconds."""


def line_key(line: str) -> bytes:
    """Return the beginning of a line in canonical form."""
    return fold_text(line[: 4 * OPENING])[:OPENING]


class RecentTurns:
    """The newest turns of all scopes, those used last at the end."""

    def __init__(self, kept: int = TURNS_KEPT) -> None:
        """Remember the turns of ``kept`` sessions."""
        self._kept = kept
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._scopes: dict[int, OrderedDict[str, Turn]] = {}

    def asked(self, session: Session, text: str, now: float) -> None:
        """Note a prompt."""
        turn = self._used(session, now)
        turn.prompt, turn.reply = Said(text[:LONGEST]), None

    def answered(self, session: Session, text: str, now: float) -> None:
        """Note a reply."""
        turn = self._used(session, now)
        turn.reply = Said(text[:LONGEST])

    def of(self, scope: int, now: float) -> Iterator[Turn]:
        """Yield the fresh turns of a scope, newest first."""
        turns = self._scopes.get(scope)
        if turns is None:
            return
        for number, turn in enumerate(reversed(turns.values())):
            if number >= TURNS_COMPARED or now - turn.at > FRESH_SECONDS:
                return
            yield turn

    def _used(self, session: Session, now: float) -> Turn:
        turn = self._turns.get(session.id)
        if turn is None:
            turn = self._turns[session.id] = Turn(session)
            scope = self._scopes.setdefault(session.scope, OrderedDict())
            scope[session.id] = turn
            if len(self._turns) > self._kept:
                self._forget_oldest()
        else:
            self._turns.move_to_end(session.id)
            self._scopes[session.scope].move_to_end(session.id)
        turn.session, turn.at = session, now
        return turn

    def _forget_oldest(self) -> None:
        name, turn = self._turns.popitem(last=False)
        scope = self._scopes[turn.session.scope]
        del scope[name]
        if not scope:
            del self._scopes[turn.session.scope]
