"""What a batch asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from gateway_sessions.recording import tables
from gateway_sessions.recording.rows import apply
from gateway_sessions.recording.tables import Key, Select
from tests.recording.talk import begun, exchange


class NoRows:
    """A database with nothing in it that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.written: dict[str, list[Sequence[Any]]] = {}

    def find(self, select: Select, keys: Collection[Key]) -> Iterable[Sequence[Any]]:
        self.asked.append((select.table, len(keys)))
        return ()

    def has(self, sql: str, values: Sequence[Any]) -> bool:
        assert sql == tables.COUNTED_ON_DAY
        self.asked.append(("has", len(values)))
        return False

    def write(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        assert sql not in self.written, "rows of a table go together"
        self.written[sql] = list(rows)


def test_each_table_is_read_once_and_written_once() -> None:
    database = NoRows()
    apply([begun(), *exchange(1), *exchange(2), *exchange(3, streamed=True)], database)
    assert database.asked == [
        ("sessions", 1),
        ("session_stats", 0),  # of a session that is not there no exchange can be
        ("daily_stats", 1),
        ("has", 5),
    ]
    assert [len(rows) for rows in database.written.values()] == [1, 3, 1, 1, 1, 3]


def test_nothing_is_written_of_nothing() -> None:
    database = NoRows()
    apply([], database)
    assert database.written == {}


def test_texts_of_an_exchange_go_together() -> None:
    database = NoRows()
    apply([begun(), *exchange(1)], database)
    assert database.written[tables.WRITE_TEXTS] == [("sess_a", "req_1", "question 1", "an answer")]
