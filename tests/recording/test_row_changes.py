"""What a batch asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest

from gateway_sessions.recording import tables
from gateway_sessions.recording.known_rows import KnownRows
from gateway_sessions.recording.row_changes import MS_PARTS, rounded
from gateway_sessions.recording.rows import apply
from gateway_sessions.recording.tables import Key, Select
from tests.recording.talk import asked, begun, exchange


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
    ]
    assert [len(rows) for rows in database.written.values()] == [1, 1, 3, 1, 1, 3]


def test_what_is_known_is_not_read_again() -> None:
    known = KnownRows()
    apply([begun(), asked(1)], NoRows(), known)
    database = NoRows()
    apply([*exchange(1)[1:], asked(2)], database, known)
    assert database.asked == [
        ("sessions", 0),
        ("session_stats", 1),  # the new one: it may have come before
        ("daily_stats", 1),
        ("has", 5),
    ]
    database = NoRows()
    apply(exchange(2)[1:], database, known)
    assert ("has", 5) not in database.asked, "the session is among those of the day"


def test_what_follows_leaves_the_indexes_alone() -> None:
    known = KnownRows()
    apply([begun(), *exchange(1)], NoRows(), known)
    database = NoRows()
    apply(exchange(2), database, known)
    (changes,) = [sql for sql in database.written if sql.startswith("UPDATE sessions")]
    assert "request_count = ?" in changes
    for settled in ("created_at", "provider", "model_used", "root_session_id"):
        assert f"{settled} = ?" not in changes


def test_nothing_is_written_of_nothing() -> None:
    database = NoRows()
    apply([], database)
    assert database.written == {}


def test_texts_of_an_exchange_go_together() -> None:
    database = NoRows()
    apply([begun(), *exchange(1)], database)
    (said,) = [rows for sql, rows in database.written.items() if "INTO session_texts" in sql]
    assert said == [("sess_a", "req_1", "question 1", "an answer")]


@pytest.mark.parametrize(
    ("value", "nearest"), [(0.0004, 0.0), (0.0006, 0.001), (-0.0016, -0.002), (12.3456789, 12.346)]
)
def test_numbers_of_sums_are_whole_microseconds(value: float, nearest: float) -> None:
    assert rounded(value, MS_PARTS) == nearest


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_can_not_be_summed_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no number that can be summed"):
        rounded(value, MS_PARTS)
