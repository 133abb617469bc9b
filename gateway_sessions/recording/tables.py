"""Rows as they stand in the tables of sessions, and the statements that read and write them.

A row's fields are its table's columns, in the order of the statements here.  Statements have
``?`` where values go; a database that writes placeholders in another way replaces them.
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


def _upsert(
    table: str,
    columns: Sequence[str],
    key: Sequence[str],
    *,
    keep: Collection[str] = (),
    fill: Collection[str] = (),
    own: Collection[str] = (),
    where: str = "",
) -> str:
    """Return a statement that writes a row, or changes the one that is there.

    Args:
        table: its name.
        columns: what the statement takes, in this order.
        key: the columns by which a row is the same.
        keep: columns that a row keeps from when it was first written.
        fill: columns that keep their value where the new one is null.
        own: columns that change only when ``where`` is true of the new row.
        where: a condition on ``excluded``, the new row.
    """
    changes = []
    for column in columns:
        if column in key or column in keep:
            continue
        value = f"excluded.{column}"
        if column in fill:
            value = f"COALESCE({value}, {table}.{column})"
        elif column in own:
            value = f"CASE WHEN {where} THEN {value} ELSE {table}.{column} END"
        changes.append(f"{column} = {value}")
    return (
        f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608 - names of this module
        f" VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(changes)}"
    )


_TEXTS = ("request_text", "response_text")

SESSION_COLUMNS = _columns(SessionRow)
FIND_SESSIONS = Select(
    "sessions", tuple(c for c in SESSION_COLUMNS if c not in _TEXTS), ("session_id",)
)
"""Without the texts, which may be large and are only ever replaced."""
WRITE_SESSIONS = _upsert(
    "sessions", SESSION_COLUMNS, ("session_id",), keep=("created_at",), fill=_TEXTS
)

SETTLED_COLUMNS = (
    "parent_session_id",
    "root_session_id",
    "started_at",
    "provider",
    "listener",
    "model_used",
    "client_ip",
    "user_agent",
    "title",
    "created_at",
)
"""What seldom changes after a session's first exchange.  Most indexes are on these columns, and
leaving them alone spares a third of the pages that an exchange would touch."""
PROGRESS_COLUMNS = tuple(c for c in SESSION_COLUMNS if c not in (*SETTLED_COLUMNS, "session_id"))
WRITE_PROGRESS = (
    "UPDATE sessions SET "  # noqa: S608 - names of this module
    + ", ".join(f"{c} = COALESCE(?, {c})" if c in _TEXTS else f"{c} = ?" for c in PROGRESS_COLUMNS)
    + " WHERE session_id = ?"
)
"""Of a session whose settled columns stay what they are."""

EXCHANGE_COLUMNS = _columns(ExchangeRow)
FIND_EXCHANGES = Select("session_stats", EXCHANGE_COLUMNS, ("session_id", "request_id"))
WRITE_EXCHANGES = _upsert(
    "session_stats", EXCHANGE_COLUMNS, ("session_id", "request_id"), keep=("created_at",)
)

DAY_COLUMNS = _columns(DayRow)
_DAY_KEY = ("day", "provider", "model_name")
FIND_DAYS = Select("daily_stats", DAY_COLUMNS, _DAY_KEY)
WRITE_DAYS = _upsert("daily_stats", DAY_COLUMNS, _DAY_KEY)

COUNTED_ON_DAY = """
SELECT 1 FROM session_stats
WHERE session_id = ? AND created_at >= ? AND created_at <= ?
    AND COALESCE(provider, '') = ? AND COALESCE(model_name, '') = ?
    AND (status IS NOT NULL OR success IS NOT NULL)
LIMIT 1"""
"""Whether a session is among those that a day's row counts."""

WRITE_TOOLS = _upsert(
    "tool_call_executions",
    (
        "session_id",
        "request_id",
        "tool_call_id",
        "tool_name",
        "tool_arguments",
        "execution_time_ms",
        "input_size_bytes",
        "output_size_bytes",
        "success",
        "created_at",
        "model_name",
    ),
    ("session_id", "tool_call_id"),
    keep=("tool_name",),
    fill=("tool_arguments", "execution_time_ms", "output_size_bytes", "success"),
    # A result comes with a later exchange than its call; the row tells of the call's.
    own=("request_id", "created_at", "model_name", "input_size_bytes"),
    where="excluded.output_size_bytes IS NULL",
)

STREAM_COLUMNS = (
    "session_id",
    "request_id",
    "model_name",
    "time_to_first_token_ms",
    "chunk_count",
    "streaming_duration_ms",
    "avg_chunk_latency_ms",
    "p50_chunk_latency_ms",
    "p95_chunk_latency_ms",
    "p99_chunk_latency_ms",
    "max_chunk_latency_ms",
    "min_chunk_latency_ms",
    "created_at",
)
WRITE_STREAMS = _upsert(
    "stream_events",
    STREAM_COLUMNS,
    ("session_id", "request_id"),
    keep=("created_at",),
    fill=STREAM_COLUMNS,
)
WRITE_MEAN_START = """
UPDATE sessions SET time_to_first_token_ms = (
    SELECT AVG(time_to_first_token_ms) FROM stream_events
    WHERE stream_events.session_id = sessions.session_id)
WHERE session_id = ?"""
"""The mean over a session's streams, which no sum of the session would give."""

WRITE_CHUNKS = _upsert(
    "stream_chunks",
    ("session_id", "request_id", "sequence", "elapsed_ms", "size_bytes", "data", "created_at"),
    ("session_id", "request_id", "sequence"),
)

WRITE_TEXTS = (
    _upsert(
        "session_texts",
        ("session_id", "request_id", *_TEXTS),
        ("session_id", "request_id"),
        fill=_TEXTS,
    )
    # What is there already must not be put into the search index anew.
    + " WHERE COALESCE(excluded.request_text, '') <> COALESCE(session_texts.request_text, '')"
    " OR COALESCE(excluded.response_text, '') <> COALESCE(session_texts.response_text, '')"
)

_USAGE = ("input", "output", "reasoning", "cache_read", "cache_write", "total_tokens", "cost_usd")
_NEWER = " WHERE excluded.updated_at >= {0}.updated_at"
"""What is written again must not undo what came after it."""

WRITE_LOOPS = _upsert(
    "loops",
    (
        "loop_id",
        "session_id",
        "agent_id",
        "parent_loop_id",
        "continuation_kind",
        "continuation_tag",
        "started_at",
        "ended_at",
        "status",
        "rejection",
        "config",
        "metadata",
        "spawn_ref",
        "children_loop_ids",
        "child_loop_refs",
        "parallel_group",
        "compaction_block",
        "turn_count",
        "tool_calls",
        *_USAGE,
        "record",
        "updated_at",
    ),
    ("loop_id",),
    fill=("compaction_block",),  # told once
) + _NEWER.format("loops")
WRITE_TURNS = _upsert(
    "turns",
    (
        "loop_id",
        "turn_index",
        "session_id",
        "request_id",
        "triggered_by",
        "started_at",
        "ended_at",
        "attempts",
        "has_tool_calls",
        "tool_results",
        *_USAGE,
        "record",
        "updated_at",
    ),
    ("loop_id", "turn_index"),
) + _NEWER.format("turns")

WRITE_MESSAGES = _upsert(
    "messages",
    (
        "session_id",
        "message_id",
        "role",
        "content",
        "content_characters",
        "model",
        "parent_id",
        "metadata",
        "is_complete",
        "created_at",
        "updated_at",
    ),
    ("session_id", "message_id"),
) + _NEWER.format("messages")
DELETE_MESSAGES = "DELETE FROM messages WHERE session_id = ? AND message_id = ? AND updated_at <= ?"
DELETE_TEXTS = "DELETE FROM session_texts WHERE session_id = ? AND request_id = ?"
