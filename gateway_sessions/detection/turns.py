"""The newest turn of each session that was in use just now.

Clients ask for a title, tags or follow-up questions right after a turn, or check a prompt for a
new topic while it is being answered.  So of each session only the newest prompt and reply
matter, and only for a short while.  They are found by how their first line begins, so a request
is compared with the few turns that it may quote, however many others there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from xxhash import xxh3_64_intdigest

from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.quota import Quota
from gateway_sessions.detection.session import Session

TURNS_KEPT = 4096
"""Sessions whose newest turn is remembered."""
TURNS_COMPARED = 256
"""Turns that one request is compared with, the newest; up to twice as many are found by the same
opening."""
LONGEST = 4096
"""Characters kept of a prompt or reply, from its start."""
LONGEST_ENDING = 1024
"""Characters kept of the end of a prompt that is longer."""
OPENING = 24
"""Canonical bytes of a line by which quotations are found."""
FRESH_SECONDS = 120.0
"""How long after a turn clients ask about it."""


class Turn(msgspec.Struct, gc=False, eq=False):
    """What was said last in a session."""

    session: Session
    number: int = 0
    """Turns that were used later have higher ones."""
    at: float = 0.0
    """When the newer of the two was said; unix seconds."""
    prompt: str = ""
    ending: str = ""
    """The end of a prompt that is not kept as a whole."""
    length: int = 0
    """Characters of such a prompt."""
    reply: str = ""
    prompt_mark: int = 0
    """What the prompt is found by; 0 if there is none."""
    reply_mark: int = 0

    def said(self) -> tuple[tuple[str, int], ...]:
        """Return the prompt and the reply, each with its mark."""
        return (self.prompt, self.prompt_mark), (self.reply, self.reply_mark)


def line_mark(line: str, scope: int) -> int:
    """Return what a line is found by in a scope: the hash of how it begins; 0 if it is empty."""
    key = fold_text(line[: 4 * OPENING])[:OPENING]
    return xxh3_64_intdigest(key, scope) if key else 0


class RecentTurns:
    """The newest turns of all scopes, those used last at the end."""

    def __init__(self, kept: int = TURNS_KEPT) -> None:
        """Remember the turns of ``kept`` sessions."""
        self._kept = kept
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._scopes: dict[int, OrderedDict[str, Turn]] = {}
        self._quota = Quota(kept)
        self._marked: dict[int, dict[Turn, None]] = {}
        """In the order of arrival.  No lists: many turns may open alike, and leave one by one."""
        self._number = 0

    def asked(self, session: Session, text: str, now: float) -> None:
        """Note a prompt."""
        turn = self._used(session, now)
        if turn.prompt_mark or turn.reply_mark:
            self._unmark(turn, turn.prompt_mark)
            self._unmark(turn, turn.reply_mark)
        turn.prompt, turn.reply = text[:LONGEST], ""
        if len(text) > LONGEST:
            turn.length = len(text.rstrip())
            turn.ending = text[: turn.length][-LONGEST_ENDING:]
        elif turn.ending:
            turn.ending, turn.length = "", 0
        turn.prompt_mark, turn.reply_mark = self._mark(turn, turn.prompt), 0

    def answered(self, session: Session, text: str, now: float) -> None:
        """Note a reply."""
        turn = self._used(session, now)
        if turn.reply_mark != turn.prompt_mark:
            self._unmark(turn, turn.reply_mark)
        turn.reply = text[:LONGEST]
        turn.reply_mark = self._mark(turn, turn.reply)

    def of(self, session: Session) -> Turn | None:
        """Return the newest turn of a session; None if it is forgotten."""
        return self._turns.get(session.id)

    def put(
        self,
        session: Session,
        prompt: str,
        reply: str,
        at: float,
        *,
        ending: str = "",
        length: int = 0,
    ) -> None:
        """Let this be the newest turn of a session."""
        scope = self._scopes.get(session.scope)
        newest = next(reversed(scope.values())) if scope else None
        self.asked(session, prompt, at)
        turn = self._turns[session.id]
        turn.ending, turn.length = ending, length
        if reply:
            self.answered(session, reply, at)
        if scope and newest is not None and newest.session.id in scope and newest.at > at:
            scope.move_to_end(newest.session.id)  # `fresh` goes by the one at the end.

    def forget(self, session: Session) -> None:
        """Forget the turn of a session."""
        if session.id in self._turns:
            self._remove(session.id)

    def owners(self, marks: Iterable[int]) -> set[str]:
        """Return the sessions whose newest turn opens in one of some ways."""
        return {turn.session.id for mark in marks for turn in self._marked.get(mark, ())}

    def fresh(self, scope: int, now: float) -> bool:
        """Whether a scope has turns that somebody may ask about."""
        turns = self._scopes.get(scope)
        return turns is not None and now - next(reversed(turns.values())).at <= FRESH_SECONDS

    def marked(self, scope: int, marks: Iterable[int], now: float) -> list[Turn]:
        """Return the fresh turns of a scope that open in one of some ways, newest first.

        Args:
            scope: the scope's seed.
            marks: the beginnings of lines, as `line_mark` gives them.
            now: unix seconds.
        """
        opened = [turns for mark in marks if (turns := self._marked.get(mark)) is not None]
        if not opened:
            return []  # The usual case.
        found = {
            turn.number: turn
            for turns in opened
            for turn in turns
            if now - turn.at <= FRESH_SECONDS and turn.session.scope == scope
        }
        return [found[number] for number in sorted(found, reverse=True)[:TURNS_COMPARED]]

    def _used(self, session: Session, now: float) -> Turn:
        turn = self._turns.get(session.id)
        if turn is None:
            if len(self._turns) >= self._kept:
                self._make_room(session.scope)
            turn = self._turns[session.id] = Turn(session)
            self._scopes.setdefault(session.scope, OrderedDict())[session.id] = turn
            self._quota.add(session.scope)
        else:
            self._turns.move_to_end(session.id)
            self._scopes[session.scope].move_to_end(session.id)
        self._number += 1
        turn.session, turn.at, turn.number = session, now, self._number
        return turn

    def _mark(self, turn: Turn, text: str) -> int:
        """Let a turn be found by how a text of it begins; return its mark."""
        start = text.lstrip() if text[:1].isspace() else text
        mark = line_mark(start[: 4 * OPENING].partition("\n")[0], turn.session.scope)
        if mark:
            turns = self._marked.get(mark)
            if turns is None:
                self._marked[mark] = {turn: None}
            else:
                turns[turn] = None
                if len(turns) > 2 * TURNS_COMPARED:
                    # One at a time, each would be looked for among those gone before it.
                    self._marked[mark] = dict.fromkeys(list(turns)[-TURNS_COMPARED:])
        return mark

    def _unmark(self, turn: Turn, mark: int) -> None:
        turns = self._marked.get(mark)
        if turns is None:
            return  # There is no text, or too many others opened like that.
        turns.pop(turn, None)
        if not turns:
            del self._marked[mark]

    def _make_room(self, asker: int) -> None:
        payer = self._quota.payer(asker)
        turns = self._turns if payer is None else self._scopes[payer]
        self._remove(next(iter(turns)))

    def _remove(self, name: str) -> None:
        turn = self._turns.pop(name)
        self._unmark(turn, turn.prompt_mark)
        self._unmark(turn, turn.reply_mark)
        scope = self._scopes[turn.session.scope]
        del scope[name]
        if not scope:
            del self._scopes[turn.session.scope]
        self._quota.remove(turn.session.scope)
