"""Filters as SQL: parameters only, and indexes used for usual listings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.queries import conditions, order, sql_time, text_query
from tests.storage.recorded import empty


def test_no_condition_is_everything() -> None:
    assert conditions(SessionFilter()).sql == "1"


def test_values_are_parameters_and_never_part_of_the_statement() -> None:
    evil = "x'; DROP TABLE sessions; --"
    clause = conditions(
        SessionFilter(providers=(evil,), models=(evil,), session_ids=(evil,), parent=evil)
    )
    assert evil not in clause.sql
    assert clause.values == (evil,) * 7
    assert clause.sql.count("?") == 7


def test_only_the_star_is_special_in_names() -> None:
    clause = conditions(SessionFilter(providers=("a*[b]?", "plain")))
    assert clause.sql == "((s.provider IN (?)) OR (s.provider GLOB ?))"
    assert clause.values == ("plain", "a*[[]b][?]")


def test_times_are_those_of_the_tables() -> None:
    moment = datetime(2026, 1, 5, 10, 30, tzinfo=timezone(timedelta(hours=2)))
    assert sql_time(moment) == "2026-01-05 08:30:00.000000"
    assert sql_time(datetime(2026, 1, 5, tzinfo=UTC)) == "2026-01-05 00:00:00.000000"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("two words", '"two" "words"'),
        ('"a phrase" and more', '"a phrase" "and" "more"'),
        ('half "open', '"half" "open"'),
        ("NOT a AND (b OR c) NEAR", '"NOT" "a" "AND" "(b" "OR" "c)" "NEAR"'),
        ("col:umn pre* ^first -minus +plus", '"col:umn" "pre*" "^first" "-minus" "+plus"'),
        ("-- ; ' !", '""'),
        ("日本語 naïve", '"日本語" "naïve"'),
    ],
)
def test_texts_are_quoted_for_the_search_index(text: str, query: str) -> None:
    assert text_query(text) == query


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    folder: Path = tmp_path_factory.mktemp("queries")
    with closing(empty(folder / "sessions.db")) as connection:
        yield connection


@given(text=st.text(max_size=60))
def test_no_text_is_an_error_of_the_search_index(database: sqlite3.Connection, text: str) -> None:
    sql = "SELECT COUNT(*) FROM session_search WHERE session_search MATCH ?"
    assert database.execute(sql, (text_query(text.replace("\0", " ")),)).fetchone() == (0,)


def plan(database: sqlite3.Connection, wanted: SessionFilter) -> str:
    where = conditions(wanted)
    sql = f"SELECT s.rowid FROM sessions s WHERE {where.sql} ORDER BY {order(wanted)} LIMIT 50"
    rows = database.execute(f"EXPLAIN QUERY PLAN {sql}", where.values)
    return "; ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (SessionFilter(), "idx_sessions_created"),
        (SessionFilter(descending=False), "idx_sessions_created"),
        (SessionFilter(since=datetime(2026, 1, 1, tzinfo=UTC)), "idx_sessions_created"),
        (SessionFilter(providers=("openai",)), "idx_sessions_provider"),
        (SessionFilter(root="sess_1"), "idx_sessions_root"),
        (SessionFilter(parent="sess_1"), "idx_sessions_root"),
        (SessionFilter(session_ids=("sess_1",)), "sqlite_autoindex_sessions_1"),
    ],
)
def test_usual_listings_use_an_index(
    database: sqlite3.Connection, wanted: SessionFilter, index: str
) -> None:
    assert f"INDEX {index}" in plan(database, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        SessionFilter(),
        SessionFilter(descending=False),
        SessionFilter(since=datetime(2026, 1, 1, tzinfo=UTC)),
        SessionFilter(providers=("openai",)),
    ],
)
def test_the_newest_are_not_sorted_but_read_in_order(
    database: sqlite3.Connection, wanted: SessionFilter
) -> None:
    assert "TEMP B-TREE" not in plan(database, wanted)


def test_models_are_found_by_their_index(database: sqlite3.Connection) -> None:
    wanted = SessionFilter(models=("gpt-5",))
    assert plan(database, wanted).count("INDEX idx_sessions_model (model_used=?)") == 2
