"""Loops and sessions while they are being written: what the recorder changes and then freezes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from gateway_sessions.analysis.agent_events import (
    AgentEnd,
    AgentEvent,
    CompactionEnded,
    InputRejected,
    MessageEnd,
    ToolExecutionEnd,
    ToolExecutionStart,
    TurnEnd,
    TurnStart,
    WholeLoop,
)
from gateway_sessions.analysis.agent_tree import (
    NOTHING,
    ChildLoopRef,
    ContinuationKind,
    Default,
    FirstLoop,
    Initial,
    LoopConfigSnapshot,
    LoopEvent,
    LoopRecord,
    LoopStatus,
    ParallelGroupRecord,
    Session,
    SessionFormation,
    SessionScope,
    SideCall,
    SpawnRef,
    ToolOutcome,
    Turn,
    Usage,
)
from gateway_sessions.analysis.loop_states import MOVING, OPEN, next_status
from gateway_sessions.analysis.turn_drafts import TurnDraft, whole_turn
from gateway_sessions.conversation import Message

EVENTS_KEPT = 10_000
"""Events of one loop; a loop of 500 turns has some 4,000."""


_DEFAULT, _FIRST_LOOP, _INITIAL = Default(), FirstLoop(), Initial()
_NO_TURNS: Mapping[int, TurnDraft] = MappingProxyType({})
_NO_TOOLS: Mapping[str, int] = MappingProxyType({})


class GroupDraft(msgspec.Struct, gc=False):
    """A parallel group, shared by the loops in it."""

    record: ParallelGroupRecord


class Held(msgspec.Struct, gc=False):
    """What a loop has that was not handed on, or may still change."""

    turns: dict[int, TurnDraft] = {}
    messages: list[Message] = []
    events: list[LoopEvent] = []
    turnless: dict[str, ToolOutcome] = {}
    """Tools that were told of before any turn: they are the first one's."""


class LoopDraft(msgspec.Struct, gc=False):
    """A loop under way, or kept because something may still be added to it.

    Most loops that are kept are over: what such a one has nothing of takes no memory.
    """

    loop_id: str
    session_id: str
    started_at: float
    agent_id: str = ""
    status: LoopStatus = "pending"
    kind: ContinuationKind = _DEFAULT
    parent_loop_id: str | None = None
    ended_at: float | None = None
    rejection: str | None = None
    config: LoopConfigSnapshot | None = None
    metadata: Any = None
    sequence: int = 0
    children: tuple[ChildLoopRef, ...] = ()
    next_loop_ids: tuple[str, ...] = ()
    group: GroupDraft | None = None
    compaction_block: str | None = None
    spawn: SpawnRef | None = None
    formation: SessionFormation | None = None
    shed_turns: int = 0
    shed_tools: Mapping[str, int] = _NO_TOOLS
    shed_usage: Usage = NOTHING
    _told_block: bool = False
    _held: Held | None = None

    @property
    def held(self) -> Held:
        """What it holds, to be added to."""
        if self._held is None:
            self._held = Held()
        return self._held

    @property
    def turns(self) -> Mapping[int, TurnDraft]:
        """The turns that are held, by index."""
        return _NO_TURNS if self._held is None else self._held.turns

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.status in OPEN

    def take(self, event: AgentEvent) -> None:
        """Move to the status that an event leads to."""
        if type(event) not in MOVING:
            return
        before, self.status = self.status, next_status(self.status, event)
        if before in OPEN and self.status not in OPEN:
            self.ended_at = event.at

    def abort(self, at: float) -> None:
        """Give the loop up."""
        if self.is_open:
            self.status = "aborted"
            self.ended_at = max(at, self.started_at)

    def apply(self, event: AgentEvent) -> None:
        """Write down what an event says about this loop alone."""
        write = _WRITE.get(type(event))
        if write is not None:
            write(self, event)

    def refer_to(self, child: ChildLoopRef) -> None:
        """Note which loop works for a call."""
        refs = {ref.child_loop_id: ref for ref in self.children}
        known = refs.get(child.child_loop_id)
        if known is not None and known.tool_call_id != child.tool_call_id:
            del refs[child.child_loop_id]  # it was taken for another call's
        refs[child.child_loop_id] = child
        self.children = tuple(refs.values())

    def turn(self, event: TurnStart | TurnEnd) -> TurnDraft:
        """Return the turn with an event's index; a new one if there is none."""
        held = self.held
        found = held.turns.get(event.turn_index)
        if found is None:
            found = held.turns[event.turn_index] = TurnDraft(event.turn_index, "user", event.at)
            found.tools.update(held.turnless)
            held.turnless.clear()
        return found

    def turn_started(self, event: TurnStart) -> None:
        """Note a request, and its messages the first time that the turn is tried."""
        turn = self.turn(event)
        turn.begin(event)
        if event.input_messages and not turn.input_messages:
            turn.input_messages = event.input_messages
            self.held.messages.extend(event.input_messages)

    def turn_ended(self, event: TurnEnd) -> None:
        """Note an answer."""
        self.turn(event).end(event)
        if event.output_message is not None:
            self.held.messages.append(event.output_message)

    def tool_started(self, event: ToolExecutionStart) -> None:
        """Note a call, with the turn that made it."""
        tools = self._calling(event.tool_call_id)
        known = tools.get(event.tool_call_id)
        if known is None:
            outcome = ToolOutcome(tool_call_id=event.tool_call_id, tool_name=event.tool_name)
        else:  # its result came first
            outcome = msgspec.structs.replace(known, tool_name=event.tool_name)
        tools[event.tool_call_id] = outcome

    def tool_ended(self, event: ToolExecutionEnd) -> None:
        """Note a result, with the turn that made the call."""
        tools = self._calling(event.tool_call_id)
        known = tools.get(event.tool_call_id)
        tools[event.tool_call_id] = ToolOutcome(
            tool_call_id=event.tool_call_id,
            tool_name=event.tool_name or (known.tool_name if known else ""),
            is_error=event.is_error,
            content=event.content,
            size_bytes=event.size_bytes or 0,
            duration_ms=event.duration_ms,
            is_upper_bound=event.is_upper_bound,
        )

    def _calling(self, call_id: str) -> dict[str, ToolOutcome]:
        """Return the tools of the turn that made a call: where none did, the newest one.

        Before there is any turn, they are kept for the first.
        """
        held = self.held
        for turn in reversed(held.turns.values()):
            if call_id in turn.tools:
                break
        else:
            if not held.turns:
                return held.turnless
            turn = held.turns[max(held.turns)]
        turn.changed = True
        return turn.tools

    def hand_on(self) -> LoopRecord:
        """Return the loop with the turns that have changed, and let go of those that are over.

        A summary that it goes on from, which may be long, is there only once.
        """
        record = self.record([turn for turn in self.turns.values() if turn.changed])
        if self._told_block:
            record = msgspec.structs.replace(record, compaction_block=None)
        self._told_block = self.compaction_block is not None
        held = self._held
        if held is not None:
            self._let_go(held)
            if not (held.turns or held.turnless):
                self._held = None
        return record

    def _let_go(self, held: Held) -> None:
        """Forget what has been handed on and will not change."""
        newest = max(held.turns, default=-1)
        for turn in list(held.turns.values()):
            turn.changed = False
            done = turn.is_settled if self.is_open else turn.is_over
            if done and (turn.index < newest or not self.is_open):
                self.shed_usage += turn.usage()
                self.shed_tools = _counted(self.shed_tools, (turn,)) or _NO_TOOLS
                self.shed_turns += 1
                del held.turns[turn.index]
        held.messages.clear()
        held.events.clear()

    def hand_on_whole(self, whole: WholeLoop) -> LoopRecord:
        """Return the loop as it is at its end, of whose events only the first was taken."""
        self.status, self.ended_at = whole.end.outcome, whole.end.at
        if self.status == "rejected":
            self.rejection = whole.end.reason
        self.shed_turns += 1
        self.shed_usage += whole.answer.usage
        return self._record((whole_turn(whole),))

    def usage(self) -> Usage:
        """Return the sum over all turns."""
        total = self.shed_usage
        for turn in self.turns.values():
            total += turn.usage()
        return total

    def tool_calls(self) -> dict[str, int]:
        """Return how often each tool was called."""
        return _counted(self.shed_tools, self.turns.values())

    def record(self, turns: Sequence[TurnDraft] | None = None) -> LoopRecord:
        """Return the loop as it is now, with all turns that are held or with those given."""
        shown = [*self.turns.values()] if turns is None else turns
        if len(shown) > 1:
            shown = sorted(shown, key=lambda turn: turn.index)
        return self._record(tuple([turn.record(self.loop_id) for turn in shown]))

    def _record(self, turns: tuple[Turn, ...]) -> LoopRecord:
        group = self.group.record if self.group is not None else None
        if group is not None and group.selected_loop_id == self.loop_id:
            group = msgspec.structs.replace(group, is_selected=True)
        held, refs, next_ids = self._held, self.children, self.next_loop_ids
        if refs:
            names = (*next_ids, *(ref.child_loop_id for ref in refs))
            next_ids = tuple(dict.fromkeys(names))
        return LoopRecord(
            loop_id=self.loop_id,
            session_id=self.session_id,
            agent_id=self.agent_id,
            parent_loop_id=self.parent_loop_id,
            continuation_kind=self.kind,
            started_at=self.started_at,
            ended_at=self.ended_at,
            status=self.status,
            rejection=self.rejection,
            config=self.config,
            messages=() if held is None else tuple(held.messages),
            turns=turns,
            turn_count=self.shed_turns + len(self.turns),
            tool_calls=self.tool_calls(),
            usage=self.usage(),
            metadata=self.metadata,
            events=() if held is None else tuple(held.events),
            children_loop_ids=next_ids,
            child_loop_refs=refs,
            parallel_group=group,
            compaction_block=self.compaction_block,
            spawn_ref=self.spawn,
            formation=self.formation,
        )


def _counted(tools: Mapping[str, int], turns: Iterable[TurnDraft]) -> dict[str, int]:
    """Return numbers of calls by tool with those of turns added."""
    found = dict(tools)
    for turn in turns:
        for outcome in turn.tools.values():
            found[outcome.tool_name] = found.get(outcome.tool_name, 0) + 1
    return found


def _rejected(loop: LoopDraft, event: InputRejected) -> None:
    loop.rejection = event.reason


def _ended(loop: LoopDraft, event: AgentEnd) -> None:
    if event.outcome == "rejected":
        loop.rejection = event.reason


def _message(loop: LoopDraft, event: MessageEnd) -> None:
    loop.held.messages.append(event.message)


def _compacted(loop: LoopDraft, event: CompactionEnded) -> None:
    loop.compaction_block = event.block


_WRITE: dict[type[AgentEvent], Callable[[LoopDraft, Any], None]] = {
    AgentEnd: _ended,
    CompactionEnded: _compacted,
    InputRejected: _rejected,
    MessageEnd: _message,
    ToolExecutionEnd: LoopDraft.tool_ended,
    ToolExecutionStart: LoopDraft.tool_started,
    TurnEnd: LoopDraft.turn_ended,
    TurnStart: LoopDraft.turn_started,
}


class SessionDraft(msgspec.Struct, gc=False):
    """A session under way."""

    session_id: str
    created_at: float
    agent_id: str = ""
    last_active_at: float = 0.0
    formation: SessionFormation = _FIRST_LOOP
    spawn: SpawnRef | None = None
    scope: SessionScope = "persistent"
    loops: dict[str, LoopDraft] = {}
    side_calls: list[SideCall] = []
    earlier_usage: Usage = NOTHING
    earlier_loops: int = 0
    task_ended: bool = False
    """Whether ``after_task`` was told of it: it is told once."""

    def loop(self, loop_id: str, at: float) -> LoopDraft:
        """Return a loop; a new one, of which nothing else is known yet, if there is none."""
        found = self.loops.get(loop_id)
        if found is None:
            found = LoopDraft(loop_id, self.session_id, at)
            if not self.loops:
                found.kind = _INITIAL
            self.loops[loop_id] = found
        return found

    @property
    def is_open(self) -> bool:
        """Whether one of its loops goes on."""
        return any(loop.is_open for loop in self.loops.values())

    def record(self) -> Session:
        """Return the session as it is now, its loops in the order in which they started."""
        loops = sorted(self.loops.values(), key=lambda loop: loop.started_at)
        return Session(
            session_id=self.session_id,
            agent_id=self.agent_id,
            created_at=self.created_at,
            last_active_at=self.last_active_at,
            formation=self.formation,
            parent_spawn_ref=self.spawn,
            scope=self.scope,
            loops=tuple(loop.record() for loop in loops),
            side_calls=tuple(self.side_calls),
            earlier_loops=self.earlier_loops,
            earlier_usage=self.earlier_usage,
        )
