"""Opening recorded databases: what can not be asked is one sentence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.storage.migrations import VERSION
from gateway_sessions.storage.reading import following, reading
from tests.storage.recorded import Talk, empty, record

COUNT = "SELECT COUNT(*) FROM sessions"


def refusal(path: Path) -> str:
    with pytest.raises(StartError) as caught, reading(path):
        pytest.fail("it was opened")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_database_can_be_read_and_not_written(tmp_path: Path) -> None:
    path = record(tmp_path / "sessions.db", [Talk("sess_1").ask()])
    with reading(path) as connection:
        assert connection.execute(COUNT).fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM sessions")


def test_reading_sees_one_state_and_following_all(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with closing(empty(path)) as writer, reading(path) as still, following(path) as moving:
        assert still.execute(COUNT).fetchone() == (0,)
        Talk("sess_1").ask().record(writer)
        assert still.execute(COUNT).fetchone() == (0,)
        assert moving.execute(COUNT).fetchone() == (1,)


def test_without_a_file_it_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    assert refusal(path) == (
        f"{path}: no sessions are recorded there; run the gateway with"
        " session_recording.sqlite.enabled, or name another database."
    )
    assert not path.exists()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.write_text("these are not the bytes of a database, " * 100)
    assert refusal(path) == f"{path}: this is no database; name another file."
    assert refusal(tmp_path).startswith(f"{tmp_path}: there is no database;")


def test_others_databases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    assert "holds no sessions" in refusal(path)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (VERSION + 1, f"Unsupported schema version: {VERSION + 1}"),
        (VERSION - 1, "an older gateway-sessions made this database"),
    ],
)
def test_other_versions_are_refused(tmp_path: Path, version: int, sentence: str) -> None:
    path = tmp_path / "sessions.db"
    with closing(empty(path)) as connection:
        connection.execute("DELETE FROM schema_version WHERE version >= ?", (VERSION,))
        connection.execute("INSERT OR REPLACE INTO schema_version VALUES (?)", (version,))
    assert sentence in refusal(path)


def test_damage_that_is_met_later_is_told_too(tmp_path: Path) -> None:
    path = record(tmp_path / "sessions.db", [Talk(f"sess_{n}").ask("x" * 5000) for n in range(9)])
    data = bytearray(path.read_bytes())
    for page in range(8, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(StartError, match="damaged"), reading(path) as connection:
        connection.execute("SELECT * FROM session_texts, sessions, session_stats").fetchall()


def test_other_errors_of_the_caller_stay_what_they_are(tmp_path: Path) -> None:
    path = record(tmp_path / "sessions.db", [Talk("sess_1").ask()])
    with pytest.raises(FileNotFoundError), reading(path):
        (tmp_path / "missing").read_text()
