"""``import``: what was recorded live, made again from files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions.cli.import_ import sorted_files
from gateway_sessions.coding import zstd
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.storage.migrations import VERSION
from interceptors.jsonl import JsonlWriter
from interceptors.sqlite import SqliteWriter
from tests.cli.helpers import run, run_watched
from tests.recording.session_events import put
from tests.recording.talk import begun, content, exchange, rows, traffic


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Record to files and to a database at once; every third file is compressed afterwards."""
    events = list(traffic(100))
    for writer in (JsonlWriter(tmp_path / "files"), SqliteWriter(tmp_path / "live.db")):
        writer.open()
        for start in range(0, len(events), 30):
            writer.write(events[start : start + 30])
        writer.flush()
        writer.close()
    for path in sorted((tmp_path / "files").rglob("*.jsonl"))[::3]:
        path.with_name(f"{path.name}.zst").write_bytes(zstd.compress(path.read_bytes()))
        path.unlink()
    return tmp_path


def test_it_equals_what_was_written_live(live: Path) -> None:
    done = run("import", "files", "--database", "again.db", "--json", cwd=live)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told == {
        "database": "again.db",
        "dry_run": False,
        "files": 10,
        "sessions": 10,
        "events": len(list(traffic(100))),
        "skipped_sessions": 0,
        "errors": 0,
    }
    assert content(live / "again.db") == content(live / "live.db")
    assert (live / "again.db").stat().st_mode & 0o777 == 0o600
    sql = "SELECT COUNT(*) n FROM session_search WHERE session_search MATCH 'heron'"
    assert rows(live / "again.db", sql) == rows(live / "live.db", sql) != [{"n": 0}]


def test_importing_again_changes_nothing(live: Path) -> None:
    before = content(live / "live.db")
    done = run("import", "files", "--database", "live.db", cwd=live)
    assert done.stdout.startswith("10 sessions with ")
    assert content(live / "live.db") == before


def test_the_configuration_says_where_from_and_where_to(live: Path) -> None:
    settings = (
        "--set=session_recording.jsonl.directory=files",
        "--set=session_recording.sqlite.path=new/again.db",
    )
    done = run("import", *settings, cwd=live)
    assert done.returncode == 0, done.stderr
    assert content(live / "new" / "again.db") == content(live / "live.db")
    assert (live / "new").stat().st_mode & 0o777 == 0o700


def test_sessions_that_are_there_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a", begun(), *exchange(1))
    assert run("import", "a", "--database", "x.db", cwd=tmp_path).returncode == 0
    put(tmp_path / "b", begun(), *exchange(1), *exchange(2))
    put(tmp_path / "b", begun("sess_b"), *exchange(1, "sess_b"))
    put(tmp_path / "b", *exchange(2, "sess_b"), day="2026-02-01")
    done = run("import", "b", "--database", "x.db", "--skip-existing", cwd=tmp_path)
    assert done.stdout == (
        "1 sessions with 7 events from 3 files imported into x.db. 1 sessions were there already.\n"
    )
    sql = "SELECT session_id, request_count n FROM sessions ORDER BY 1"
    assert [tuple(row.values()) for row in rows(tmp_path / "x.db", sql)] == [
        ("sess_a", 1),
        ("sess_b", 2),
    ]


class TestErrors:
    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        path = put(tmp_path / "files", begun("sess_a"), *exchange(1, "sess_a"))
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], b"nonsense\n", *lines[1:]]))
        put(tmp_path / "files", begun("sess_b"), *exchange(1, "sess_b"))
        return tmp_path

    def test_the_first_ends_it(self, damaged: Path) -> None:
        done = run("import", "files", "--database", "x.db", cwd=damaged)
        assert done.returncode == 2
        assert "sess_a.jsonl, line 2: not a JSON object" in done.stderr
        assert "Traceback" not in done.stderr

    def test_or_is_told_and_left_out(self, damaged: Path) -> None:
        done = run("import", "files", "--database", "x.db", "--continue-on-error", cwd=damaged)
        assert done.returncode == 1
        assert "Warning: " in done.stderr
        assert "sess_a.jsonl, line 2" in done.stderr
        assert done.stdout.endswith("1 files, lines or events were left out.\n")
        assert len(content(damaged / "x.db")["sessions"]) == 2

    def test_an_event_that_can_not_be_stored_is_one(self, tmp_path: Path) -> None:
        path = put(tmp_path / "files", begun(), *exchange(1))
        path.write_bytes(path.read_bytes().replace(b"12:00:01.600000Z", b"never"))
        done = run("import", "files", "--database", "x.db", cwd=tmp_path)
        assert done.returncode == 2
        assert "Session sess_a: an event of 2026-01-31Tnever can not be stored" in done.stderr
        done = run("import", "files", "--database", "x.db", "--continue-on-error", cwd=tmp_path)
        assert done.returncode == 1
        assert "1 sessions with 3 events" in done.stdout

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        done = run("import", "nowhere.jsonl", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == "Error: nowhere.jsonl can not be read: there is no such file.\n"

    def test_another_programs_file_is_told(self, damaged: Path) -> None:
        (damaged / "notes").write_text("Today I saw a heron.")
        done = run("import", "files", "--database", "notes", cwd=damaged)
        assert (done.returncode, "no SQLite database" in done.stderr) == (2, True)
        assert (damaged / "notes").read_text() == "Today I saw a heron."

    def test_a_newer_database_is_refused(self, damaged: Path) -> None:
        run("import", "files", "--database", "x.db", "--continue-on-error", cwd=damaged)
        with closing(sqlite3.connect(damaged / "x.db")) as connection, connection:
            connection.execute(
                "INSERT INTO schema_version SELECT MAX(version) + 1 FROM schema_version"
            )
        for options in ((), ("--dry-run",)):
            done = run("import", "files", "--database", "x.db", *options, cwd=damaged)
            assert done.returncode == 2
            assert f"Unsupported schema version: {VERSION + 1}" in done.stderr


def test_a_dry_run_reads_everything_and_writes_nothing(live: Path) -> None:
    done = run("import", "files", "--database", "again.db", "--dry-run", cwd=live)
    assert done.returncode == 0
    assert "would be imported into again.db" in done.stdout
    assert not (live / "again.db").exists()
    before = (live / "live.db").stat().st_mtime_ns
    done = run("import", "files", "--database", "live.db", "--dry-run", "--skip-existing", cwd=live)
    assert "0 sessions with 0 events" in done.stdout
    assert "10 sessions were there already" in done.stdout
    assert (live / "live.db").stat().st_mtime_ns == before


def test_who_watches_sees_how_far_it_is(live: Path) -> None:
    code, out = run_watched("import", "files", "--database", "again.db", cwd=live)
    assert code == 0
    assert "10 sessions" in out


def test_files_come_in_the_order_of_their_sessions(tmp_path: Path) -> None:
    names = ["b.jsonl", "a.jsonl", "a.jsonl.zst", "notes.txt", "a-b.jsonl"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "b.jsonl")
    found = sorted_files([str(tmp_path), str(tmp_path / "a.jsonl")])
    assert [path.name for path in found] == ["a.jsonl.zst", "a.jsonl", "a-b.jsonl", "b.jsonl"]
    with pytest.raises(UnreadableLog, match="no such file"):
        sorted_files([str(tmp_path / "none")])
