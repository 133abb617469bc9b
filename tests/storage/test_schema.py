"""The promised tables, columns and indexes, in both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.recording.postgres_store import PostgresStore
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.e2e.promised import COLUMNS, INDEXES
from tests.postgres import NEEDED, database
from tests.recording.talk import rows, traffic


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = SqliteStore(tmp_path_factory.mktemp("schema") / "sessions.db")
    store.open()
    store.write(list(traffic(300, sessions=60)))
    store.close()
    return store.path


@pytest.fixture
def server(postgres: str) -> Iterator[Any]:
    with database(postgres) as url:
        store = PostgresStore(url)
        store.open()
        yield store._connection
        store.close()


@pytest.mark.parametrize("table", COLUMNS)
def test_tables_have_their_columns(path: Path, table: str) -> None:
    found = [row["name"] for row in rows(path, f"PRAGMA table_info({table})")]
    assert set(COLUMNS[table]) <= set(found)
    assert table != "sessions" or set(found) == set(COLUMNS[table])


@NEEDED
def test_they_are_the_same_in_postgres(path: Path, server: Any) -> None:
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    names = rows(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    for table in (row["name"] for row in names):
        if table.startswith(("sqlite_", "session_search")):
            continue
        there = {name for (name,) in server.execute(sql, (table,))}
        here = {row["name"] for row in rows(path, f"PRAGMA table_info({table})")}
        assert there - {"words"} == here, table


@pytest.mark.parametrize("name", INDEXES)
def test_indexes_are_there(path: Path, name: str) -> None:
    (index,) = rows(path, "SELECT sql FROM sqlite_master WHERE name = ?", name)
    assert index["sql"] == f"CREATE INDEX {name} ON {INDEXES[name]}"


@NEEDED
def test_they_are_in_postgres_too(server: Any) -> None:
    found = {name for (name,) in server.execute("SELECT indexname FROM pg_indexes")}
    assert set(INDEXES) <= found


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("SELECT * FROM sessions ORDER BY created_at DESC LIMIT 50", "idx_sessions_created"),
        (
            "SELECT * FROM sessions WHERE created_at > '2026-01-31' ORDER BY created_at DESC",
            "idx_sessions_created",
        ),
        (
            "SELECT * FROM sessions WHERE provider = 'openai' ORDER BY created_at DESC LIMIT 50",
            "idx_sessions_provider",
        ),
        (
            "SELECT * FROM sessions WHERE model_used = 'm' ORDER BY created_at DESC LIMIT 50",
            "idx_sessions_model",
        ),
        (
            "SELECT * FROM sessions WHERE provider = 'a' AND model_used = 'm' ORDER BY created_at",
            "idx_sessions_provider_model",
        ),
        ("SELECT * FROM sessions WHERE request_id = 'req_1'", "idx_sessions_request_id"),
        ("SELECT * FROM sessions WHERE root_session_id = 'sess_1'", "idx_sessions_root"),
        ("SELECT * FROM sessions WHERE session_id = 'sess_1'", "sqlite_autoindex_sessions_1"),
        (
            "SELECT * FROM session_stats WHERE session_id = 'sess_1' ORDER BY created_at DESC",
            "idx_session_stats_session_time",
        ),
        (
            "SELECT * FROM session_stats WHERE model_name = 'm' ORDER BY created_at DESC LIMIT 9",
            "idx_session_stats_model",
        ),
        (
            "SELECT * FROM tool_call_executions WHERE tool_name = 't' ORDER BY created_at DESC",
            "idx_tool_calls_name",
        ),
    ],
)
def test_usual_listings_read_only_what_they_show(path: Path, sql: str, index: str) -> None:
    plan = " / ".join(row["detail"] for row in rows(path, f"EXPLAIN QUERY PLAN {sql}"))
    assert index in plan
    assert "TEMP B-TREE" not in plan
    assert not plan.startswith("SCAN") or "USING INDEX" in plan


def test_the_same_call_is_one_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        columns = "session_id, request_id, tool_call_id, tool_name, created_at"
        insert = f"INSERT INTO tool_call_executions ({columns}) VALUES ('s', ?, 'c', 't', 'x')"
        connection.execute(insert, ("req_1",))
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            connection.execute(insert, ("req_2",))
        connection.rollback()
