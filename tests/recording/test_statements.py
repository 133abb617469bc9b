"""Statements: every column once, nothing that need not be, changes only where they are meant."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.recording import statements
from gateway_sessions.recording.sqlite_store import SqliteStore
from gateway_sessions.recording.statements import Table, Upsert
from gateway_sessions.recording.tables import Key, Select
from tests.recording.talk import rows

TABLES = {name: s for name, s in vars(statements).items() if isinstance(s, Table)}
UPSERTS = {name: s for name, s in vars(statements).items() if isinstance(s, Upsert)}
PLAIN = ("WRITE_MEAN_START", "DELETE_TEXTS", "DELETE_MESSAGES")


class Written:
    """A database that keeps what it is to write."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, list[Sequence[Any]]]] = []

    def find(self, select: Select, keys: Collection[Key]) -> Iterable[Sequence[Any]]:
        raise AssertionError((select, keys))

    def has(self, sql: str, values: Sequence[Any]) -> bool:
        raise AssertionError((sql, values))

    def write(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        self.statements.append((sql, list(rows)))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = SqliteStore(tmp_path_factory.mktemp("statements") / "sessions.db")
    store.open()
    store.close()
    return store.path


def explained(path: Path, sql: str) -> None:
    """Have SQLite compile a statement; raises where it does not fit the tables."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"EXPLAIN {sql}", [None] * sql.count("?"))


def columns(sql: str) -> list[str]:
    found = re.search(r"INSERT INTO \w+ \((.*?)\) VALUES \((.*?)\)", sql)
    assert found is not None
    names = found[1].split(", ")
    assert found[2].count("?") == len(names)
    return names


@pytest.mark.parametrize("name", PLAIN)
def test_they_fit_the_tables(path: Path, name: str) -> None:
    explained(path, getattr(statements, name))


@pytest.mark.parametrize("name", [*TABLES, *UPSERTS])
def test_all_columns_of_a_table_can_be_written(path: Path, name: str) -> None:
    database = Written()
    if name in TABLES:
        table = TABLES[name].name
        row = tuple(range(len(TABLES[name].columns)))
        TABLES[name].insert(database, [row])
        TABLES[name].update(database, [(tuple(-value - 1 for value in row), row)])
    else:
        table = UPSERTS[name].table
        UPSERTS[name].write(database, [tuple(range(len(UPSERTS[name].columns)))])
    for sql, _ in database.statements:
        explained(path, sql)
    written = columns(database.statements[0][0])
    assert len(written) == len(set(written))
    there = {row["name"] for row in rows(path, f"PRAGMA table_info({table})")}
    # The mean has a statement of its own; numbers of rows are the database's.
    assert there - set(written) <= {"id", "time_to_first_token_ms"}


PAIRS = Table("pairs", ("a", "b", "c", "d"), ("a",), fill=("d",))


def test_columns_that_are_null_in_all_rows_are_not_written() -> None:
    database = Written()
    PAIRS.insert(database, [(1, None, None, 0), (2, None, 3, None)])
    assert database.statements == [
        ("INSERT INTO pairs (a, c, d) VALUES (?, ?, ?)", [(1, None, 0), (2, 3, None)])
    ]


def test_only_what_changed_in_any_row_is_updated() -> None:
    database = Written()
    changes = [((1, 2, 3, None), (1, 2, None, None)), ((4, 5, 6, None), (4, 5, 6, "x"))]
    PAIRS.update(database, changes)
    assert database.statements == [
        ("UPDATE pairs SET c = ?, d = COALESCE(?, d) WHERE a = ?", [(None, None, 1), (6, "x", 4)])
    ]


def test_of_no_rows_and_no_changes_nothing_is_written() -> None:
    database = Written()
    PAIRS.insert(database, [])
    PAIRS.update(database, [])
    PAIRS.update(database, [((1, 2, 3, None), (1, 2, 3, None))])
    statements.TOOLS.write(database, [])
    assert database.statements == []


def test_a_null_takes_the_place_of_a_value_where_it_is_not_to_be_filled(tmp_path: Path) -> None:
    upsert = Upsert("t", ("k", "v", "kept", "filled"), ("k",), keep=("kept",), fill=("filled",))
    database = Written()
    upsert.write(database, [("a", 1, 2, 3)])
    upsert.write(database, [("a", None, None, None)])
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        connection.execute("CREATE TABLE t (k PRIMARY KEY, v, kept, filled)")
        for sql, values in database.statements:
            connection.executemany(sql, values)
        assert connection.execute("SELECT * FROM t").fetchall() == [("a", None, 2, 3)]
