"""The journal's file: private, durable, put aside when it is damaged."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions import CorruptDatabase, StartError
from interceptors.recording_api import journal, rows
from interceptors.recording_api.journal import open_journal, put_aside
from interceptors.recording_api.rows import SessionRow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / journal.FILE


def test_it_is_made_for_its_owner_alone_and_opened_again(path: Path) -> None:
    session = SessionRow(session_id="s1", provider="p", started_at=1, last_activity=2)
    with closing(open_journal(path)) as connection:
        rows.write_session(connection, session)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with closing(open_journal(path)) as connection:
        assert rows.find_session(connection, "s1") == session


def test_what_it_commits_is_synced_at_once(path: Path) -> None:
    with closing(open_journal(path)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sessions_and_messages_are_found_by_indexes(path: Path) -> None:
    with closing(open_journal(path)) as connection:
        for sql, index in (
            ("SELECT * FROM messages WHERE session_id = 1 AND revision IS NOT NULL", "dirty"),
            ("SELECT * FROM parts WHERE message = 1", "parts_message"),
            ("SELECT * FROM sessions WHERE ended_at < 1", "sessions_ended"),
            ("SELECT 1 FROM seen WHERE session_id = 1 AND event_id = 2", "autoindex_seen"),
        ):
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
            assert index in plan[3], sql


def test_a_damaged_one_is_put_aside_and_that_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_journal(path).close()
    path.write_bytes(path.read_bytes()[:4096])
    with closing(open_journal(path)) as connection:
        assert rows.find_sessions(connection, "") == []
    (aside,) = path.parent.glob("recording.db.corrupt-*")
    assert f"it was put aside as {aside}" in caplog.text


def test_putting_aside_leaves_room_for_a_new_one(path: Path) -> None:
    open_journal(path).close()
    put_aside(path, CorruptDatabase("damaged"))
    assert not path.exists()
    assert len(list(path.parent.iterdir())) == 1


def test_a_newer_one_is_refused(path: Path) -> None:
    with closing(open_journal(path)) as connection:
        connection.execute(f"PRAGMA user_version = {journal.VERSION + 1}")
    with pytest.raises(StartError, match=r"newer gateway-sessions \(version 2\)"):
        open_journal(path)


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StartError, match=r"can not be opened .*recording_api.enabled to false"):
        open_journal(tmp_path / "state" / "inner" / journal.FILE)


def test_a_refused_journal_stays_closed(path: Path) -> None:
    with closing(open_journal(path)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(StartError):
        open_journal(path)
    with closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN EXCLUSIVE")
