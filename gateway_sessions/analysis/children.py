"""Sub-agents and the calls they work for, across the sessions of a scope."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis.spawns import confirms, matches
from gateway_sessions.analysis.threads import Thread, Try

LINKS_KEPT = 10_000
"""Sub-agents that are remembered; the result of a call comes minutes after it at most."""
WORDS_KEPT = 16_384
"""Characters of a sub-agent's last answer."""
CONFIRMED = 0.99
"""Confidence of a link whose call's result held the sub-agent's last answer."""


@dataclass(slots=True)
class Link:
    """A sub-agent's session and the call that it is taken to work for."""

    child: Try
    child_session_id: str
    parent_session_id: str
    parent_loop_id: str
    call_id: str
    name: str
    confidence: float
    candidates: tuple[str, ...]
    confirmed: bool = False
    last_words: str = ""

    def event(self, at: float) -> a.ChildLinked:
        """Return what the recorder is to know of the link."""
        return a.ChildLinked(
            session_id=self.parent_session_id,
            loop_id=self.parent_loop_id,
            at=at,
            tool_call_id=self.call_id,
            tool_name=self.name,
            child_session_id=self.child_session_id,
            child_loop_id=self.child.loop_id,
            confidence=self.confidence,
            confirmed=self.confirmed,
            candidates=self.candidates,
        )


@dataclass(slots=True)
class Fan:
    """The sub-agents of one answer."""

    loop_ids: list[str] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    """Calls without a result."""


class Children:
    """All links; bounded by `LINKS_KEPT`."""

    def __init__(self) -> None:
        self._links: OrderedDict[str, Link] = OrderedDict()
        self._by_parent: dict[str, list[Link]] = {}
        self._fans: OrderedDict[tuple[str, Try], Fan] = OrderedDict()

    def spawned(
        self, parent: Thread | None, child: Try, session_id: str, task: str, at: float
    ) -> Iterator[a.AgentEvent]:
        """Link a sub-agent that begins now with the call that asks for it, if one fits.

        Several calls that fit equally well are all candidates: the first one that no other
        sub-agent has is taken, with as much less confidence, until a result tells.
        """
        if parent is None or not parent.pending:
            return
        fitting = matches(task, list(parent.pending.items()))
        if not fitting:
            return
        siblings = self._by_parent.setdefault(parent.session_id, [])
        taken = {link.call_id for link in siblings}
        match = next((match for match in fitting if match.call_id not in taken), fitting[0])
        link = Link(
            child=child,
            child_session_id=session_id,
            parent_session_id=parent.session_id,
            parent_loop_id=parent.loop_id,
            call_id=match.call_id,
            name=match.name,
            confidence=round(match.confidence / len(fitting), 3),
            candidates=tuple(m.call_id for m in fitting) if len(fitting) > 1 else (),
        )
        self._links[session_id] = link
        siblings.append(link)
        if len(self._links) > LINKS_KEPT:
            self._forget_oldest()
        yield link.event(at)
        yield from self._fanned(parent, link, at)

    def link(self, session_id: str) -> Link | None:
        """Return the link of a sub-agent's session."""
        return self._links.get(session_id)

    def said(self, session_id: str, text: str) -> None:
        """Remember what a sub-agent said last."""
        link = self._links.get(session_id)
        if link is not None:
            link.last_words = text[:WORDS_KEPT]

    def resulted(
        self, parent: Thread, call_id: str, name: str, text: str, at: float
    ) -> Iterator[a.AgentEvent]:
        """Confirm, by a call's result, whose work it was."""
        if not self._fans and parent.session_id not in self._by_parent:
            return  # as of most calls: nobody works for them
        fitting = [
            link
            for link in self._by_parent.get(parent.session_id, ())
            if not link.confirmed and (link.call_id == call_id or call_id in link.candidates)
        ]
        fitting.sort(key=lambda link: link.call_id != call_id)
        author = next((link for link in fitting if confirms(text, link.last_words)), None)
        if author is not None:
            for other in fitting:
                if other is not author and other.call_id == call_id:
                    other.call_id = author.call_id  # they had been taken for one another
                    yield other.event(at)
            author.call_id, author.name = call_id, name
            author.confidence, author.confirmed, author.candidates = CONFIRMED, True, ()
            yield author.event(at)
        yield from self._gathered(parent, call_id, at)

    def _forget_oldest(self) -> None:
        _, link = self._links.popitem(last=False)
        siblings = self._by_parent[link.parent_session_id]
        siblings.remove(link)
        if not siblings:
            del self._by_parent[link.parent_session_id]

    def _fanned(self, parent: Thread, link: Link, at: float) -> Iterator[a.AgentEvent]:
        """Tell of the sub-agents of one answer as soon as they are two."""
        turn = Try(parent.loop_id, parent.turn_index)
        fan = self._fans.setdefault((parent.session_id, turn), Fan())
        if len(self._fans) > LINKS_KEPT:
            self._fans.popitem(last=False)
        fan.loop_ids.append(link.child.loop_id)
        fan.waiting.add(link.call_id)
        if len(fan.loop_ids) > 1:
            yield a.ParallelLoopStart(
                session_id=parent.session_id,
                loop_id=parent.loop_id,
                at=at,
                kind="fanout",
                loop_ids=tuple(fan.loop_ids),
            )

    def _gathered(self, parent: Thread, call_id: str, at: float) -> Iterator[a.AgentEvent]:
        """Close the group when all of its calls have results."""
        key = parent.session_id, Try(parent.loop_id, parent.turn_index)
        fan = self._fans.get(key)
        if fan is None:
            return
        fan.waiting.discard(call_id)
        if not fan.waiting:
            del self._fans[key]
            if len(fan.loop_ids) > 1:
                yield a.ParallelLoopEnd(
                    session_id=parent.session_id,
                    loop_id=parent.loop_id,
                    at=at,
                    loop_ids=tuple(fan.loop_ids),
                )
