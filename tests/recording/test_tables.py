"""Statements: every column once, changes only where they are meant."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions.recording import tables
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.recording.talk import rows

WRITES = {name: sql for name, sql in vars(tables).items() if name.startswith("WRITE_")}
SELECTS = {name: s for name, s in vars(tables).items() if isinstance(s, tables.Select)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = SqliteStore(tmp_path_factory.mktemp("tables") / "sessions.db")
    store.open()
    store.close()
    return store.path


@pytest.mark.parametrize("name", WRITES)
def test_they_fit_the_tables(path: Path, name: str) -> None:
    sql = WRITES[name]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"EXPLAIN {sql}", [None] * sql.count("?"))


@pytest.mark.parametrize("name", SELECTS)
def test_what_is_read_is_found_by_a_key(path: Path, name: str) -> None:
    select = SELECTS[name]
    condition = " AND ".join(f"{column} = 1" for column in select.by)
    sql = f"EXPLAIN QUERY PLAN SELECT {', '.join(select.columns)} FROM {select.table}"
    (plan,) = rows(path, f"{sql} WHERE {condition}")
    assert plan["detail"].startswith(f"SEARCH {select.table} USING INDEX sqlite_autoindex")


def test_whether_a_session_counts_is_found_by_its_newest_exchanges(path: Path) -> None:
    (plan,) = rows(path, f"EXPLAIN QUERY PLAN {tables.COUNTED_ON_DAY}", *"12345")
    assert "idx_session_stats_session_time (session_id=? AND created_at>?" in plan["detail"]


def test_all_columns_of_the_sums_are_written(path: Path) -> None:
    for table, sql in (
        ("sessions", tables.WRITE_SESSIONS),
        ("session_stats", tables.WRITE_EXCHANGES),
        ("daily_stats", tables.WRITE_DAYS),
        ("tool_call_executions", tables.WRITE_TOOLS),
        ("stream_events", tables.WRITE_STREAMS),
        ("stream_chunks", tables.WRITE_CHUNKS),
        ("session_texts", tables.WRITE_TEXTS),
    ):
        found = re.search(r"INSERT INTO (\w+) \((.*?)\) VALUES \((.*?)\)", sql)
        assert found is not None
        assert found[1] == table
        written = found[2].split(", ")
        assert len(written) == len(set(written)) == found[3].count("?")
        there = {row["name"] for row in rows(path, f"PRAGMA table_info({table})")}
        # The mean has a statement of its own; numbers of rows are the database's.
        assert there - set(written) <= {"id", "time_to_first_token_ms"}
