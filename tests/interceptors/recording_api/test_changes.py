"""What events do to a session's row and messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from interceptors.recording_api import changes, rows
from interceptors.recording_api.changes import APPLY, AlreadyThere
from interceptors.recording_api.journal import open_journal
from interceptors.recording_api.protocol import (
    Difference,
    Event,
    Message,
    MessageAdd,
    MessageAppend,
    MessageUpdate,
    Refused,
    SessionEnd,
    SessionSnapshot,
    SessionStart,
    SessionUpdate,
)
from interceptors.recording_api.rows import SessionRow

NOW = 1_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_journal(tmp_path / "recording.db")) as opened:
        yield opened


@pytest.fixture
def session(connection: sqlite3.Connection) -> SessionRow:
    """A session with the message m1, all of which the recorder has."""
    row = SessionRow(session_id="s1", provider="p", started_at=1, last_activity=1, revision=1)
    add(connection, row, "m1", "Hi")
    connection.execute("UPDATE messages SET revision = NULL")
    row.revision, row.unwritten_messages = 2, 0
    return row


def done(connection: sqlite3.Connection, row: SessionRow, event: Event) -> Difference | None:
    return APPLY[type(event)](connection, row, event, NOW)


def add(connection: sqlite3.Connection, row: SessionRow, name: str, text: str) -> None:
    event = MessageAdd(session_id="s1", message_id=name, role="user", content=text, model="m")
    done(connection, row, event)


def texts(connection: sqlite3.Connection) -> dict[str, str]:
    found = rows.find_messages(connection, "WHERE session_id = ?", ("s1",))
    return {row.message_id: rows.whole(connection, row).content for row in found}


def test_a_message_counts_and_gives_the_session_its_model(
    connection: sqlite3.Connection, session: SessionRow
) -> None:
    add(connection, session, "m2", "Hello")
    assert (session.message_count, session.size, session.unwritten_messages) == (2, 7, 1)
    assert session.model == "m"
    (row,) = rows.find_messages(connection, "WHERE message_id = ?", ("m2",))
    assert (row.created_at, row.revision) == (NOW, 2)


def test_the_same_message_again_is_no_change_and_another_one_is_refused(
    connection: sqlite3.Connection, session: SessionRow
) -> None:
    with pytest.raises(AlreadyThere):
        add(connection, session, "m1", "Hi")
    with pytest.raises(Refused, match="send message_update to change it"):
        add(connection, session, "m1", "Ho")
    assert (session.message_count, session.size) == (1, 2)


def test_a_message_grows_and_is_replaced(
    connection: sqlite3.Connection, session: SessionRow
) -> None:
    for delta in (" th", "ere"):
        done(
            connection,
            session,
            MessageAppend(session_id="s1", message_id="m1", content_delta=delta),
        )
    assert texts(connection) == {"m1": "Hi there"}
    assert (session.size, session.unwritten_messages) == (8, 1)
    update = MessageUpdate(session_id="s1", message_id="m1", content="Bye", is_complete=True)
    done(connection, session, update)
    assert texts(connection) == {"m1": "Bye"}
    assert (session.size, session.unwritten_messages) == (3, 1)
    assert connection.execute("SELECT COUNT(*) FROM parts").fetchone() == (0,)


@pytest.mark.parametrize(
    "event",
    [
        MessageUpdate(session_id="s1", message_id="m9", content="", is_complete=True),
        MessageAppend(session_id="s1", message_id="m9", content_delta=""),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_message_that_is_not_there_is_told(
    connection: sqlite3.Connection, session: SessionRow, event: Event
) -> None:
    with pytest.raises(Refused, match="has no message m9; add it first") as refused:
        done(connection, session, event)
    assert refused.value.code == "message_not_found"


def test_what_is_said_of_a_session_is_merged(
    connection: sqlite3.Connection, session: SessionRow
) -> None:
    start = SessionStart(session_id="s1", provider="q", title="T", metadata={"a": 1, "b": 2})
    done(connection, session, start)
    done(connection, session, SessionUpdate(session_id="s1", metadata={"b": 3}))
    assert (session.provider, session.title) == ("q", "T")
    assert rows.from_json(session.metadata) == {"a": 1, "b": 3}


def test_an_end_tells_of_messages_that_are_missing(
    connection: sqlite3.Connection, session: SessionRow
) -> None:
    assert done(connection, session, SessionEnd(session_id="s1", final_message_count=1)) is None
    other = done(connection, session, SessionEnd(session_id="s1", final_message_count=3))
    assert other == Difference(expected=3, received=1)
    assert (session.ended_at, session.end_reason) == (NOW, "ended")


def snapshot(*names: str) -> SessionSnapshot:
    messages = [Message(message_id=n, role="user", content=n, created_at=1) for n in names]
    return SessionSnapshot(session_id="s1", provider="p", messages=messages)


def test_a_snapshot_takes_the_place_of_all_messages(
    connection: sqlite3.Connection, session: SessionRow
) -> None:
    done(connection, session, snapshot("m2", "m3"))
    assert texts(connection) == {"m2": "m2", "m3": "m3"}
    assert (session.message_count, session.size, session.unwritten_messages) == (2, 4, 2)
    assert connection.execute("SELECT message_id FROM removed").fetchall() == [("m1",)]
    with pytest.raises(Refused, match="two of them have the same message_id"):
        done(connection, session, snapshot("m4", "m4"))


@pytest.mark.parametrize(
    ("limit", "value", "event"),
    [
        ("MAX_MESSAGES", 1, MessageAdd(session_id="s1", message_id="m2", role="u", content="")),
        ("MAX_CHARACTERS", 3, MessageAppend(session_id="s1", message_id="m1", content_delta="ho")),
        ("MAX_METADATA", 10, SessionUpdate(session_id="s1", metadata={"much": "x" * 10})),
    ],
)
def test_a_session_has_its_limits(
    connection: sqlite3.Connection,
    session: SessionRow,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    event: Event,
) -> None:
    monkeypatch.setattr(changes, limit, value)
    with pytest.raises(Refused) as refused:
        done(connection, session, event)
    assert refused.value.code == "too_large"
