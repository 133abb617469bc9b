"""Exchanges as they end: each once, also those that began before others that ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.session_tail import POLL_SECONDS, Tail, line
from gateway_sessions.storage.queries import Clause
from gateway_sessions.storage.reading import following
from gateway_sessions.storage.results import Exchange
from tests.storage.recorded import Talk, empty

EVERYTHING = Clause("1")
IN_FLIGHT: dict[str, Any] = {"success": None, "status": None, "finish_reason": None}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(empty(tmp_path / "sessions.db")) as connection:
        yield connection


@pytest.fixture
def reader(tmp_path: Path, writer: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    del writer  # makes the database
    with following(tmp_path / "sessions.db") as connection:
        yield connection


def names(exchanges: Iterator[Exchange] | list[Exchange]) -> list[str]:
    return [exchange.session_id for exchange in exchanges]


def no_wait(_: float) -> None:
    pytest.fail("there is something to show")


def test_it_begins_with_the_newest_that_ended(
    writer: sqlite3.Connection, reader: sqlite3.Connection
) -> None:
    for name in "abc":
        Talk(name).ask().record(writer)
    Talk("going on").ask(**IN_FLIGHT).record(writer)
    tail = Tail(reader, EVERYTHING)
    assert names(tail.last(2)) == ["b", "c"]
    assert names(tail.last(10)) == ["a", "b", "c"]
    assert names(tail.last(0)) == []


def test_it_follows_what_is_written(writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
    Talk("before").ask().record(writer)
    Talk("slow").ask(**IN_FLIGHT).record(writer)
    tail = Tail(reader, EVERYTHING)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            Talk("quick").ask().record(writer)
        elif len(waits) == 2:
            writer.execute("UPDATE session_stats SET success = 1 WHERE session_id = 'slow'")
        else:
            Talk("last").ask().record(writer)

    assert names(islice(tail.follow(wait), 3)) == ["quick", "slow", "last"]
    assert waits == [POLL_SECONDS] * 3


def test_what_came_between_the_first_lines_and_following_is_not_lost(
    writer: sqlite3.Connection, reader: sqlite3.Connection
) -> None:
    tail = Tail(reader, EVERYTHING)
    Talk("between").ask().record(writer)
    assert names(tail.last(10)) == []
    assert names(islice(tail.follow(no_wait), 1)) == ["between"]


def test_only_chosen_sessions_are_followed(
    writer: sqlite3.Connection, reader: sqlite3.Connection
) -> None:
    for name, provider in (("a", "openai"), ("b", "anthropic"), ("c", "openai")):
        Talk(name, provider=provider).ask().record(writer)
    tail = Tail(reader, Clause("s.provider = ?", ("openai",)))
    assert names(tail.last(10)) == ["a", "c"]
    Talk("d", provider="anthropic").ask().record(writer)
    Talk("e").ask().record(writer)
    assert names(islice(tail.follow(no_wait), 1)) == ["e"]


def test_an_exchange_is_a_line(writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
    Talk("sess_1").ask("What\nis it?", "A \x1b[31mthing.").record(writer)
    Talk("sess_2").ask("hi", None, success=0, status=529, error_message="Overloaded").record(writer)
    good, bad = Tail(reader, EVERYTHING).last(2)
    assert line(good).plain == (
        "08:00:00  sess_1  first  gpt-5-mini  200 stop  1.00 s  100 in, 50 out  $0.00100"
        "  What is it? → A \\u001b[31mthing."
    )
    assert "529 Overloaded" in line(bad).plain
    assert (str(line(good).style), str(line(bad).style)) == ("", "red")
