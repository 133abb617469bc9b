"""Handing over to the recorder in parcels, and forgetting what it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from interceptors.recording_api import rows, upkeep
from interceptors.recording_api.changes import APPLY
from interceptors.recording_api.journal import open_journal
from interceptors.recording_api.protocol import (
    Event,
    Message,
    MessageAdd,
    MessageAppend,
    SessionEnd,
    SessionSnapshot,
)
from interceptors.recording_api.rows import SessionRow


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_journal(tmp_path / "recording.db")) as opened:
        yield opened


def begin(connection: sqlite3.Connection, name: str = "s1", messages: int = 2) -> SessionRow:
    """Write a session with messages m1, m2, … of two characters."""
    row = SessionRow(session_id=name, provider="p", started_at=1, last_activity=1)
    change(connection, row)
    for number in range(1, messages + 1):
        event = MessageAdd(session_id=name, message_id=f"m{number}", role="user", content="Hi")
        change(connection, row, event)
    return row


def change(connection: sqlite3.Connection, row: SessionRow, event: Event | None = None) -> None:
    row.revision += 1
    if event is not None:
        APPLY[type(event)](connection, row, event, 1)
    rows.write_session(connection, row)


def sent(parcels: list[upkeep.Parcel]) -> list[tuple[str, list[str], bool]]:
    return [
        (one.session.session_id, [message.message_id for _, message in one.messages], one.is_all)
        for one in parcels
    ]


def test_what_was_settled_is_not_handed_over_again(connection: sqlite3.Connection) -> None:
    begin(connection)
    parcels = upkeep.collect(connection)
    assert sent(parcels) == [("s1", ["m1", "m2"], True)]
    upkeep.settle(connection, parcels)
    assert upkeep.collect(connection) == []
    row = rows.find_session(connection, "s1")
    assert row is not None
    assert (row.told, row.unwritten_messages, row.is_dirty) == (1, 0, False)


def test_what_changes_meanwhile_is_handed_over_later(connection: sqlite3.Connection) -> None:
    row = begin(connection)
    parcels = upkeep.collect(connection)
    change(connection, row, MessageAppend(session_id="s1", message_id="m1", content_delta=" there"))
    upkeep.settle(connection, parcels)
    (again,) = upkeep.collect(connection)
    assert [message.content for _, message in again.messages] == ["Hi there"]
    upkeep.settle(connection, [again])
    assert upkeep.collect(connection) == []
    assert connection.execute("SELECT COUNT(*) FROM parts").fetchone() == (0,), "joined"
    found = rows.find_message(connection, "s1", "m1")
    assert found is not None
    assert found.content == "Hi there"


@pytest.mark.parametrize(("limit", "value"), [("PARCEL_MESSAGES", 2), ("PARCEL_CHARACTERS", 4)])
def test_a_parcel_has_its_limits(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(upkeep, limit, value)
    begin(connection, messages=3)
    begin(connection, "s2", messages=1)
    handed: list[tuple[str, list[str], bool]] = []
    while parcels := upkeep.collect(connection):
        handed += sent(parcels)
        upkeep.settle(connection, parcels)
    assert [names for _, names, _ in handed if names] == [["m1", "m2"], ["m3"], ["m1"]]
    assert [session for session, _, whole in handed if whole] == ["s1", "s2"]


def test_a_message_above_the_limit_goes_alone(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PARCEL_CHARACTERS", 1)
    begin(connection, messages=2)
    assert sent(upkeep.collect(connection)) == [("s1", ["m1"], False)]


def test_removed_messages_are_told_once(connection: sqlite3.Connection) -> None:
    row = begin(connection)
    upkeep.settle(connection, upkeep.collect(connection))
    message = Message(message_id="m2", role="user", content="Ho", created_at=1)
    change(connection, row, SessionSnapshot(session_id="s1", provider="p", messages=[message]))
    (parcel,) = upkeep.collect(connection)
    assert (parcel.removed, sent([parcel])) == (["m1"], [("s1", ["m2"], True)])
    upkeep.settle(connection, [parcel])
    assert connection.execute("SELECT COUNT(*) FROM removed").fetchone() == (0,)


def test_idle_sessions_expire(connection: sqlite3.Connection) -> None:
    begin(connection)
    assert upkeep.expire(connection, 1, 50) == 0
    assert upkeep.expire(connection, 2, 50) == 1
    row = rows.find_session(connection, "s1")
    assert row is not None
    assert (row.ended_at, row.end_reason, row.is_dirty) == (50, "expired", True)
    assert upkeep.expire(connection, 2, 60) == 0


def test_old_ends_are_forgotten_with_all_that_belongs_to_them(
    connection: sqlite3.Connection,
) -> None:
    row = begin(connection)
    change(connection, row, SessionEnd(session_id="s1"))
    later = 2 + upkeep.KEEP_ENDED_MS
    assert upkeep.prune(connection, later) == 0, "the recorder does not have it"
    upkeep.settle(connection, upkeep.collect(connection))
    assert upkeep.prune(connection, later - 1) == 0
    assert upkeep.prune(connection, later) == 1
    for table in ("sessions", "messages", "parts", "seen", "removed"):
        assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,), table


def test_of_many_ends_the_newest_are_kept(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "KEEP_ENDED", 1)
    for number in (1, 2, 3):
        row = begin(connection, f"s{number}", messages=0)
        row.ended_at = number
        change(connection, row)
    upkeep.settle(connection, upkeep.collect(connection))
    assert upkeep.prune(connection, 10) == 2
    assert [row.session_id for row in rows.find_sessions(connection, "")] == ["s3"]
