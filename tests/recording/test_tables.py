"""What is asked of the tables is found by an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_sessions.recording import tables
from gateway_sessions.recording.sqlite_store import SqliteStore
from tests.recording.talk import rows

SELECTS = {name: s for name, s in vars(tables).items() if isinstance(s, tables.Select)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = SqliteStore(tmp_path_factory.mktemp("tables") / "sessions.db")
    store.open()
    store.close()
    return store.path


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
