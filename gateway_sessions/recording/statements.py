"""The statements that write rows, made for what a batch of them holds.

A statement names no column that it need not: the fewer indexes it touches the better, and
binding a null takes longer than binding any value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from gateway_sessions.recording import tables
from gateway_sessions.recording.tables import TEXTS, Tables

Row = Sequence[Any]


class Table(msgspec.Struct, frozen=True):
    """A table whose rows are read before they are written: it is known which are there."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    """The columns by which a row is the same."""
    fill: tuple[str, ...] = ()
    """Columns that are not read: a null leaves what is there."""

    def insert(self, database: Tables, rows: Sequence[Row]) -> None:
        """Write new rows."""
        if rows:
            columns, rows = _filled(self.columns, rows)
            database.write(_insert(self.name, columns), rows)

    def update(self, database: Tables, changes: Sequence[tuple[Row, Row]]) -> None:
        """Write rows that are there, in those columns in which any of them has changed.

        Each change is the row as it is there, and as it is to be.
        """
        if not changes:
            return
        old, new = (list(zip(*rows, strict=True)) for rows in zip(*changes, strict=True))
        changed = [place for place, values in enumerate(new) if values != old[place]]
        if not changed:
            return
        columns = tuple(self.columns[place] for place in changed)
        keys = [new[self.columns.index(name)] for name in self.key]
        rows = list(zip(*(new[place] for place in changed), *keys, strict=True))
        database.write(_update(self, columns), rows)


class Upsert(msgspec.Struct, frozen=True):
    """How rows are written of which nobody knows whether they are there."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    keep: tuple[str, ...] = ()
    """Columns that a row keeps from when it was first written."""
    fill: tuple[str, ...] = ()
    """Columns that keep their value where the new one is null."""
    own: tuple[str, ...] = ()
    """Columns that change only where ``owned`` is true of the new row."""
    owned: str = ""
    """A condition on ``excluded``, the new row."""
    where: str = ""
    """A condition on ``excluded`` and the row that is there, without which nothing changes."""

    def write(self, database: Tables, rows: Collection[Row]) -> None:
        """Write rows, or change those that are there."""
        if rows:
            columns, rows = _filled(self.columns, rows)
            database.write(_upsert(self, columns), rows)


SESSIONS = Table("sessions", tables.SESSION_COLUMNS, ("session_id",), fill=TEXTS)
EXCHANGES = Table("session_stats", tables.EXCHANGE_COLUMNS, ("session_id", "request_id"))
DAYS = Table("daily_stats", tables.DAY_COLUMNS, tables.FIND_DAYS.by)

TOOLS = Upsert(
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
    owned="excluded.output_size_bytes IS NULL",
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
STREAMS = Upsert(
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

CHUNKS = Upsert(
    "stream_chunks",
    ("session_id", "request_id", "sequence", "elapsed_ms", "size_bytes", "data", "created_at"),
    ("session_id", "request_id", "sequence"),
)

SAID = Upsert(
    "session_texts",
    ("session_id", "request_id", *TEXTS),
    ("session_id", "request_id"),
    fill=TEXTS,
    # What is there already must not be put into the search index anew.
    where="COALESCE(excluded.request_text, '') <> COALESCE(session_texts.request_text, '')"
    " OR COALESCE(excluded.response_text, '') <> COALESCE(session_texts.response_text, '')",
)
DELETE_TEXTS = "DELETE FROM session_texts WHERE session_id = ? AND request_id = ?"

_USAGE = ("input", "output", "reasoning", "cache_read", "cache_write", "total_tokens", "cost_usd")
_NEWER = "excluded.updated_at >= {0}.updated_at"
"""What is written again must not undo what came after it."""

LOOPS = Upsert(
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
    where=_NEWER.format("loops"),
)
TURNS = Upsert(
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
    where=_NEWER.format("turns"),
)
MESSAGES = Upsert(
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
    where=_NEWER.format("messages"),
)
DELETE_MESSAGES = "DELETE FROM messages WHERE session_id = ? AND message_id = ? AND updated_at <= ?"


def _filled(columns: tuple[str, ...], rows: Collection[Row]) -> tuple[tuple[str, ...], list[Row]]:
    """Leave out columns that are null in all rows."""
    values = list(zip(*rows, strict=True))
    kept = [
        place
        for place, column in enumerate(values)
        if column[0] is not None or column.count(None) < len(column)
    ]
    names = tuple(columns[place] for place in kept)
    return names, list(zip(*(values[place] for place in kept), strict=True))


@lru_cache(maxsize=256)
def _insert(table: str, columns: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of ours


@lru_cache(maxsize=256)
def _update(table: Table, columns: tuple[str, ...]) -> str:
    changes = ", ".join(
        f"{name} = COALESCE(?, {name})" if name in table.fill else f"{name} = ?" for name in columns
    )
    condition = " AND ".join(f"{name} = ?" for name in table.key)
    return f"UPDATE {table.name} SET {changes} WHERE {condition}"  # noqa: S608 - as above


@lru_cache(maxsize=256)
def _upsert(upsert: Upsert, columns: tuple[str, ...]) -> str:
    """Return the statement for rows with some of the columns; the others are null in all."""
    table = upsert.table
    changes = []
    for column in upsert.columns:
        if column in upsert.key or column in upsert.keep:
            continue
        value = f"excluded.{column}"
        if column in upsert.fill:
            value = f"COALESCE({value}, {table}.{column})"
        elif column in upsert.own:
            value = f"CASE WHEN {upsert.owned} THEN {value} ELSE {table}.{column} END"
        changes.append(f"{column} = {value}")
    condition = f" WHERE {upsert.where}" if upsert.where else ""
    return (
        f"{_insert(table, columns)} ON CONFLICT ({', '.join(upsert.key)})"
        f" DO UPDATE SET {', '.join(changes)}{condition}"
    )
