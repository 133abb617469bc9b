"""Migrations: all or nothing, each once, never backwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from gateway_sessions.storage.migrations import (
    MIGRATIONS,
    VERSION,
    UnsupportedSchema,
    check,
    migrate,
)
from gateway_sessions.storage.schema import SQLITE, Dialect
from gateway_sessions.storage.sqlite import transaction


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def first(_: Dialect) -> Sequence[str]:
    return ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"]


def second(_: Dialect) -> Sequence[str]:
    return ["ALTER TABLE a ADD COLUMN y", "UPDATE a SET y = x + 1"]


def broken(_: Dialect) -> Sequence[str]:
    return ["CREATE TABLE b (x)", "NONSENSE"]


def run(connection: sqlite3.Connection, *migrations: object) -> int:
    def begin() -> AbstractContextManager[None]:
        return transaction(connection)

    return migrate(connection, SQLITE, begin, migrations)  # type: ignore[arg-type]


def versions(connection: sqlite3.Connection) -> list[int]:
    return [v for (v,) in connection.execute("SELECT version FROM schema_version ORDER BY 1")]


def test_what_is_missing_is_applied_once(connection: sqlite3.Connection) -> None:
    assert run(connection, first) == 1
    assert run(connection, first, second) == 1
    assert run(connection, first, second) == 0
    assert versions(connection) == [1, 2]
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, 2)]


def test_one_that_fails_leaves_nothing_behind(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="NONSENSE"):
        run(connection, first, broken, second)
    assert versions(connection) == [1]
    tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'b'").fetchall()
    assert tables == []


def test_a_newer_database_is_refused(connection: sqlite3.Connection) -> None:
    run(connection, first, second)
    with pytest.raises(UnsupportedSchema, match=r"Unsupported schema version: 2 \(.* knows 1\)"):
        run(connection, first)


def test_the_known_version_is_supported() -> None:
    check(VERSION)
    with pytest.raises(UnsupportedSchema, match=f"Unsupported schema version: {VERSION + 1} "):
        check(VERSION + 1)


def test_they_are_named_and_told() -> None:
    names = [migration.__name__ for migration in MIGRATIONS]
    assert len(set(names)) == len(names) == VERSION
    assert all(migration.__doc__ for migration in MIGRATIONS)


def test_two_programs_may_start_at_once(tmp_path: Path, connection: sqlite3.Connection) -> None:
    """The second finds the first's work done between two of its own looks."""
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:

        def meanwhile(dialect: Dialect) -> Sequence[str]:
            return second(dialect)

        def begin() -> AbstractContextManager[None]:
            if versions_or_none(other) == [1]:
                run(other, first, second)
            return transaction(connection)

        assert migrate(connection, SQLITE, begin, (first, meanwhile)) == 1
    assert versions(connection) == [1, 2]


def versions_or_none(connection: sqlite3.Connection) -> list[int]:
    try:
        return versions(connection)
    except sqlite3.OperationalError:
        return []
