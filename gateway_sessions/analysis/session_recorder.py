"""The agent tree, grown from events: explicit ones, or those that inference makes of traffic.

Events may come in any order: what an event is about is made if it is not there yet, and links
are completed when their other end appears.  Everything belongs to a session and goes with it,
so that a group that is never closed, a turn without a loop or a child that comes too late leaks
nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gateway_sessions.analysis.agent_events import (
    AgentEvent,
    AgentStart,
    ChildLinked,
    InputRejected,
    MessageUpdate,
    ParallelLoopEnd,
    ParallelLoopStart,
    SessionEnd,
    SideCallSeen,
    ToolExecutionUpdate,
    WholeLoop,
)
from gateway_sessions.analysis.agent_tree import (
    ChildLoopRef,
    LoopEvent,
    LoopRecord,
    ParallelGroupRecord,
    Session,
    SideCall,
    SpawnRef,
    Usage,
)
from gateway_sessions.analysis.drafts import EVENTS_KEPT, GroupDraft, LoopDraft, SessionDraft

EXPECTED_KEPT = 10_000
"""Loops that a group or a link named and that have not begun; most begin within a second."""
SIDE_CALLS_KEPT = 1_000
LOOPS_KEPT = 2_000
"""Of one session; of earlier ones the sums are kept."""
CONTENT = frozenset({"message", "input_messages", "output_message", "content", "text"})
"""Fields of events that the loop holds elsewhere, or that are not its to keep."""

_LINKS = frozenset({ChildLinked, ParallelLoopStart, ParallelLoopEnd})
"""Events that say how loops hang together, also those of several sessions."""

V_ = TypeVar("V_")


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """How much a recorder keeps, and whom it asks."""

    include_streaming_events: bool = False
    """Keep the pieces of answers and of tools' output as events."""
    keep_events: bool = True
    """Keep what happened in a loop as a list."""
    before_task: Callable[[Session], bool] | None = None
    """Asked when a session's first loop begins; False rejects that loop."""
    after_task: Callable[[Session], None] | None = None
    """Told of each session once, when it is completed."""
    max_sessions: int = 100_000
    """Live sessions; beyond it the one idle for longest is completed."""


class SessionRecorder:
    """Keeps sessions that are live, and those that are completed until somebody takes them."""

    def __init__(self, config: RecorderConfig | None = None) -> None:
        self._config = config or RecorderConfig()
        self._live: OrderedDict[str, SessionDraft] = OrderedDict()
        self._completed: OrderedDict[str, SessionDraft] = OrderedDict()
        self._expected: OrderedDict[str, GroupDraft] = OrderedDict()
        self._spawns: OrderedDict[str, SpawnRef] = OrderedDict()
        self._loops: dict[str, LoopDraft] = {}
        self._changed: dict[str, dict[str, LoopDraft]] = {}
        """By session: what its own exchanges have changed."""
        self._enriched: dict[str, LoopDraft] = {}
        """What others have: a sub-agent's beginning, the end of a group, too many sessions."""

    def on_event(self, event: AgentEvent) -> bool:
        """Take an event; return False if ``before_task`` rejected the loop that it begins."""
        session = self._session(event)
        if type(event) is SideCallSeen:
            _side_call(session, event)
            return True
        if type(event) is SessionEnd:
            self._complete(session, event.at)
            return True
        loop = session.loops.get(event.loop_id) or self._begun(session, event)
        if self._config.keep_events:
            self._note(loop, event)
        loop.take(event)
        if type(event) in _LINKS:
            self._enriched[loop.loop_id] = loop
            self._link(loop, event)
            return True
        changed = self._changed.get(session.session_id)
        if changed is None:
            changed = self._changed[session.session_id] = {}
        changed[loop.loop_id] = loop
        if type(event) is AgentStart:
            return self._started(session, loop, event)
        loop.apply(event)
        return True

    def on_whole_loop(self, whole: WholeLoop) -> LoopRecord:
        """Take the events of a new loop of one turn at once; return what they have changed.

        Most loops are one question and its answer: taking these four one by one costs twice as
        much.  The loop is as `on_event` and `take_changed` would have it, but without events and
        messages, and ``before_task`` is not asked.
        """
        start = whole.start
        session = self._session(start)
        loop = self._begun(session, start)
        self._started(session, loop, start)
        session.last_active_at = max(session.last_active_at, whole.end.at)
        return loop.hand_on_whole(whole)

    def flush(self) -> None:
        """Complete everything; loops under way are aborted, with all that is known of them."""
        for session in list(self._live.values()):
            self._complete(session, session.last_active_at)

    def checkpoint(self) -> int:
        """Complete the sessions without an open loop; return how many."""
        idle = [session for session in self._live.values() if not session.is_open]
        for session in idle:
            self._complete(session, session.last_active_at)
        return len(idle)

    def drain_completed(self) -> list[Session]:
        """Return the completed sessions, and forget them."""
        drained = [session.record() for session in self._completed.values()]
        for session in self._completed.values():
            for loop_id in session.loops:
                self._loops.pop(loop_id, None)
        self._completed.clear()
        return drained

    def sessions(self) -> list[Session]:
        """Return all sessions, completed ones that nobody drained included."""
        return [s.record() for s in (*self._completed.values(), *self._live.values())]

    def get_session(self, session_id: str) -> Session | None:
        """Return a session by its id."""
        session = self._live.get(session_id) or self._completed.get(session_id)
        return session.record() if session is not None else None

    def current_loop(self, loop_id: str) -> LoopRecord | None:
        """Return a loop of a live session as it is now."""
        loop = self._loops.get(loop_id)
        if loop is None or loop.session_id not in self._live:
            return None
        return loop.record()

    def take_changed(self, session_id: str | None = None) -> list[LoopRecord]:
        """Return the loops that have changed since this was last asked.

        Each comes with the turns that have changed; turns, messages and events that are over
        are then let go of, since whoever takes them writes them down.

        With a session, those of other sessions stay until these are asked for, unless it was
        not their own requests that changed them: a request of another session that has just
        come is told with its answer, once.
        """
        if session_id is None:
            changed = {name: loop for own in self._changed.values() for name, loop in own.items()}
            self._changed.clear()
        else:
            changed = self._changed.pop(session_id, {})
        if self._enriched:
            changed |= self._enriched
            self._enriched.clear()
        return [loop.hand_on() for loop in changed.values()] if changed else []

    def _session(self, event: AgentEvent) -> SessionDraft:
        live = self._live
        session = live.get(event.session_id)
        if session is None:
            session = self._completed.pop(event.session_id, None) or SessionDraft(
                event.session_id, event.at
            )
            live[event.session_id] = session
            if len(live) > self._config.max_sessions:
                oldest = next(iter(live.values()))
                self._complete(oldest, oldest.last_active_at)
        else:
            live.move_to_end(event.session_id)
        session.last_active_at = max(session.last_active_at, event.at)
        return session

    def _begun(self, session: SessionDraft, event: AgentEvent) -> LoopDraft:
        """Begin a loop of which nothing else is known yet."""
        loop = session.loop(event.loop_id, event.at)
        self._loops[event.loop_id] = loop
        if self._expected:
            loop.group = self._expected.pop(event.loop_id, None)
        if len(session.loops) > LOOPS_KEPT:
            self._forget_oldest_loop(session)
        return loop

    def _forget_oldest_loop(self, session: SessionDraft) -> None:
        oldest = next((loop for loop in session.loops.values() if not loop.is_open), None)
        if oldest is not None and not self._is_changed(oldest):
            session.earlier_usage += oldest.usage()
            session.earlier_loops += 1
            del session.loops[oldest.loop_id]
            self._loops.pop(oldest.loop_id, None)

    def _is_changed(self, loop: LoopDraft) -> bool:
        own = self._changed.get(loop.session_id, ())
        return loop.loop_id in own or loop.loop_id in self._enriched

    def _note(self, loop: LoopDraft, event: AgentEvent) -> None:
        streaming = isinstance(event, (MessageUpdate, ToolExecutionUpdate))
        if streaming and not self._config.include_streaming_events:
            return
        kept_events = loop.held.events
        if len(kept_events) < EVENTS_KEPT:
            facts = msgspec.to_builtins(event)
            kept = facts if streaming else {k: v for k, v in facts.items() if k not in CONTENT}
            for name in ("session_id", "loop_id"):
                del kept[name]
            kept_events.append(LoopEvent(sequence=loop.sequence, event=kept))
        loop.sequence += 1

    def _link(self, loop: LoopDraft, event: AgentEvent) -> None:
        if isinstance(event, ChildLinked):
            self._linked(loop, event)
        elif isinstance(event, (ParallelLoopStart, ParallelLoopEnd)):
            self._grouped(event)

    def _started(self, session: SessionDraft, loop: LoopDraft, event: AgentStart) -> bool:
        first = not session.agent_id
        loop.agent_id, loop.kind = event.agent_id, event.continuation
        loop.started_at = min(loop.started_at, event.at)
        loop.parent_loop_id, loop.config = event.parent_loop_id, event.config
        loop.metadata = event.metadata
        parent = session.loops.get(event.parent_loop_id or "")
        if parent is not None and loop.loop_id not in parent.next_loop_ids:
            parent.next_loop_ids = (*parent.next_loop_ids, loop.loop_id)
        if first:
            session.agent_id, session.scope = event.agent_id, event.scope
            session.created_at = min(session.created_at, event.at)
            if event.formation is not None:
                session.formation = event.formation
            loop.formation = session.formation
        spawn = self._spawns.pop(session.session_id, None) or event.spawn
        if spawn is not None:
            session.spawn = loop.spawn = spawn
        ask = self._config.before_task
        if first and ask is not None and not ask(session.record()):
            loop.take(
                InputRejected(
                    session_id=event.session_id,
                    loop_id=event.loop_id,
                    at=event.at,
                    reason="before_task",
                )
            )
            loop.rejection = "before_task"
            return False
        return True

    def _grouped(self, event: ParallelLoopStart | ParallelLoopEnd) -> None:
        """Give the loops of a group their record, those to come as soon as they come."""
        found = [self._loops.get(loop_id) for loop_id in event.loop_ids]
        group = next((loop.group for loop in found if loop is not None and loop.group), None)
        if group is None:
            waiting = (self._expected.get(loop_id) for loop_id in event.loop_ids)
            group = next((draft for draft in waiting if draft is not None), None)
        kind = event.kind if isinstance(event, ParallelLoopStart) else "evaluation"
        group = group or GroupDraft(ParallelGroupRecord(kind=kind, all_loop_ids=()))
        members = dict.fromkeys((*group.record.all_loop_ids, *event.loop_ids))
        group.record = msgspec.structs.replace(group.record, all_loop_ids=tuple(members))
        if isinstance(event, ParallelLoopStart):
            group.record = msgspec.structs.replace(group.record, kind=event.kind)
        else:
            usage = event.evaluation_usage
            if usage is None and group.record.kind == "evaluation":
                usage = sum((loop.usage() for loop in found if loop is not None), Usage())
            group.record = msgspec.structs.replace(
                group.record,
                selected_loop_id=event.selected_loop_id or group.record.selected_loop_id,
                selected_config_index=event.selected_config_index,
                evaluation_usage=usage,
            )
        for loop_id, loop in zip(event.loop_ids, found, strict=True):
            if loop is None:
                _remember(self._expected, loop_id, group)
            else:
                loop.group = group
                self._enriched[loop_id] = loop

    def _linked(self, loop: LoopDraft, event: ChildLinked) -> None:
        """Set both ends of the link between a tool call and a sub-agent."""
        loop.refer_to(
            ChildLoopRef(
                tool_call_id=event.tool_call_id,
                tool_name=event.tool_name,
                child_loop_id=event.child_loop_id,
                child_session_id=event.child_session_id,
            )
        )
        spawn = SpawnRef(
            parent_session_id=loop.session_id,
            parent_loop_id=loop.loop_id,
            tool_call_id=event.tool_call_id,
            tool_name=event.tool_name,
            confidence=event.confidence,
            confirmed=event.confirmed,
            candidates=event.candidates,
        )
        child = self._live.get(event.child_session_id) or self._completed.get(
            event.child_session_id
        )
        if child is None:
            _remember(self._spawns, event.child_session_id, spawn)
            return
        child.spawn = spawn
        first = child.loops.get(event.child_loop_id)
        if first is not None:
            first.spawn = spawn
            self._enriched[first.loop_id] = first

    def _complete(self, session: SessionDraft, at: float) -> None:
        """Move a session to the completed ones."""
        for loop in session.loops.values():
            if loop.is_open:
                loop.abort(at)
                self._enriched[loop.loop_id] = loop
        self._live.pop(session.session_id, None)
        self._completed[session.session_id] = session
        if not session.task_ended:
            session.task_ended = True
            if self._config.after_task is not None:
                self._config.after_task(session.record())


def _side_call(session: SessionDraft, event: SideCallSeen) -> None:
    session.side_calls.append(SideCall(request_id=event.request_id, at=event.at, usage=event.usage))
    if len(session.side_calls) > SIDE_CALLS_KEPT:
        session.earlier_usage += session.side_calls.pop(0).usage


def _remember(known: OrderedDict[str, V_], key: str, value: V_) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > EXPECTED_KEPT:
        known.popitem(last=False)
