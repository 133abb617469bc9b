"""The figures of a period: sums, slots of time, latencies, and how requests found their session.

However much is recorded, few rows are read.  Of an hour or a day these are the newest exchanges,
found by their numbers; of longer times the sums that are kept by day.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gateway_sessions import UNKNOWN_MODEL, Bin, Latency, Slot, bins, percentile

NEWEST = 20_000
"""Exchanges that are looked through at most."""
SAMPLE = 2_000
"""Newest exchanges of a period that stand for its latencies and sources."""
LATEST = 8
"""Sessions that the overview names."""


class Period(msgspec.Struct, frozen=True):
    """A length of time up to now."""

    name: str
    label: str
    length: timedelta
    slot: str
    """What its plots are cut into."""
    digits: int
    """Characters of a time that name a slot."""

    @property
    def by_day(self) -> bool:
        """Whether it is read from the sums that are kept by day."""
        return self.slot == "day"


PERIODS = {
    period.name: period
    for period in (
        Period("hour", "Hour", timedelta(hours=1), "minute", 16),
        Period("day", "24 hours", timedelta(hours=24), "hour", 13),
        Period("week", "7 days", timedelta(days=7), "day", 10),
        Period("month", "30 days", timedelta(days=30), "day", 10),
        Period("quarter", "90 days", timedelta(days=90), "day", 10),
    )
}
DEFAULT = "day"


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the exchanges of a period."""

    sessions: int
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    total_tokens: int
    cost_usd: float | None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests one rule put into their session."""

    source: str
    requests: int


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """A session that began lately."""

    session_id: str
    title: str | None
    started_at: str
    model: str | None
    requests: int
    total_tokens: int
    cost_usd: float | None
    success: bool | None
    is_live: bool


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A period in figures.  Times are UTC, costs US dollars, durations milliseconds."""

    period: str
    active_sessions: int
    requests_per_second: float
    """Over the last minute."""
    sums: Sums
    slots: tuple[Slot, ...]
    models: tuple[str, ...]
    """Those that cost most first."""
    sampled: int
    """Newest exchanges that latencies and sources are of."""
    is_cut: bool
    """Whether the period has more exchanges than are looked through."""
    latency: Latency
    latencies: tuple[Bin, ...]
    sources: tuple[Source, ...]
    known: int
    """Of those sampled, requests that went on with a session that was known."""
    sessions: tuple[Latest, ...]
    newest_at: str | None
    """The newest exchange's time, whether in the period or not."""


_MODEL = f"COALESCE(model_name, model_requested, '{UNKNOWN_MODEL}')"

NEWEST_EXCHANGE = "SELECT id, created_at FROM session_stats ORDER BY id DESC LIMIT 1"
SLOTS = (
    f"SELECT substr(created_at, 1, ?), {_MODEL}, COUNT(*), COALESCE(SUM(success = 0), 0),"  # noqa: S608 - our own words
    " COALESCE(SUM(input_tokens), 0), COALESCE(SUM(cache_read_tokens), 0),"
    " COALESCE(SUM(output_tokens), 0), COALESCE(SUM(thinking_tokens), 0), SUM(cost_usd)"
    " FROM session_stats WHERE id > ? AND created_at >= ? GROUP BY 1, 2"
)
DAYS = (
    "SELECT day, model_name, SUM(requests), SUM(errors), SUM(input_tokens),"
    " SUM(cache_read_tokens), SUM(output_tokens), SUM(thinking_tokens), SUM(cost_usd)"
    " FROM daily_stats WHERE day >= ? GROUP BY 1, 2"
)
SESSIONS = "SELECT COUNT(DISTINCT session_id) FROM session_stats WHERE id > ? AND created_at >= ?"
SESSIONS_BY_DAY = "SELECT COALESCE(SUM(sessions), 0) FROM daily_stats WHERE day >= ?"
RATE = "SELECT COUNT(*) FROM session_stats WHERE id > ? AND created_at >= ?"
SAMPLED = (
    "SELECT provider_latency_ms, source, relation FROM session_stats"
    " WHERE id > ? AND created_at >= ?"
)
STARTED = (
    "SELECT session_id, title, started_at, COALESCE(model_used, model_requested), request_count,"
    " total_tokens, cost_usd, success, completed_at IS NULL FROM sessions"
    " ORDER BY created_at DESC LIMIT ?"
)


def overview(
    connection: sqlite3.Connection, period: Period, now: datetime, active_sessions: int
) -> Overview:
    """Return a period's figures; ``active_sessions`` is what the gateway says of itself."""
    newest, newest_at = connection.execute(NEWEST_EXCHANGE).fetchone() or (0, None)
    since = text_time(now - period.length)
    slots, sessions = slots_of(connection, period, newest, since)
    sums = sums_of(slots, sessions)
    minute_ago = text_time(now - timedelta(minutes=1))
    (last_minute,) = connection.execute(RATE, (newest - NEWEST, minute_ago)).fetchone()
    rows = connection.execute(SAMPLED, (newest - SAMPLE, since)).fetchall()
    latencies = sorted(latency for latency, _, _ in rows if latency is not None)
    sources = Counter(source or "unknown" for _, source, _ in rows)
    return Overview(
        period=period.name,
        active_sessions=active_sessions,
        requests_per_second=last_minute / 60,
        sums=sums,
        slots=slots,
        models=tuple(by_cost(slots)),
        sampled=len(rows),
        is_cut=not period.by_day and sums.requests >= NEWEST,
        latency=latency_of(latencies),
        latencies=bins(latencies),
        sources=tuple(Source(source=name, requests=n) for name, n in sources.most_common()),
        known=sum(relation not in ("first", None) for _, _, relation in rows),
        sessions=tuple(_latest(row) for row in connection.execute(STARTED, (LATEST,))),
        newest_at=newest_at,
    )


def text_time(moment: datetime) -> str:
    """Return a time as the tables hold it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def latency_of(ordered: Sequence[float]) -> Latency:
    """Return the percentiles of times in ascending order."""
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Latency(p50_ms=p50, p95_ms=p95, p99_ms=p99)


def slots_of(
    connection: sqlite3.Connection, period: Period, newest: int, since: str
) -> tuple[tuple[Slot, ...], int]:
    """Return the slots of a period, and how many sessions it had."""
    if period.by_day:
        day = since[:10]
        rows = connection.execute(DAYS, (day,)).fetchall()
        (sessions,) = connection.execute(SESSIONS_BY_DAY, (day,)).fetchone()
    else:
        bounds = (newest - NEWEST, since)
        rows = connection.execute(SLOTS, (period.digits, *bounds)).fetchall()
        (sessions,) = connection.execute(SESSIONS, bounds).fetchone()
    names = Slot.__struct_fields__
    return tuple(Slot(**dict(zip(names, row, strict=True))) for row in rows), sessions


def sums_of(slots: Iterable[Slot], sessions: int) -> Sums:
    """Return the sums over slots; ``sessions`` is known elsewhere."""
    held = list(slots)
    read = sum(slot.input_tokens for slot in held)
    said = sum(slot.output_tokens for slot in held)
    return Sums(
        sessions=sessions,
        requests=sum(slot.requests for slot in held),
        errors=sum(slot.errors for slot in held),
        input_tokens=read,
        cache_read_tokens=sum(slot.cache_read_tokens for slot in held),
        output_tokens=said,
        thinking_tokens=sum(slot.thinking_tokens for slot in held),
        total_tokens=read + said,
        cost_usd=_cost(held),
    )


def _cost(slots: Iterable[Slot]) -> float | None:
    known = [slot.cost_usd for slot in slots if slot.cost_usd is not None]
    return sum(known) if known else None


def by_cost(slots: Iterable[Slot]) -> list[str]:
    """Return the models, those that cost most first, then those asked most."""
    cost: dict[str, float] = defaultdict(float)
    requests: Counter[str] = Counter()
    for slot in slots:
        cost[slot.model] += slot.cost_usd or 0.0
        requests[slot.model] += slot.requests
    return sorted(cost, key=lambda model: (-cost[model], -requests[model], model))


def _latest(row: Sequence[object]) -> Latest:
    found = dict(zip(Latest.__struct_fields__, row, strict=True))
    return msgspec.convert(found, Latest, strict=False)
