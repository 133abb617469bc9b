"""What is recorded of a session: one frozen value per event, in the order of the wire.

As JSON an event is an object whose ``type`` is the class name in snake case.  Fields that do not
apply are left out; those that are always there have no default here.  Times are RFC 3339 in UTC
with microseconds, durations milliseconds, sizes bytes, costs US dollars.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_sessions.event_parts import (
    EstimatedCost,
    FinalStats,
    Latency,
    Metadata,
    ModelTokens,
    OptionalRaw,
    Part,
    Performance,
    ResponseStats,
    StreamingStats,
    Tokens,
    ToolStats,
    ToolSummary,
    ToolUse,
    TotalTokens,
)
from gateway_sessions.names import snake_case

__all__ = [
    "VERSION",
    "AnyEvent",
    "Completed",
    "Error",
    "EstimatedCost",
    "FinalStats",
    "Gap",
    "Latency",
    "LoopRecorded",
    "MessageRecorded",
    "MessageRemoved",
    "Metadata",
    "ModelTokens",
    "Part",
    "Performance",
    "RequestCompleted",
    "RequestRecorded",
    "ResponseRecorded",
    "ResponseStats",
    "SessionEvent",
    "SessionReported",
    "Started",
    "StatsSnapshot",
    "StreamEvent",
    "StreamStarted",
    "StreamingStats",
    "Tokens",
    "ToolCallRecorded",
    "ToolStats",
    "ToolSummary",
    "ToolUse",
    "TotalTokens",
]

VERSION = 1
"""Of the record format: in the first line of each file as ``record_version``."""


class SessionEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag=snake_case,
):
    """Base of all events.

    They are part of no cycle, and thousands of them wait for a writer: the garbage collector
    need not look through them (``gc=False``).
    """

    session_id: str
    request_id: str
    """The exchange that caused it; of `Completed`, the last one."""
    timestamp: str


class Started(SessionEvent, frozen=True, kw_only=True):
    """The first exchange of a session arrived."""

    model_requested: str
    provider: str
    listener: str
    """The dialect that the client speaks."""
    is_streaming: bool
    root_session_id: str
    relation: str
    source: str
    confidence: float
    metadata: Metadata
    parent_session_id: str | None = None
    record_version: int | None = None
    """Set by the file writer in the first line of a file."""


class RequestRecorded(SessionEvent, frozen=True, kw_only=True):
    """A request arrived.

    ``request_json`` is the body as it came, but for messages that earlier requests of the
    session have brought: of those only the number is kept, in ``history_messages``.  So a
    session takes the space of what was said in it and not of all its repetitions.
    """

    model_requested: str
    relation: str
    source: str
    confidence: float
    estimated_tokens: int
    """A rough count of the whole request, for what the provider never answers."""
    pre_processing_ms: float
    request_size_bytes: int
    message_count: int
    history_messages: int
    has_system_prompt: bool
    has_tools: bool
    tool_count: int
    is_streaming: bool
    request_text: str | None = None
    """The newest user text."""
    request_json: OptionalRaw = None
    unchanged_fields: tuple[str, ...] = ()
    """Large fields of the body (instructions, tools) that ``request_json`` leaves out, because
    they are as in the newest request of the session, since it started, that had them."""
    delta_messages: tuple[msgspec.Raw, ...] | None = None
    """The messages that are new in this request, as on the wire."""
    parse_error: str | None = None


class StreamStarted(SessionEvent, frozen=True, kw_only=True):
    """The first bytes of a streamed response came."""

    time_to_first_token_ms: float


class StreamEvent(SessionEvent, frozen=True, kw_only=True):
    """A chunk of a streamed response, where that is asked for."""

    sequence: int
    """0-based within the response."""
    elapsed_ms: float
    """Since the request's arrival."""
    size_bytes: int
    data: str | None = None


class ResponseRecorded(SessionEvent, frozen=True, kw_only=True):
    """A response is complete, or broke off."""

    model_used: str
    status: int
    stats: ResponseStats
    tokens: Tokens | None
    """As in ``stats``, for readers of flat records."""
    response_text: str | None = None
    response_json: OptionalRaw = None
    """A streamed response is put together into the object that would have come unstreamed."""
    response_headers: dict[str, str] | None = None


class ToolCallRecorded(SessionEvent, frozen=True, kw_only=True):
    """A tool was called; or, with ``output_size_bytes``, its result arrived."""

    tool_name: str
    tool_call_id: str
    input_size_bytes: int
    tool_arguments: OptionalRaw = None
    output_size_bytes: int | None = None
    success: bool | None = None
    """None where the dialect does not say."""
    execution_time_ms: float | None = None
    time_is_upper_bound: bool | None = None
    """True where the time is that from the call's reply to the result's request."""


class RequestCompleted(SessionEvent, frozen=True, kw_only=True):
    """An exchange is over."""

    success: bool
    total_duration_ms: float
    error: str | None = None
    finish_reason: str | None = None


class StatsSnapshot(SessionEvent, frozen=True, kw_only=True):
    """The sums of a session that goes on."""

    request_count: int
    total_input_tokens: int
    total_output_tokens: int
    total_thinking_tokens: int
    total_tool_calls: int
    unique_tools: tuple[str, ...]
    cumulative_latency_ms: float
    cumulative_proxy_overhead_ms: float


class LoopRecorded(SessionEvent, frozen=True, kw_only=True):
    """A loop of the agent tree began, went on or ended.

    It comes with the end of the exchange that changed the loop.  The newest one of a loop holds;
    of its turns, each is in the ones after it changed, and a summary that it goes on from is only
    in the first.
    """

    loop: msgspec.Raw
    """A `LoopRecord` as JSON, with the turns that have changed."""


class Completed(SessionEvent, frozen=True, kw_only=True):
    """A session ended: ``reason`` is expired, evicted, reset, shutdown, or ended by its client."""

    success: bool
    """Whether its last exchange succeeded."""
    reason: str
    final_stats: FinalStats
    total_input: int
    total_output: int
    total_thinking: int
    total_reasoning: int
    grand_total: int
    """The totals again, for readers of flat records."""
    error: str | None = None
    finish_reason: str | None = None


class Error(SessionEvent, frozen=True, kw_only=True):
    """An exchange failed: by the provider, on the way, or on our side."""

    error_type: str
    error_message: str
    error_details: dict[str, Any] | None = None


class SessionReported(SessionEvent, frozen=True, kw_only=True):
    """What a client says of its session through the recording API; the newest one holds."""

    provider: str
    message_count: int
    model: str | None = None
    title: str | None = None
    workspace_id: str | None = None
    workspace_path: str | None = None
    metadata: OptionalRaw = None
    """Whatever the client keeps there."""


class MessageRecorded(SessionEvent, frozen=True, kw_only=True):
    """A message that a client reported through the recording API, as a whole.

    The newest one of a message holds; ``request_id`` is ``recording_api:`` and the message's id.
    """

    message_id: str
    role: str
    created_at: str
    is_complete: bool
    """False while the client adds to it."""
    content_characters: int
    content: str | None = None
    """None where only facts about texts are recorded."""
    model: str | None = None
    parent_id: str | None = None
    """The message that it answers."""
    metadata: OptionalRaw = None


class MessageRemoved(SessionEvent, frozen=True, kw_only=True):
    """A message that the client no longer has in its session."""

    message_id: str


class Gap(SessionEvent, frozen=True, kw_only=True):
    """Events are missing here, because a buffer was full or a writer failed."""

    dropped: dict[str, int]
    """``type`` to number."""


AnyEvent = (
    Started
    | RequestRecorded
    | StreamStarted
    | StreamEvent
    | ResponseRecorded
    | ToolCallRecorded
    | RequestCompleted
    | StatsSnapshot
    | LoopRecorded
    | SessionReported
    | MessageRecorded
    | MessageRemoved
    | Completed
    | Error
    | Gap
)
"""What one line of a session file can be."""
