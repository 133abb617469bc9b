"""What agents report of themselves, and what inference reports of those that do not.

Both drive the same recorder.  Every event names its session and loop; ``at`` is unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from gateway_sessions.analysis.agent_tree import (
    ContinuationKind,
    GroupKind,
    Initial,
    LoopConfigSnapshot,
    SessionFormation,
    SessionScope,
    SpawnRef,
    TurnTrigger,
    Usage,
)
from gateway_sessions.conversation import Message
from gateway_sessions.names import snake_case

Outcome = Literal["completed", "rejected", "aborted"]


class AgentEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag=snake_case,
):
    """Base of all events."""

    session_id: str
    loop_id: str
    at: float


class AgentStart(AgentEvent, frozen=True, kw_only=True):
    """A loop begins; the first one of a session begins the session too."""

    agent_id: str
    continuation: ContinuationKind = Initial()
    parent_loop_id: str | None = None
    formation: SessionFormation | None = None
    scope: SessionScope = "persistent"
    config: LoopConfigSnapshot | None = None
    spawn: SpawnRef | None = None
    """The tool call that a sub-agent works for."""
    metadata: Mapping[str, Any] | None = None


class AgentEnd(AgentEvent, frozen=True, kw_only=True):
    """A loop is over."""

    outcome: Outcome = "completed"
    reason: str | None = None


class TurnStart(AgentEvent, frozen=True, kw_only=True):
    """A request to the model; with the index of a turn that is there, another attempt at it."""

    turn_index: int
    request_id: str = ""
    triggered_by: TurnTrigger = "user"
    input_messages: tuple[Message, ...] = ()


class TurnEnd(AgentEvent, frozen=True, kw_only=True):
    """The model's answer, or the failure of an attempt."""

    turn_index: int
    request_id: str = ""
    output_message: Message | None = None
    usage: Usage = Usage()
    error: str | None = None


class MessageStart(AgentEvent, frozen=True, kw_only=True):
    """The answer's first words came."""


class MessageUpdate(AgentEvent, frozen=True, kw_only=True):
    """More of an answer came; kept only where streaming events are asked for."""

    text: str


class MessageEnd(AgentEvent, frozen=True, kw_only=True):
    """A message is complete."""

    message: Message


class ToolExecutionStart(AgentEvent, frozen=True, kw_only=True):
    """The model called a tool."""

    tool_call_id: str
    tool_name: str


class ToolExecutionUpdate(AgentEvent, frozen=True, kw_only=True):
    """A tool says how far it is."""

    tool_call_id: str
    text: str


class ToolExecutionEnd(AgentEvent, frozen=True, kw_only=True):
    """A tool's result."""

    tool_call_id: str
    tool_name: str = ""
    content: str | None = None
    size_bytes: int | None = None
    is_error: bool | None = None
    duration_ms: float | None = None
    is_upper_bound: bool = False


class ProgressMessage(AgentEvent, frozen=True, kw_only=True):
    """A line for the people who watch."""

    text: str


class InputRejected(AgentEvent, frozen=True, kw_only=True):
    """A guard refused what the user asked."""

    reason: str


class ParallelLoopStart(AgentEvent, frozen=True, kw_only=True):
    """Loops run side by side; more of them may be named later in another event."""

    kind: GroupKind
    loop_ids: tuple[str, ...]


class ParallelLoopEnd(AgentEvent, frozen=True, kw_only=True):
    """The loops of a group are over, or one of them was chosen."""

    loop_ids: tuple[str, ...]
    selected_loop_id: str | None = None
    selected_config_index: int | None = None
    evaluation_usage: Usage | None = None


class CompactionStarted(AgentEvent, frozen=True, kw_only=True):
    """The history is being summarised."""


class CompactionEnded(AgentEvent, frozen=True, kw_only=True):
    """What the loop goes on from."""

    block: str


class ChildLinked(AgentEvent, frozen=True, kw_only=True):
    """A call of this loop started a sub-agent; said again when more is known of the link."""

    tool_call_id: str
    tool_name: str
    child_session_id: str
    child_loop_id: str
    confidence: float = 1.0
    confirmed: bool = False
    candidates: tuple[str, ...] = ()


class SideCallSeen(AgentEvent, frozen=True, kw_only=True):
    """A request about the session that is no turn; ``loop_id`` is empty."""

    request_id: str
    usage: Usage = Usage()


class SessionEnd(AgentEvent, frozen=True, kw_only=True):
    """No more will come; ``loop_id`` is empty."""


class WholeLoop(NamedTuple):
    """All events of a loop of one turn that called no tool, in their order."""

    start: AgentStart
    turn: TurnStart
    answer: TurnEnd
    end: AgentEnd


AnyAgentEvent = (
    AgentStart
    | AgentEnd
    | TurnStart
    | TurnEnd
    | MessageStart
    | MessageUpdate
    | MessageEnd
    | ToolExecutionStart
    | ToolExecutionUpdate
    | ToolExecutionEnd
    | ProgressMessage
    | InputRejected
    | ParallelLoopStart
    | ParallelLoopEnd
    | CompactionStarted
    | CompactionEnded
    | ChildLinked
    | SideCallSeen
    | SessionEnd
)
"""Everything that a session recorder takes."""
