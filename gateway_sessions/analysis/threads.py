"""Where each session stands: its current loop and turn, and what it waits for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis.facts import Call

STARTS_KEPT = 256
"""Loops of a session that a branch can be traced back to."""
TRIES_KEPT = 1024
"""Requests of a session under way; the end of more than that many must have been lost."""


_INITIAL, _DEFAULT = t.Initial(), t.Default()


class Try(msgspec.Struct, frozen=True, gc=False):
    """An attempt's place in the tree."""

    loop_id: str
    turn_index: int


class Start(msgspec.Struct, frozen=True, gc=False):
    """A loop's beginning."""

    loop_id: str
    parent_loop_id: str | None
    history: int
    """Messages that were there before it."""


@dataclass(slots=True)
class Rival:
    """A loop that answered the same request as others."""

    tried: Try
    """Its newest turn; an alternative within one answer has none, and an index of -1."""
    text: str = ""
    calls: dict[str, Call] = field(default_factory=dict)


@dataclass(slots=True)
class Thread:
    """One session."""

    session_id: str
    agent_id: str = ""
    first_number: int = 0
    """Of its loops: above 0 where some were before that are not remembered."""
    loops: int = 0
    loop_id: str = ""
    turn_index: int = 0
    is_open: bool = False
    """Whether the current loop goes on."""
    tries: dict[str, Try] = field(default_factory=dict)
    """Requests under way, by id."""
    failed: Try | None = None
    """The newest attempt, if it failed and nothing came after it."""
    failed_at: float | None = None
    pending: dict[str, Call] = field(default_factory=dict)
    """Calls of the newest answer that have no result yet."""
    rivals: dict[str, Rival] = field(default_factory=dict)
    """Loops that answer the same request, by id, while it is not known which one counts."""
    _starts: dict[str, Start] = field(default_factory=dict)
    """The newest loops, by id, oldest first."""

    def is_current(self, tried: Try) -> bool:
        """Tell whether an attempt is one at the newest turn."""
        return tried.loop_id == self.loop_id and tried.turn_index == self.turn_index

    def current(self) -> Try | None:
        """Return the newest turn."""
        return Try(self.loop_id, self.turn_index) if self.loop_id else None

    def begin(self, request_id: str, tried: Try) -> None:
        """Note an attempt under way."""
        self.tries[request_id] = tried
        self.failed = self.failed_at = None
        if len(self.tries) > TRIES_KEPT:
            del self.tries[next(iter(self.tries))]

    def next_turn(self) -> Try:
        """Go on with the current loop."""
        self.turn_index += 1
        return Try(self.loop_id, self.turn_index)

    def open(self, history: int, parent: str | None) -> Try:
        """Begin a loop after so many messages, and make it the current one."""
        self.loop_id = self._begun(history, parent)
        self.turn_index, self.is_open = 0, True
        return Try(self.loop_id, 0)

    def beside(self, rival: Try, turn_index: int = 0) -> Try:
        """Begin a loop that answers the same request as another; the current one stays."""
        start = self._starts.get(rival.loop_id)
        history, parent = (start.history, start.parent_loop_id) if start else (0, None)
        if rival.loop_id not in self.rivals:
            self.rivals = {rival.loop_id: Rival(rival)}
        tried = Try(self._begun(history, parent), turn_index)
        self.rivals[tried.loop_id] = Rival(tried)
        return tried

    def continuation(
        self, relation: str, history: int
    ) -> tuple[t.ContinuationKind, str | None, t.TurnTrigger]:
        """Return how a loop that opens now goes on: its kind, from which loop, and why."""
        if not self.loops:
            return _INITIAL, None, "user"
        if relation in ("regenerate", "retry"):
            return t.Rerun(tag=str(self.loops)), self.loop_id, "branch"
        if relation == "fork":
            return t.Branch(tag=str(self.loops)), self._reaching(history), "branch"
        if relation == "compaction":
            return t.Compaction(), self.loop_id, "continuation"
        return _DEFAULT, self.loop_id, "user"

    def parent_of(self, loop_id: str) -> str | None:
        """Return the loop that a loop goes on from."""
        start = self._starts.get(loop_id)
        return start.parent_loop_id if start else None

    def said(self, loop_id: str, text: str, calls: dict[str, Call]) -> None:
        """Remember a rival's answer."""
        rival = self.rivals.get(loop_id)
        if rival is not None:
            rival.text, rival.calls = text, calls

    def chosen(self, text: str, answers: Collection[str]) -> str | None:
        """Return the rival that a request goes on from, and go on with it; None if unknown.

        Args:
            text: of the answer that stands in the request's history.
            answers: ids of the calls whose results the request brings.
        """
        rivals, self.rivals = self.rivals, {}
        found = next(
            (name for name, rival in rivals.items() if not rival.calls.keys().isdisjoint(answers)),
            None,
        ) or next((name for name, rival in rivals.items() if text and rival.text == text), None)
        if found is not None:
            rival = rivals[found]
            self.loop_id, self.turn_index = rival.tried.loop_id, rival.tried.turn_index
            self.pending, self.is_open = dict(rival.calls), bool(rival.calls)
            self.failed = self.failed_at = None
        return found

    def _begun(self, history: int, parent: str | None) -> str:
        """Return the id of a loop that begins now."""
        loop_id = f"{self.session_id}.{self.agent_id}.{self.first_number + self.loops}"
        self.loops += 1
        self._starts[loop_id] = Start(loop_id, parent, history)
        if len(self._starts) > STARTS_KEPT:
            del self._starts[next(iter(self._starts))]
        return loop_id

    def _reaching(self, history: int) -> str | None:
        """Return the loop in which a history of that many messages ends."""
        start = self._starts.get(self.loop_id)
        while start is not None and start.history >= history and start.parent_loop_id:
            start = self._starts.get(start.parent_loop_id)
        return start.loop_id if start else self.loop_id


def ending(
    thread: Thread, loop_id: str, at: float, outcome: a.Outcome, reason: str | None = None
) -> a.AgentEnd:
    """Return the end of one of a session's loops."""
    return a.AgentEnd(
        session_id=thread.session_id, loop_id=loop_id, at=at, outcome=outcome, reason=reason
    )
