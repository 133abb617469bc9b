"""Sums and groups of recorded sessions: by session, model, provider, tool and day.

A filter chooses sessions; a chosen session counts with all its requests.
"""

from __future__ import annotations

import itertools
import math
import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from gateway_sessions.storage.filters import MAX_PAGE_SIZE, SessionFilter
from gateway_sessions.storage.queries import Clause
from gateway_sessions.storage.results import Group, Latency, Result, Sums, ToolGroup
from gateway_sessions.storage.row_values import rfc3339
from gateway_sessions.storage.search import asked, chosen

Grouping = Literal["session", "model", "provider", "tool", "day"]
"""What a report can be by."""
SlotLength = Literal["hour", "day", "month"]

UNKNOWN_MODEL = "(unknown)"
"""Of requests that name none and got no answer."""
TOP = 20
"""Sessions in a report, the most expensive ones."""
_HOURS_UP_TO = timedelta(hours=48)
_DAYS_UP_TO = timedelta(days=92)
"""Longer times are cut into longer slots, so that a plot has at most about a hundred."""
_BINS_A_DECADE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


class Slot(Result, frozen=True, kw_only=True):
    """One model's share of one hour, day or month."""

    at: str
    """``2026-01-31 13``, ``2026-01-31`` or ``2026-01``, in UTC."""
    model: str
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    cost_usd: float | None


class Bin(Result, frozen=True, kw_only=True):
    """How many exchanges took from ``low_ms`` to less than ``high_ms``."""

    low_ms: float
    high_ms: float
    count: int


class Report(Result, frozen=True, kw_only=True):
    """Cost, tokens, latency and tools of some sessions."""

    generated_at: str
    first_at: str | None
    """The first exchange's time; None if there is none."""
    last_at: str | None
    total: Sums
    days: tuple[Group, ...]
    models: tuple[Group, ...]
    providers: tuple[Group, ...]
    sessions: tuple[Group, ...]
    """The most expensive ones."""
    tools: tuple[ToolGroup, ...]
    slot: SlotLength
    slots: tuple[Slot, ...]
    latencies: tuple[Bin, ...]


_MODEL = f"COALESCE(e.model_name, e.model_requested, '{UNKNOWN_MODEL}')"
_KEYS: dict[Grouping, str] = {
    "session": "e.session_id",
    "model": _MODEL,
    "provider": "COALESCE(e.provider, 'other')",
    "day": "substr(e.created_at, 1, 10)",
}
_SUMS = """
    COUNT(DISTINCT e.session_id), COUNT(*) AS requests, COALESCE(SUM(e.success = 0), 0),
    COALESCE(SUM(e.input_tokens), 0), COALESCE(SUM(e.output_tokens), 0),
    COALESCE(SUM(e.thinking_tokens), 0), COALESCE(SUM(e.reasoning_tokens), 0),
    COALESCE(SUM(e.cache_read_tokens), 0), COALESCE(SUM(e.cache_creation_tokens), 0),
    COALESCE(SUM(e.total_tokens), 0), SUM(e.cost_usd) AS cost_usd,
    COALESCE(SUM(e.cost_usd IS NULL AND e.total_tokens > 0), 0)
"""
_SLOT_LENGTHS: dict[SlotLength, int] = {"hour": 13, "day": 10, "month": 7}
"""Characters of a time that say which slot it lies in."""


class Reports:
    """Sums over what one database holds, over one connection that reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Ask over a connection; it stays the caller's to close."""
        self._connection = connection

    def report(self, wanted: SessionFilter, now: datetime, top: int = TOP) -> Report:
        """Return everything that a report shows; ``top`` sessions at most."""
        where = asked(self._connection, wanted)
        first, last = self._read(
            f"SELECT MIN(e.created_at), MAX(e.created_at) FROM session_stats e"
            f" WHERE {chosen('e', where)}",
            where,
        )[0]
        slot = _slot_length(first, last)
        latencies = self._by_key(_latency("''"), where).get("", [])
        return Report(
            generated_at=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            first_at=rfc3339(first),
            last_at=rfc3339(last),
            total=self.sums(wanted),
            days=self.groups("day", wanted),
            models=self.groups("model", wanted),
            providers=self.groups("provider", wanted),
            sessions=self.groups("session", wanted, top),
            tools=self.tools(wanted),
            slot=slot,
            slots=self._slots(where, slot),
            latencies=bins(latencies),
        )

    def sums(self, wanted: SessionFilter) -> Sums:
        """Return the sums over all sessions that a filter finds."""
        where = asked(self._connection, wanted)
        latencies = self._by_key(_latency("''"), where).get("", [])
        row = self._read(f"SELECT {_SUMS} FROM session_stats e WHERE {chosen('e', where)}", where)
        return _sums(row[0], latencies)

    def groups(
        self, by: Grouping, wanted: SessionFilter, limit: int | None = None
    ) -> tuple[Group, ...]:
        """Return the sums of each session, model, provider or day.

        Days are in their order; of others the highest cost comes first, then the most requests.
        There are at most ``limit`` of them; of sessions `TOP` unless it says otherwise, and never
        more than `MAX_PAGE_SIZE`.
        """
        if by == "session":
            limit = min(TOP if limit is None else limit, MAX_PAGE_SIZE)
        where, key = asked(self._connection, wanted), _KEYS[by]
        ranking = "1" if by == "day" else "cost_usd DESC NULLS LAST, requests DESC, 1"
        rows = self._read(
            f"SELECT {key}, {_SUMS} FROM session_stats e WHERE {chosen('e', where)}"
            f" GROUP BY 1 ORDER BY {ranking} LIMIT ?",
            where,
            -1 if limit is None else limit,
        )
        names = [row[0] for row in rows]
        if by == "session":
            # Only those that are shown: there may be many more.
            marks = ", ".join("?" * len(names))
            where = Clause(f"s.session_id IN ({marks})", tuple(names))
        latencies = self._by_key(_latency(key), where)
        labels = self._labels(names) if by == "session" else {}
        return tuple(
            Group(
                key=name,
                sums=_sums(row[1:], latencies.get(name, [])),
                label=labels.get(name),
            )
            for name, row in zip(names, rows, strict=True)
        )

    def tools(self, wanted: SessionFilter, limit: int | None = None) -> tuple[ToolGroup, ...]:
        """Return the calls of each tool, those called most first."""
        where = asked(self._connection, wanted)
        rows = self._read(
            "SELECT c.tool_name, COUNT(DISTINCT c.session_id), COUNT(*),"
            " COUNT(c.output_size_bytes), COALESCE(SUM(c.success = 0), 0),"
            " COALESCE(SUM(c.input_size_bytes), 0), COALESCE(SUM(c.output_size_bytes), 0)"
            f" FROM tool_call_executions c WHERE {chosen('c', where)}"
            " GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT ?",
            where,
            -1 if limit is None else limit,
        )
        times = self._by_key(
            "SELECT c.tool_name, c.execution_time_ms FROM tool_call_executions c"
            " WHERE c.execution_time_ms IS NOT NULL AND {}",
            where,
            "c",
        )
        return tuple(_tool(row, times.get(row[0], [])) for row in rows)

    def _labels(self, session_ids: Sequence[str]) -> dict[str, str | None]:
        marks = ", ".join("?" * len(session_ids))
        sql = f"SELECT session_id, title FROM sessions WHERE session_id IN ({marks})"
        return dict(self._connection.execute(sql, tuple(session_ids)).fetchall())

    def _slots(self, where: Clause, length: SlotLength) -> tuple[Slot, ...]:
        rows = self._read(
            f"SELECT substr(e.created_at, 1, {_SLOT_LENGTHS[length]}), {_MODEL}, COUNT(*),"
            " COALESCE(SUM(e.success = 0), 0), COALESCE(SUM(e.input_tokens), 0),"
            " COALESCE(SUM(e.cache_read_tokens), 0), COALESCE(SUM(e.output_tokens), 0),"
            " COALESCE(SUM(e.thinking_tokens), 0), SUM(e.cost_usd)"
            f" FROM session_stats e WHERE {chosen('e', where)} GROUP BY 1, 2 ORDER BY 1, 2",
            where,
        )
        return tuple(Slot(**dict(zip(Slot.__struct_fields__, row, strict=True))) for row in rows)

    def _by_key(self, sql: str, where: Clause, table: str = "e") -> dict[str, list[float]]:
        """Return numbers by their key, each list in ascending order."""
        found: dict[str, list[float]] = {}
        for key, number in self._read(sql.format(chosen(table, where)), where):
            found.setdefault(key, []).append(number)
        for numbers in found.values():
            numbers.sort()
        return found

    def _read(self, sql: str, where: Clause, *more: int) -> list[Any]:
        return self._connection.execute(sql, (*where.values, *more)).fetchall()


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return a percentile of numbers in ascending order, by nearest rank; None of none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def bins(ordered: Sequence[float]) -> tuple[Bin, ...]:
    """Return how many of some times, in ascending order, lie in each of some spans.

    Spans grow with the times, about six for a tenfold, from the shortest time to the longest.
    """
    if not ordered:
        return ()
    edges = [0.0, 1.0]
    while edges[-1] <= ordered[-1]:
        decade, place = divmod(len(edges) - 1, len(_BINS_A_DECADE))
        edges.append(_BINS_A_DECADE[place] * 10.0**decade)
    found: list[Bin] = []
    below = 0
    for low, high in itertools.pairwise(edges):
        upto = bisect_left(ordered, high)
        if found or upto:
            found.append(Bin(low_ms=low, high_ms=high, count=upto - below))
        below = upto
    return tuple(found)


def _latency(key: str) -> str:
    return (
        f"SELECT {key}, e.provider_latency_ms FROM session_stats e"
        " WHERE e.provider_latency_ms IS NOT NULL AND {}"
    )


def _sums(row: Sequence[Any], latencies: Sequence[float]) -> Sums:
    names = [name for name in Sums.__struct_fields__ if name != "latency"]
    p50, p95, p99 = (percentile(latencies, percent) for percent in (50, 95, 99))
    latency = Latency(p50_ms=p50, p95_ms=p95, p99_ms=p99)
    return Sums(latency=latency, **dict(zip(names, row, strict=True)))


def _tool(row: Sequence[Any], times: Sequence[float]) -> ToolGroup:
    key, sessions, calls, answered, errors, sent, returned = row
    return ToolGroup(
        key=key,
        sessions=sessions,
        calls=calls,
        answered=answered,
        errors=errors,
        avg_execution_time_ms=sum(times) / len(times) if times else None,
        p95_execution_time_ms=percentile(times, 95),
        input_size_bytes=sent,
        output_size_bytes=returned,
    )


def _slot_length(first: str | None, last: str | None) -> SlotLength:
    if first is None or last is None:
        return "day"
    length = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    if length <= _HOURS_UP_TO:
        return "hour"
    return "day" if length <= _DAYS_UP_TO else "month"
