"""What models and tools did in a period, read as sparingly as `figures` does."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from gateway_sessions import Latency, Slot, ToolGroup, percentile
from interceptors.dashboard.figures import (
    NEWEST_EXCHANGE,
    Period,
    by_cost,
    latency_of,
    slots_of,
    sums_of,
    text_time,
)

CALLS_READ = 20_000
"""Newest tool calls that are looked through."""
OF_MODEL = 500
"""Newest exchanges that stand for a model's latencies."""
MODELS = 40
"""Models in a table; who uses more wants those that cost most."""
TOOLS = 60


class ModelUse(msgspec.Struct, frozen=True, kw_only=True):
    """One model in a period."""

    model: str
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    cost_usd: float | None
    latency: Latency
    """Of its newest requests."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Models and tools in a period."""

    period: str
    models: tuple[ModelUse, ...]
    tools: tuple[ToolGroup, ...]


NEWEST_CALL = "SELECT id FROM tool_call_executions ORDER BY id DESC LIMIT 1"
LATENCY_OF_MODEL = (
    "SELECT provider_latency_ms FROM session_stats WHERE model_name = ? AND created_at >= ?"
    " AND provider_latency_ms IS NOT NULL ORDER BY created_at DESC LIMIT ?"
)
CALLS = (
    "SELECT tool_name, session_id, output_size_bytes IS NOT NULL, success = 0,"
    " execution_time_ms, input_size_bytes, output_size_bytes FROM tool_call_executions"
    " WHERE id > ? AND created_at >= ?"
)


def use(connection: sqlite3.Connection, period: Period, now: datetime) -> Use:
    """Return what models and tools did in a period."""
    newest, _ = connection.execute(NEWEST_EXCHANGE).fetchone() or (0, None)
    since = text_time(now - period.length)
    slots, _ = slots_of(connection, period, newest, since)
    of_model: dict[str, list[Slot]] = defaultdict(list)
    for slot in slots:
        of_model[slot.model].append(slot)
    models = tuple(
        _model(name, of_model[name], _latencies(connection, name, since))
        for name in by_cost(slots)[:MODELS]
    )
    return Use(period=period.name, models=models, tools=_tools(connection, since))


def _latencies(connection: sqlite3.Connection, model: str, since: str) -> list[float]:
    return sorted(row[0] for row in connection.execute(LATENCY_OF_MODEL, (model, since, OF_MODEL)))


def _model(name: str, slots: Sequence[Slot], latencies: Sequence[float]) -> ModelUse:
    sums = sums_of(slots, 0)
    return ModelUse(
        model=name,
        requests=sums.requests,
        errors=sums.errors,
        input_tokens=sums.input_tokens,
        cache_read_tokens=sums.cache_read_tokens,
        output_tokens=sums.output_tokens,
        thinking_tokens=sums.thinking_tokens,
        cost_usd=sums.cost_usd,
        latency=latency_of(latencies),
    )


def _tools(connection: sqlite3.Connection, since: str) -> tuple[ToolGroup, ...]:
    (newest,) = connection.execute(NEWEST_CALL).fetchone() or (0,)
    calls: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for name, *call in connection.execute(CALLS, (newest - CALLS_READ, since)):
        calls[name].append(tuple(call))
    groups = [_tool(name, found) for name, found in calls.items()]
    return tuple(sorted(groups, key=lambda tool: (-tool.calls, tool.key))[:TOOLS])


def _tool(name: str, calls: Sequence[tuple[object, ...]]) -> ToolGroup:
    sessions, answered, failed, times, sent, returned = zip(*calls, strict=True)
    known = sorted(time for time in times if isinstance(time, float | int))
    return ToolGroup(
        key=name,
        sessions=len(set(sessions)),
        calls=len(calls),
        answered=sum(map(bool, answered)),
        errors=sum(map(bool, failed)),
        avg_execution_time_ms=sum(known) / len(known) if known else None,
        p95_execution_time_ms=percentile(known, 95),
        input_size_bytes=_total(sent),
        output_size_bytes=_total(returned),
    )


def _total(sizes: Iterable[object]) -> int:
    return sum(size for size in sizes if isinstance(size, int))
