"""What a search finds, as values: rows, pages, sums, one session with all it holds.

Field names are those of the tables.  Times are RFC 3339 in UTC, durations milliseconds, sizes
bytes, costs US dollars; None is what was not recorded, as a cost whose price nobody knows.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all results; `msgspec.json` and `msgspec.to_builtins` take them as they are."""


class SessionRow(Result, frozen=True, kw_only=True):
    """A session, without its texts but for the beginning of what was asked."""

    session_id: str
    parent_session_id: str | None
    root_session_id: str | None
    request_id: str | None
    """Of its last request."""
    started_at: str
    last_active_at: str | None
    completed_at: str | None
    """None while it may go on."""
    provider: str | None
    listener: str | None
    model_requested: str | None
    model_used: str | None
    success: bool | None
    error_message: str | None
    finish_reason: str | None
    request_count: int
    total_duration_ms: float | None
    provider_latency_ms: float | None
    proxy_overhead_ms: float | None
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    reasoning_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    total_tokens: int
    cost_usd: float | None
    client_ip: str | None
    user_agent: str | None
    is_streaming: bool
    time_to_first_token_ms: float | None
    chunk_count: int | None
    streaming_duration_ms: float | None
    title: str | None
    excerpt: str | None
    """The beginning of the newest request's text."""


class Page(Result, frozen=True, kw_only=True):
    """One page of sessions."""

    sessions: tuple[SessionRow, ...]
    total: int
    """Sessions on all pages together."""
    page: int
    page_size: int
    pages: int
    """At least 1."""


class Latency(Result, frozen=True, kw_only=True):
    """Percentiles of the provider's time per exchange, by nearest rank; None of none."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Sums(Result, frozen=True, kw_only=True):
    """Sums over the exchanges of some sessions, or of a part of them."""

    sessions: int
    requests: int
    errors: int
    """Requests that failed."""
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    reasoning_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    total_tokens: int
    cost_usd: float | None
    """Of the requests whose price is known; None where there is none."""
    unpriced_requests: int
    """Requests with tokens that ``cost_usd`` lacks."""
    latency: Latency


class Group(Result, frozen=True, kw_only=True):
    """The sums of one session, model, provider or day."""

    key: str
    sums: Sums
    label: str | None = None
    """Of a session: its title, or the beginning of its text."""


class ToolGroup(Result, frozen=True, kw_only=True):
    """The calls of one tool."""

    key: str
    sessions: int
    calls: int
    answered: int
    """Calls whose result was seen."""
    errors: int
    avg_execution_time_ms: float | None
    """Of those answered; an upper bound where the client does not report its own."""
    p95_execution_time_ms: float | None
    input_size_bytes: int
    output_size_bytes: int


class Exchange(Result, frozen=True, kw_only=True):
    """One request of a session and its response."""

    session_id: str
    request_id: str
    created_at: str
    model_name: str | None
    relation: str | None
    source: str | None
    confidence: float | None
    status: int | None
    success: bool | None
    error_message: str | None
    finish_reason: str | None
    total_duration_ms: float | None
    provider_latency_ms: float | None
    proxy_overhead_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    thinking_tokens: int | None
    reasoning_tokens: int | None
    cache_read_tokens: int | None
    cache_creation_tokens: int | None
    total_tokens: int | None
    tokens_per_second: float | None
    message_count: int | None
    has_tools: bool | None
    has_refusal: bool | None
    cost_usd: float | None
    request_text: str | None
    response_text: str | None


class ToolCall(Result, frozen=True, kw_only=True):
    """One call of a tool."""

    session_id: str
    request_id: str
    """Of the exchange whose reply holds the call."""
    tool_call_id: str
    tool_name: str
    tool_arguments: str | None
    created_at: str
    execution_time_ms: float | None
    input_size_bytes: int | None
    output_size_bytes: int | None
    success: bool | None


class Detail(Result, frozen=True, kw_only=True):
    """One session with everything that is recorded of it."""

    session: SessionRow
    exchanges: tuple[Exchange, ...]
    tool_calls: tuple[ToolCall, ...]
    streams: tuple[dict[str, Any], ...]
    """Rows of ``stream_events``, one per streamed exchange."""
    children: tuple[str, ...]
    """Sessions that this one started."""
