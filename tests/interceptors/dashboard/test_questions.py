"""What addresses may ask for, and what is wrong with those that may not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway_sessions import PAGE_SIZE, SessionFilter, WrongQuery
from interceptors.dashboard import questions
from interceptors.dashboard.figures import DEFAULT, PERIODS
from tests.interceptors.dashboard.served import database
from tests.storage.recorded import Talk


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    talks = [Talk("s1").ask("Where is the umbrella?"), Talk("s2").ask("Who is there?")]
    with closing(sqlite3.connect(database(tmp_path / "sessions.db", talks))) as opened:
        yield opened


def test_a_period_is_one_of_a_few() -> None:
    assert questions.period_of({}) is PERIODS[DEFAULT]
    for name, period in PERIODS.items():
        assert questions.period_of({"period": name}) is period
    with pytest.raises(WrongQuery, match="period must be one of"):
        questions.period_of({"period": "1 century"})


@pytest.mark.parametrize(
    ("parameter", "said"),
    [("min_tokens", "Least tokens"), ("text", "Search"), ("finish_reason", "Finish reason")],
)
def test_parameters_are_called_as_in_the_form(parameter: str, said: str) -> None:
    assert questions.label(parameter) == said


@pytest.mark.parametrize(("text", "number"), [("", None), ("1", 1), ("999999999", 999_999_999)])
def test_whole_numbers_are_read(text: str, number: int | None) -> None:
    assert questions.whole({"page": text}, "page") == number
    assert questions.whole({}, "page") is None


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "²", "1000000000"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(WrongQuery, match="page must be a whole number of at least 1"):
        questions.whole({"page": text}, "page")


def test_pages_stay_small() -> None:
    wanted = SessionFilter()
    assert questions.of_page_size(replace(wanted, page_size=1000)).page_size == PAGE_SIZE
    assert questions.of_page_size(replace(wanted, page_size=3)).page_size == 3


def test_sessions_come_with_where_the_words_occur(connection: sqlite3.Connection) -> None:
    found = questions.sessions(connection, SessionFilter(text="umbrella"))
    assert [row.session_id for row in found.page.sessions] == ["s1"]
    assert found.snippets.keys() == {"s1"}
    assert "umbrella" in found.snippets["s1"]


def test_without_words_there_is_nothing_to_point_at(connection: sqlite3.Connection) -> None:
    found = questions.sessions(connection, SessionFilter())
    assert {row.session_id for row in found.page.sessions} == {"s1", "s2"}
    assert found.snippets == {}
