"""Figures of a period, and that they are read over indexes."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gateway_sessions.storage.readers import open_reader
from interceptors.dashboard import figures, messages, raw, story, usage
from interceptors.dashboard.figures import PERIODS, Overview, overview
from tests.interceptors.dashboard.served import database
from tests.storage.recorded import NOW, Talk, many


def read(path: Path, period: str) -> Overview:
    with closing(open_reader(path)) as connection:
        return overview(connection, PERIODS[period], NOW, 7)


def talks() -> list[Talk]:
    old = Talk("sess_old", started=NOW - timedelta(days=3))
    old.ask(cost_usd=1.0).ask(cost_usd=None, source="anchor", model_name="own")
    new = Talk("sess_new", started=NOW - timedelta(seconds=40))
    new.ask(cost_usd=0.5, provider_latency_ms=100.0).ask(success=0, status=529)
    return [old, new.call("grep", "call_1", success=0).call("grep", "call_2")]


@pytest.mark.parametrize(
    ("period", "requests", "errors", "sessions", "cost"),
    [("hour", 2, 1, 1, 0.501), ("day", 2, 1, 1, 0.501), ("week", 4, 1, 2, 1.501)],
)
def test_a_period_counts_what_lies_in_it(
    tmp_path: Path, period: str, requests: int, errors: int, sessions: int, cost: float
) -> None:
    found = read(database(tmp_path / "s.db", talks()), period)
    sums = found.sums
    assert (sums.requests, sums.errors, sums.sessions) == (requests, errors, sessions)
    assert sums.cost_usd == pytest.approx(cost)
    assert sums.total_tokens == requests * 150
    assert found.active_sessions == 7
    assert found.requests_per_second == pytest.approx(2 / 60)
    assert not found.is_cut


def test_sources_and_latencies_are_those_of_the_newest(tmp_path: Path) -> None:
    found = read(database(tmp_path / "s.db", talks()), "week")
    sources = {one.source: one.requests for one in found.sources}
    assert sources == {"new": 2, "prefix": 1, "anchor": 1}
    assert (found.sampled, found.known) == (4, 2)
    assert found.latency.p50_ms == 1000.0
    assert sum(one.count for one in found.latencies) == 4
    assert found.models == ("gpt-5-mini", "own")


def test_more_than_is_looked_through_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "NEWEST", 1)
    found = read(database(tmp_path / "s.db", talks()), "day")
    assert found.is_cut
    assert found.sums.requests == 1


def test_nothing_recorded(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", [])
    assert read(path, "day").newest_at is None
    assert read(path, "month").sums.requests == 0


def test_by_days_and_by_exchanges_agree(tmp_path: Path) -> None:
    path = database(tmp_path / "s.db", many(60, days=3))
    with closing(open_reader(path)) as connection:
        by_day = overview(connection, PERIODS["quarter"], NOW, 0)
        (requests, cost) = connection.execute(
            "SELECT COUNT(*), SUM(cost_usd) FROM session_stats"
        ).fetchone()
    assert by_day.sums.requests == requests
    assert by_day.sums.cost_usd == pytest.approx(cost)


STATEMENTS = {
    "newest exchange": (figures.NEWEST_EXCHANGE, ()),
    "newest call": (usage.NEWEST_CALL, ()),
    "slots": (figures.SLOTS, (13, 0, "2026")),
    "days": (figures.DAYS, ("2026",)),
    "sessions": (figures.SESSIONS, (0, "2026")),
    "sessions by day": (figures.SESSIONS_BY_DAY, ("2026",)),
    "rate": (figures.RATE, (0, "2026")),
    "sampled": (figures.SAMPLED, (0, "2026")),
    "started": (figures.STARTED, (8,)),
    "latency of a model": (usage.LATENCY_OF_MODEL, ("m", "2026", 500)),
    "calls": (usage.CALLS, (0, "2026")),
    "points": (story.POINTS, ("sess_1",)),
    "order": (raw.ORDER, ("sess_1",)),
    "count of messages": (messages.COUNT, ("sess_1",)),
    "messages": (messages.PAGE, ("sess_1", 20, 0)),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_a_whole_table(tmp_path: Path, name: str) -> None:
    sql, values = STATEMENTS[name]
    path = database(tmp_path / "s.db", talks())
    with closing(open_reader(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    # A walk along an index ends with the statement's LIMIT; any other scan reads everything.
    limited = sql.endswith(("LIMIT ?", "LIMIT 1"))
    scans = [step for step in plan if step.startswith("SCAN")]
    assert all(limited for _ in scans), plan
    assert not any("TEMP B-TREE FOR ORDER" in step for step in plan if limited), plan
