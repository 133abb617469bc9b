from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway_sessions.index.sessions_file import PAGE_BYTES, opened

NOW = 1_700_000_000.0


def pragma(connection: sqlite3.Connection, name: str) -> int | str:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value  # type: ignore[no-any-return]


def test_a_connection_that_waits_for_nothing(tmp_path: Path) -> None:
    connection = opened(tmp_path / "live.db", NOW)
    found = {
        name: pragma(connection, name)
        for name in ("page_size", "journal_mode", "synchronous", "busy_timeout")
    }
    connection.close()
    assert found == {
        "page_size": PAGE_BYTES,
        "journal_mode": "wal",
        "synchronous": 0,
        "busy_timeout": 0,
    }


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    connection = opened(tmp_path / "live.db", NOW)
    sql = (
        "INSERT INTO sessions (scope, id, version, used, bucket, state) VALUES (1, ?, 1, 0, 0, '')"
    )
    first = connection.execute(sql, ("a",)).lastrowid
    connection.execute("DELETE FROM sessions")
    assert connection.execute(sql, ("b",)).lastrowid != first
    connection.close()
