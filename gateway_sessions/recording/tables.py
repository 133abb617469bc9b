"""Rows as they stand in the tables of sessions, and what is asked of a database about them.

A row's fields are its table's columns.  Statements have ``?`` where values go; a database that
writes placeholders in another way replaces them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

import msgspec

Key = tuple[str, ...]


class Tables(Protocol):
    """A database in the middle of a transaction that keeps other writers out."""

    def find(self, select: Select, keys: Collection[Key]) -> Iterable[Sequence[Any]]:
        """Return the rows that have one of some keys, in no particular order."""

    def has(self, sql: str, values: Sequence[Any]) -> bool:
        """Tell whether a query finds anything."""

    def write(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        """Run a statement once per row."""


class Select(msgspec.Struct, frozen=True):
    """What to read of a table, and by which columns rows are looked up."""

    table: str
    columns: tuple[str, ...]
    by: tuple[str, ...]


class Sums(msgspec.Struct, kw_only=True):
    """What exchanges, sessions and days have in common; zero where a sum has no part."""

    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    reasoning_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float | None = None
    """None where nothing has a price."""


class SessionRow(Sums, kw_only=True):
    """A row of ``sessions``.  Texts that are None leave those in the database as they are."""

    session_id: str
    parent_session_id: str | None = None
    root_session_id: str
    request_id: str | None = None
    started_at: str
    last_active_at: str
    completed_at: str | None = None
    provider: str | None = None
    listener: str | None = None
    model_requested: str | None = None
    model_used: str | None = None
    success: int | None = None
    error_message: str | None = None
    finish_reason: str | None = None
    request_count: int = 0
    total_duration_ms: float = 0
    provider_latency_ms: float = 0
    proxy_overhead_ms: float = 0
    client_ip: str | None = None
    user_agent: str | None = None
    is_streaming: int = 0
    chunk_count: int = 0
    streaming_duration_ms: float = 0
    title: str | None = None
    created_at: str
    request_text: str | None = None
    response_text: str | None = None


class ExchangeRow(msgspec.Struct, kw_only=True):
    """A row of ``session_stats``; None is what is not known, or not yet."""

    session_id: str
    request_id: str
    model_name: str | None = None
    created_at: str
    provider: str | None = None
    model_requested: str | None = None
    relation: str | None = None
    source: str | None = None
    confidence: float | None = None
    pre_processing_ms: float | None = None
    post_processing_ms: float | None = None
    proxy_overhead_ms: float | None = None
    provider_latency_ms: float | None = None
    total_duration_ms: float | None = None
    time_to_first_token_ms: float | None = None
    streaming_duration_ms: float | None = None
    chunk_count: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    thinking_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    total_tokens: int | None = None
    estimated_tokens: int | None = None
    tokens_per_second: float | None = None
    thinking_percentage: float | None = None
    request_size_bytes: int | None = None
    response_size_bytes: int | None = None
    message_count: int | None = None
    history_messages: int | None = None
    content_blocks: int | None = None
    has_system_prompt: int | None = None
    has_tools: int | None = None
    tool_count: int | None = None
    tool_call_count: int | None = None
    has_refusal: int | None = None
    is_streaming: int | None = None
    cost_usd: float | None = None
    status: int | None = None
    success: int | None = None
    error_message: str | None = None
    finish_reason: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it is part of its day's sums: it came to an end, or to an answer."""
        return self.status is not None or self.success is not None


class DayRow(Sums, kw_only=True):
    """A row of ``daily_stats``."""

    day: str
    provider: str
    model_name: str
    requests: int = 0
    sessions: int = 0
    errors: int = 0
    provider_latency_ms: float = 0
    proxy_overhead_ms: float = 0
    total_duration_ms: float = 0
    max_latency_ms: float = 0


def _columns(row: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(row))


TEXTS = ("request_text", "response_text")
"""Columns that hold what was said."""

SESSION_COLUMNS = _columns(SessionRow)
FIND_SESSIONS = Select(
    "sessions", tuple(c for c in SESSION_COLUMNS if c not in TEXTS), ("session_id",)
)
"""Without the texts, which may be large and are only ever replaced."""
EXCHANGE_COLUMNS = _columns(ExchangeRow)
FIND_EXCHANGES = Select("session_stats", EXCHANGE_COLUMNS, ("session_id", "request_id"))
DAY_COLUMNS = _columns(DayRow)
FIND_DAYS = Select("daily_stats", DAY_COLUMNS, ("day", "provider", "model_name"))

COUNTED_ON_DAY = """
SELECT 1 FROM session_stats
WHERE session_id = ? AND created_at >= ? AND created_at <= ?
    AND COALESCE(provider, '') = ? AND COALESCE(model_name, '') = ?
    AND (status IS NOT NULL OR success IS NOT NULL)
LIMIT 1"""
"""Whether a session is among those that a day's row counts."""
