"""Reading connections: how many, how long, of which file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.recording.sqlite_store import SqliteStore
from gateway_sessions.storage.migrations import UnsupportedSchema
from gateway_sessions.storage.readers import ReaderPool, open_reader
from tests.recording.talk import begun

ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT MAX(n) FROM c"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions?#%.db")
    store.open()
    yield store
    store.close()


@pytest.fixture
def pool(store: SqliteStore) -> Iterator[ReaderPool]:
    pool = ReaderPool(store.path, 2, wait_seconds=0, read_seconds=0.05)
    yield pool
    pool.close()


def count(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT COUNT(*) FROM sessions").fetchone()
    return int(found)


def test_what_is_written_is_read(store: SqliteStore, pool: ReaderPool) -> None:
    with pool.connection() as connection:
        assert count(connection) == 0
    store.write([begun()])
    with pool.connection() as again:
        assert again is connection
        assert count(again) == 1


def test_nothing_can_be_written(pool: ReaderPool) -> None:
    with pytest.raises(OSError, match="readonly"), pool.connection() as connection:
        connection.execute("DELETE FROM sessions")


def test_there_are_no_more_than_allowed(pool: ReaderPool) -> None:
    with ExitStack() as stack:
        stack.enter_context(pool.connection())
        stack.enter_context(pool.connection())
        with pytest.raises(TimeoutError, match="in use"), pool.connection():
            pass
    with pool.connection():
        pass


def test_nobody_reads_for_ever(pool: ReaderPool) -> None:
    with pytest.raises(TimeoutError, match="longer than"), pool.connection() as connection:
        connection.execute(ENDLESS).fetchone()
    with pool.connection() as again:
        assert count(again) == 0


def test_a_forgotten_transaction_ends_with_the_loan(store: SqliteStore, pool: ReaderPool) -> None:
    with pool.connection() as connection:
        connection.execute("BEGIN")
        count(connection)
    store.write([begun()])
    with pool.connection() as again:
        assert count(again) == 1


def test_a_new_file_is_noticed(store: SqliteStore, pool: ReaderPool) -> None:
    with pool.connection() as connection:
        count(connection)
    store.write([begun()])
    store.close()
    store.path.rename(store.path.with_suffix(".old"))
    store.open()
    with pool.connection() as again:
        assert count(again) == 0


def test_a_closed_pool_keeps_nothing_open(pool: ReaderPool) -> None:
    with pool.connection() as connection:
        pool.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        count(connection)


def test_a_missing_database_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="there is no database"):
        open_reader(tmp_path / "x.db")


def test_another_database_is_told(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as other, other:
        other.execute("CREATE TABLE bookmarks (url)")
    with pytest.raises(StartError, match="holds no sessions"):
        open_reader(tmp_path / "x.db")


def test_a_newer_database_is_refused(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path)) as other, other:
        other.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(UnsupportedSchema, match="Unsupported schema version: 99"):
        open_reader(store.path)
