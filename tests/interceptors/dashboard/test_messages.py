"""Reported messages: a page of them with cut texts, or all of them whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from interceptors.dashboard import messages
from tests.storage.recorded import empty, insert

LONG = "<" * messages.TEXT_BYTES


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database with one session of 25 messages, the second one long, and one of another."""
    with closing(empty(tmp_path / "sessions.db")) as opened:
        for number in range(25):
            report(opened, "s1", number, LONG if number == 1 else f"text {number}")
        report(opened, "s2", 0, None)
        yield opened


def report(
    connection: sqlite3.Connection, session_id: str, number: int, content: str | None
) -> None:
    at = f"2026-01-31 12:00:{number:02}.000000"
    row = {
        "session_id": session_id,
        "message_id": f"m{number}",
        "role": "user" if number % 2 == 0 else "assistant",
        "content": content,
        "content_characters": 9 if content is None else len(content),
        "model": "gpt",
        "is_complete": int(number < 24),
        "created_at": at,
        "updated_at": at,
    }
    insert(connection, "messages", row)


def test_they_are_counted_per_session(connection: sqlite3.Connection) -> None:
    assert [messages.count(connection, name) for name in ("s1", "s2", "s3")] == [25, 1, 0]


def test_a_page_holds_so_many_in_their_order(connection: sqlite3.Connection) -> None:
    first, second, third = (messages.page(connection, "s1", number) for number in (1, 2, 3))
    assert [one.message_id for one in first] == [f"m{number}" for number in range(20)]
    assert [one.message_id for one in second] == [f"m{number}" for number in range(20, 25)]
    assert third == ()
    assert first[0].created_at == "2026-01-31T12:00:00.000000Z"
    assert [one.is_complete for one in second] == [True, True, True, True, False]


def test_long_texts_are_cut_on_pages_only(connection: sqlite3.Connection) -> None:
    short, long, *_ = messages.page(connection, "s1", 1)
    assert (short.content, short.is_cut) == ("text 0", False)
    assert long.content is not None
    assert len(long.content) < len(LONG)
    assert long.is_cut
    assert messages.every(connection, "s1")[1].content == LONG


def test_a_message_without_its_text_is_not_cut(connection: sqlite3.Connection) -> None:
    (one,) = messages.page(connection, "s2", 1)
    assert (one.content, one.content_characters, one.is_cut) == (None, 9, False)
