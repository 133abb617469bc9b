"""What events are made of: frozen values that stand in them, and nowhere by themselves.

As in events, fields that do not apply are left out of their JSON; durations are milliseconds,
sizes bytes, costs US dollars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    OptionalRaw = msgspec.Raw | None
else:
    # msgspec can write that union but not read it; where the field is missing it is None too.
    OptionalRaw = msgspec.Raw


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of what events are made of."""


class Tokens(Part, frozen=True, kw_only=True):
    """Token counts of one exchange.

    ``input_tokens`` includes the cache counts and ``output_tokens`` the thinking and reasoning,
    so that input and output alone make the total.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    thinking_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    thinking_percentage: float | None = None
    """Of the output, 0 to 100."""
    tokens_per_second: float | None = None


class Metadata(Part, frozen=True, kw_only=True):
    """Who sent the first request of a session."""

    request_headers: dict[str, str]
    """By lower-case name, credentials masked."""
    session_tags: tuple[str, ...] = ()
    client_ip: str | None = None
    user_agent: str | None = None
    api_version: str | None = None
    external_id: str | None = None
    """The id that the client itself gave the session."""
    previous_session_id: str | None = None


class ToolUse(Part, frozen=True, kw_only=True):
    """A tool call in a reply."""

    tool_call_id: str
    tool_name: str
    input_size_bytes: int
    tool_arguments: OptionalRaw = None


class ResponseStats(Part, frozen=True, kw_only=True):
    """The figures of a response."""

    provider_latency_ms: float
    post_processing_ms: float
    total_proxy_overhead_ms: float
    tokens: Tokens | None
    tool_calls: tuple[ToolUse, ...]
    response_size_bytes: int
    content_blocks: int
    has_refusal: bool
    is_streaming: bool
    chunk_count: int | None = None
    streaming_duration_ms: float | None = None
    time_to_first_token_ms: float | None = None
    chunk_latency: Latency | None = None
    raw_usage: OptionalRaw = None
    """The provider's own usage object."""
    cost_usd: float | None = None


class Latency(Part, frozen=True, kw_only=True):
    """Times between the chunks of a stream, in milliseconds."""

    avg_chunk_latency_ms: float
    p50_chunk_latency_ms: float
    p95_chunk_latency_ms: float
    p99_chunk_latency_ms: float
    max_chunk_latency_ms: float
    min_chunk_latency_ms: float


class ModelTokens(Part, frozen=True, kw_only=True):
    """A model's share of a session."""

    request_count: int
    input: int
    output: int
    total: int


class TotalTokens(Part, frozen=True, kw_only=True):
    """Sums over a session's exchanges."""

    total_input: int
    total_output: int
    thinking: int
    reasoning: int
    cache_read: int
    cache_creation: int
    audio_input: int
    audio_output: int
    grand_total: int
    by_model: dict[str, ModelTokens]


class ToolStats(Part, frozen=True, kw_only=True):
    """One tool's use in a session."""

    call_count: int
    total_execution_time_ms: float
    avg_execution_time_ms: float
    error_count: int


class ToolSummary(Part, frozen=True, kw_only=True):
    """All tools' use in a session."""

    total_tool_calls: int
    unique_tool_count: int
    by_tool: dict[str, ToolStats]
    total_tool_time_ms: float
    tool_error_count: int


class Performance(Part, frozen=True, kw_only=True):
    """Latencies over a session's exchanges; percentiles by nearest rank."""

    avg_provider_latency_ms: float
    p50_latency_ms: float
    p95_latency_ms: float
    p99_latency_ms: float
    max_latency_ms: float
    min_latency_ms: float
    avg_pre_processing_ms: float
    avg_post_processing_ms: float
    proxy_overhead_percentage: float


class StreamingStats(Part, frozen=True, kw_only=True):
    """Sums over a session's streamed exchanges; the time to the first token is the mean."""

    time_to_first_token_ms: float
    total_chunks: int
    streaming_duration_ms: float
    avg_chunk_latency_ms: float
    p50_chunk_latency_ms: float
    p95_chunk_latency_ms: float
    p99_chunk_latency_ms: float
    max_chunk_latency_ms: float
    min_chunk_latency_ms: float


class EstimatedCost(Part, frozen=True, kw_only=True):
    """What a session cost; null where a model's price is not known."""

    provider: str
    model: str
    input_cost_usd: float | None
    output_cost_usd: float | None
    total_cost_usd: float | None
    cost_per_1k_tokens: float | None
    thinking_cost_usd: float | None = None
    """Part of the output's."""
    cache_cost_usd: float | None = None
    """Part of the input's."""
    unpriced_requests: int | None = None
    """Exchanges that the sums lack, because the price of their model is not known."""


class FinalStats(Part, frozen=True, kw_only=True):
    """Everything that can be summed over a session."""

    total_duration_ms: float
    provider_time_ms: float
    proxy_overhead_ms: float
    request_count: int
    total_tokens: TotalTokens
    tool_summary: ToolSummary
    performance: Performance
    estimated_cost: EstimatedCost
    streaming_stats: StreamingStats | None = None
    tree: dict[str, Any] | None = None
    """A session of the agent tree as its JSON reads: its loops without their turns, which are in
    `LoopRecorded`, and the usage of itself and of all that worked for it."""
