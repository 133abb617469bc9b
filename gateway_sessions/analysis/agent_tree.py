"""What an agent did: sessions, their loops, the loops' turns, and how they hang together.

A *loop* is one user prompt and the round trips with tools until the final answer; a *turn* is
one exchange of it, its *attempts* included.  All values are frozen and survive a round trip
through JSON.  Times are unix seconds, costs US dollars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from gateway_sessions.conversation import Message
from gateway_sessions.names import snake_case

LoopStatus = Literal["pending", "running", "completed", "rejected", "aborted"]
TurnTrigger = Literal["user", "sub_agent", "continuation", "branch"]
GroupKind = Literal["fanout", "evaluation"]
SessionScope = Literal["ephemeral", "persistent"]
"""Whether the session can go on later: a sub-agent's run can not."""


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of the tree's values."""


class _Variant(Value, frozen=True, kw_only=True, tag_field="kind", tag=snake_case):
    """Base of values that come in kinds."""


class Initial(_Variant, frozen=True, kw_only=True):
    """The first loop of a session."""


class Default(_Variant, frozen=True, kw_only=True):
    """A loop that goes on where the one before ended."""


class Rerun(_Variant, frozen=True, kw_only=True):
    """The same prompt again, after it had been answered."""

    tag: str


class Branch(_Variant, frozen=True, kw_only=True):
    """Another prompt after an earlier state of the session."""

    tag: str


class Compaction(_Variant, frozen=True, kw_only=True):
    """Goes on from a summary of what was before."""


ContinuationKind = Initial | Default | Rerun | Branch | Compaction


class Explicit(_Variant, frozen=True, kw_only=True):
    """The client named the session."""


class FirstLoop(_Variant, frozen=True, kw_only=True):
    """Nothing was known before it."""


class InactivityTimeout(_Variant, frozen=True, kw_only=True):
    """It takes up a session that had expired."""

    threshold_secs: float
    previous_session_id: str


class Reset(_Variant, frozen=True, kw_only=True):
    """The user asked to start over."""

    phrase: str


SessionFormation = Explicit | FirstLoop | InactivityTimeout | Reset


class Usage(Value, frozen=True, kw_only=True):
    """Tokens.  ``input`` includes the cached ones, ``output`` the reasoning."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0
    """Input and output together; always the sum, whatever is given."""
    cost_usd: float | None = None
    """None where no price was known for any of it."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "total_tokens", self.input + self.output)

    @property
    def cache_hit_rate(self) -> float:
        """Share of the input that came from the cache, 0 to 1."""
        return self.cache_read / self.input if self.input else 0.0

    def __add__(self, other: Usage) -> Usage:
        if self is NOTHING:
            return other  # the first of a sum, and most often the only one
        cost = other.cost_usd if self.cost_usd is None else self.cost_usd
        if self.cost_usd is not None and other.cost_usd is not None:
            cost = self.cost_usd + other.cost_usd
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cost_usd=cost,
        )


NOTHING = Usage()
"""What is used before anything is."""


class SpawnRef(Value, frozen=True, kw_only=True):
    """From a sub-agent's session to the tool call that it works for."""

    parent_session_id: str
    parent_loop_id: str
    tool_call_id: str
    tool_name: str
    confidence: float
    confirmed: bool = False
    """Whether the call's result held what the sub-agent said last."""
    candidates: tuple[str, ...] = ()
    """The ids of all calls that fitted as well, where several did."""


class ChildLoopRef(Value, frozen=True, kw_only=True):
    """From a tool call to the loop that worked for it."""

    tool_call_id: str
    tool_name: str
    child_loop_id: str
    child_session_id: str


class ParallelGroupRecord(Value, frozen=True, kw_only=True):
    """Loops that ran side by side.

    ``fanout``: sub-agents of one answer.  ``evaluation``: answers to the same request, of which
    the conversation goes on with one.
    """

    kind: GroupKind
    all_loop_ids: tuple[str, ...]
    selected_loop_id: str | None = None
    selected_config_index: int | None = None
    evaluation_usage: Usage | None = None
    is_selected: bool = False
    """Whether the loop that holds this record is the one selected."""


class LoopConfigSnapshot(Value, frozen=True, kw_only=True):
    """What the model was asked with when the loop began."""

    model: str
    provider: str
    config_id: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    tools: int = 0
    """How many were declared."""


class TurnId(Value, frozen=True, kw_only=True):
    """A turn's place."""

    loop_id: str
    turn_index: int
    """0-based."""


class Attempt(Value, frozen=True, kw_only=True):
    """One try of a turn: an exchange."""

    request_id: str
    started_at: float
    ended_at: float | None = None
    error: str | None = None
    usage: Usage = Usage()


class ToolOutcome(Value, frozen=True, kw_only=True):
    """What came of one tool call."""

    tool_call_id: str
    tool_name: str
    is_error: bool | None = None
    """None where nobody said, or no result has come."""
    content: str | None = None
    size_bytes: int | None = None
    """Of the result; None until it comes."""
    duration_ms: float | None = None
    is_upper_bound: bool = False
    """True where the duration is all the time between the call and its result."""


class Turn(Value, frozen=True, kw_only=True):
    """One question to the model and its answer."""

    turn_id: TurnId
    triggered_by: TurnTrigger
    usage: Usage = Usage()
    """Over all attempts."""
    input_messages: tuple[Message, ...] = ()
    """New messages, tool results left out: those stand with the turn that called."""
    output_message: Message | None = None
    tool_results: tuple[ToolOutcome, ...] = ()
    """One for each tool that the answer calls."""
    started_at: float
    ended_at: float | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def duration(self) -> float | None:
        """Seconds from the first attempt's start to the last one's end."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @property
    def has_tool_calls(self) -> bool:
        """Whether the answer calls tools."""
        return bool(self.tool_results)


class LoopEvent(Value, frozen=True, kw_only=True):
    """Something that happened in a loop; ``event`` has at least ``type`` and ``at``."""

    sequence: int
    """0-based within the loop."""
    event: Mapping[str, Any]


class LoopRecord(Value, frozen=True, kw_only=True):
    """One prompt and all the work that it started."""

    loop_id: str
    """``<session_id>.<agent>.<n>``; for reading only, its parts are fields of their own."""
    session_id: str
    agent_id: str
    parent_loop_id: str | None = None
    continuation_kind: ContinuationKind
    started_at: float
    ended_at: float | None = None
    status: LoopStatus
    rejection: str | None = None
    config: LoopConfigSnapshot | None = None
    messages: tuple[Message, ...] = ()
    turns: tuple[Turn, ...] = ()
    turn_count: int = 0
    """Of all turns, also where ``turns`` are no longer held."""
    tool_calls: Mapping[str, int] = {}
    """How often each tool was called."""
    usage: Usage = Usage()
    metadata: Mapping[str, Any] | None = None
    events: tuple[LoopEvent, ...] = ()
    children_loop_ids: tuple[str, ...] = ()
    child_loop_refs: tuple[ChildLoopRef, ...] = ()
    parallel_group: ParallelGroupRecord | None = None
    compaction_block: str | None = None
    """The summary that this loop goes on from."""
    spawn_ref: SpawnRef | None = None
    """Of the first loop of a sub-agent's session: the call that it works for."""
    formation: SessionFormation | None = None
    """Of the first loop of a session: how that came to be."""


class SideCall(Value, frozen=True, kw_only=True):
    """A request about a session that is none of its turns: a title, tags, suggestions."""

    request_id: str
    at: float
    usage: Usage = Usage()


class Session(Value, frozen=True, kw_only=True):
    """Everything that is known of one session."""

    session_id: str
    agent_id: str
    created_at: float
    last_active_at: float
    formation: SessionFormation
    parent_spawn_ref: SpawnRef | None = None
    scope: SessionScope
    loops: tuple[LoopRecord, ...] = ()
    """In the order in which they started."""
    side_calls: tuple[SideCall, ...] = ()
    earlier_loops: int = 0
    """Loops that are no longer held, of a very long session."""
    earlier_usage: Usage = Usage()
    """Of those, and of side calls that are no longer held."""

    def root_loops(self) -> tuple[LoopRecord, ...]:
        """Return the loops that no loop of this session leads to."""
        own = {loop.loop_id for loop in self.loops}
        return tuple(loop for loop in self.loops if loop.parent_loop_id not in own)

    def children_of(self, loop: LoopRecord) -> tuple[LoopRecord, ...]:
        """Return the loops of this session that go on from a loop."""
        return tuple(other for other in self.loops if other.parent_loop_id == loop.loop_id)

    def parallel_siblings(self, loop: LoopRecord) -> tuple[LoopRecord, ...]:
        """Return the other loops of this session in a loop's group."""
        group = loop.parallel_group
        members = () if group is None else group.all_loop_ids
        return tuple(
            other
            for other in self.loops
            if other.loop_id in members and other.loop_id != loop.loop_id
        )

    def loop_chain_to(self, loop: LoopRecord) -> tuple[LoopRecord, ...]:
        """Return the loops that lead to a loop, the first one first, the loop itself last."""
        return tuple(reversed(list(self._upwards(loop))))

    def total_usage(self) -> Usage:
        """Return the sum over loops and side calls, those no longer held included."""
        parts = (*(loop.usage for loop in self.loops), *(call.usage for call in self.side_calls))
        return sum(parts, self.earlier_usage)

    def _upwards(self, loop: LoopRecord) -> Iterator[LoopRecord]:
        by_id = {other.loop_id: other for other in self.loops}
        seen: set[str] = set()
        current: LoopRecord | None = loop
        while current is not None and current.loop_id not in seen:
            seen.add(current.loop_id)
            yield current
            current = by_id.get(current.parent_loop_id or "")
