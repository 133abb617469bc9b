"""The benchmark of the dashboard asks for every page of a database that is as recorded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from bench import dashboard

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_quick_run_measures_every_page() -> None:
    lines = dashboard.run(quick=True).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == list(dashboard.PAGES)
    for _, median, p95, html, whole in rows:
        assert 0 < float(median) <= float(p95)
        assert 0 < float(html) < float(whole) <= 150


def test_sums_are_those_of_the_exchanges(tmp_path: Path) -> None:
    exchanges = dashboard.record(tmp_path / "s.db", 50, NOW)
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        by_session = connection.execute("SELECT SUM(request_count) FROM sessions").fetchone()
        by_day = connection.execute("SELECT SUM(requests) FROM daily_stats").fetchone()
        newest = connection.execute("SELECT MAX(created_at) FROM session_stats").fetchone()
    assert by_session == by_day == (exchanges,)
    assert newest[0].startswith("2026-01-30 21:36")
