"""The database writer: whatever happens to its file, it goes on and nothing is missing."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions import CorruptDatabase, EventWriter, PartlyWritten, StartError, session_events
from gateway_sessions.recording.session_reading import read_events
from interceptors import sqlite as module
from interceptors.jsonl import JsonlWriter
from interceptors.sqlite import SqliteWriter
from tests.recording.talk import (
    begun,
    content,
    ended,
    exchange,
    over,
    rows,
    stamp,
    traffic,
)

PATIENCE = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "sessions.db"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., SqliteWriter]]:
    made: list[SqliteWriter] = []

    def make(where: Path = path, **options: Any) -> SqliteWriter:
        writer = SqliteWriter(where, **options)
        made.append(writer)
        writer.open()
        return writer

    yield make
    for writer in made:
        writer.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of session files and a database, both recorded live."""
    folder = tmp_path_factory.mktemp("recorded")
    events = list(traffic(120, sessions=12))
    files, database = JsonlWriter(folder / "files"), SqliteWriter(folder / "sessions.db")
    for writer in (files, database):
        writer.open()
        for start in range(0, len(events), 50):
            writer.write(events[start : start + 50])
        writer.flush()
        writer.close()
    return folder / "files", folder / "sessions.db"


def found(path: Path, words: str) -> list[str]:
    sql = (
        "SELECT t.request_id FROM session_search JOIN session_texts t"
        " ON t.id = session_search.rowid WHERE session_search MATCH ? ORDER BY t.id"
    )
    return [row["request_id"] for row in rows(path, sql, words)]


def test_it_is_a_writer_of_events(path: Path) -> None:
    writer: EventWriter = SqliteWriter(path)
    assert callable(writer.write)


class TestWriting:
    def test_what_was_flushed_is_there_and_found(
        self, make: Callable[..., SqliteWriter], path: Path
    ) -> None:
        writer = make()
        writer.write([begun(), *exchange(1, text="A heron.")])
        writer.flush()
        assert rows(path, "SELECT title FROM sessions") == [{"title": "question 1"}]
        assert found(path, "heron") == ["req_1"]

    def test_texts_are_found_without_a_flush_too(
        self, make: Callable[..., SqliteWriter], path: Path
    ) -> None:
        writer = make()
        writer.write([begun(), *exchange(1, text="A heron.")])
        assert writer.wait_until_complete(PATIENCE)
        assert found(path, "heron") == ["req_1"]

    def test_texts_are_indexed_though_events_never_pause(
        self, make: Callable[..., SqliteWriter], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
        monkeypatch.setattr(module, "TEXTS_AT_ONCE", 1)
        writer = make()
        writer.write([begun()])
        indexed = threading.Event()
        index = writer._store.index

        def noted(texts: int) -> int:
            count = index(texts)
            if count:
                indexed.set()
            return count

        monkeypatch.setattr(writer._store, "index", noted)
        for number in range(1, 100_000):
            writer.write(exchange(number))
            if indexed.is_set():
                break
        assert indexed.is_set()

    def test_a_bad_event_fails_alone(self, make: Callable[..., SqliteWriter], path: Path) -> None:
        bad = over(9, total_duration_ms=float("nan"))
        with pytest.raises(PartlyWritten) as raised:
            make().write([begun(), bad, *exchange(1)])
        assert raised.value.rest == [bad]
        assert len(content(path)["session_stats"]) == 1

    def test_a_locked_database_is_a_fault_that_passes(
        self,
        make: Callable[..., SqliteWriter],
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        writer = make()
        writer._store._connection.execute("PRAGMA busy_timeout = 0")  # type: ignore[union-attr]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OSError, match="locked"):
                writer.write([begun()])
            other.execute("ROLLBACK")
        writer.write([begun()])
        assert len(content(path)["sessions"]) == 1

    def test_a_full_disk_is_a_fault_that_passes(self, make: Callable[..., SqliteWriter]) -> None:
        writer = make()
        connection = writer._store._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="full"):
            writer.write([begun(), *exchange(1, text="x" * 900_000)])
        connection.execute("PRAGMA max_page_count = 1000000")
        writer.write([begun(), *exchange(1)])

    def test_readers_are_lent_as_many_as_configured(
        self, make: Callable[..., SqliteWriter]
    ) -> None:
        writer = make(max_connections=1)
        writer.write([begun()])
        writer.readers._wait_seconds = 0
        with (
            writer.readers.connection() as connection,
            pytest.raises(TimeoutError),
            writer.readers.connection(),
        ):
            pass
        with writer.readers.connection() as connection:
            assert connection.execute("SELECT COUNT(*) FROM sessions").fetchone() == (1,)


class TestStarting:
    def test_only_the_owner_can_read_it(
        self, make: Callable[..., SqliteWriter], path: Path
    ) -> None:
        make().write([begun()])
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}

    @pytest.mark.parametrize("text", [b"My notes about herons.\n", b"PK\x03\x04"])
    def test_others_files_are_left_alone(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "notes").write_bytes(text)
        with pytest.raises(StartError, match="no SQLite database"):
            SqliteWriter(tmp_path / "notes").open()
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [text]

    def test_a_locked_database_is_told(
        self, path: Path, make: Callable[..., SqliteWriter], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make().close()
        monkeypatch.setattr("gateway_sessions.storage.sqlite.BUSY_SECONDS", 0.0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StartError, match=r"locked.*end the program"):
                SqliteWriter(path).open()

    def test_a_deleted_database_is_made_anew_from_files(
        self, make: Callable[..., SqliteWriter], path: Path, recorded: tuple[Path, Path]
    ) -> None:
        writer = make(session_files=recorded[0])
        assert writer.wait_until_complete(PATIENCE)
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert writer._store.lacks_since is None
        assert content(path) == content(recorded[1])

    def test_making_it_anew_is_taken_up_where_it_was_left(
        self, make: Callable[..., SqliteWriter], path: Path, recorded: tuple[Path, Path]
    ) -> None:
        writer = make(session_files=recorded[0])
        writer.wait_until_complete(PATIENCE)
        with writer._lock:
            connection = writer._store._connection
            assert connection is not None
            for table in ("sessions", "session_stats", "daily_stats", "session_texts"):
                connection.execute(f"DELETE FROM {table}")
            writer._store.lacks_since = 0.0
        writer.close()
        assert make(session_files=recorded[0]).wait_until_complete(PATIENCE)
        assert content(path) == content(recorded[1])

    def test_after_a_crash_files_written_since_are_read_in(
        self, make: Callable[..., SqliteWriter], path: Path, tmp_path: Path
    ) -> None:
        files = JsonlWriter(tmp_path / "files")
        files.open()
        writer = make(session_files=tmp_path / "files")
        writer.write([begun(), *exchange(1)])
        writer.close()
        files.write([begun(), *exchange(1), *exchange(2)])
        files.close()
        assert make(session_files=tmp_path / "files").wait_until_complete(PATIENCE)
        assert rows(path, "SELECT request_count n FROM sessions") == [{"n": 2}]

    def test_what_was_not_read_before_the_next_crash_is_read_after_it(
        self, make: Callable[..., SqliteWriter], path: Path, tmp_path: Path
    ) -> None:
        """Two crashes in a row, with writes between them that say nothing of the first."""
        files = JsonlWriter(tmp_path / "files")
        files.open()
        files.write([begun(), *exchange(1), *exchange(2)])
        files.close()
        writer = make(session_files=tmp_path / "files")
        assert writer.wait_until_complete(PATIENCE)
        with writer._lock:
            connection = writer._store._connection
            assert connection is not None
            connection.execute("DELETE FROM session_stats WHERE request_id = 'req_2'")
            connection.execute("UPDATE sessions SET request_count = 1")
        writer.close()
        with monkeypatched(module, "_last_change", lambda _: 4e9):
            assert make(session_files=tmp_path / "files").wait_until_complete(PATIENCE)
        assert rows(path, "SELECT request_count n FROM sessions") == [{"n": 2}]

    def test_a_look_into_the_database_does_not_hide_a_crash(
        self, make: Callable[..., SqliteWriter], path: Path, tmp_path: Path
    ) -> None:
        files = JsonlWriter(tmp_path / "files")
        files.open()
        files.write([begun(), *exchange(1), *exchange(2)])
        files.close()
        writer = make()
        writer.write([begun(), *exchange(1)])
        writer.close()
        with monkeypatched(module, "_last_change", lambda _: 4e9):
            assert make(session_files=tmp_path / "files").wait_until_complete(PATIENCE)
        assert rows(path, "SELECT request_count n FROM sessions") == [{"n": 2}]

    def test_after_a_crash_files_are_given_what_only_the_database_has(
        self,
        make: Callable[..., SqliteWriter],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        folder = tmp_path / "files"
        files = JsonlWriter(folder)
        files.open()
        files.write([begun(), *exchange(1), *exchange(2)[:1]])
        files.close()
        writer = make()
        writer.write([begun(), *exchange(1), *exchange(2), begun("sess_b")])
        writer.write(exchange(1, "sess_b"))
        writer.close()
        writer = make(session_files=folder)
        assert writer.wait_until_complete(PATIENCE)
        assert list(folder.glob("*/sess_b.jsonl")) == [], "what a gateway sends again comes first"
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert "6 events that only the database had" in caplog.text
        assert writer._store.lacks_since is None
        kinds = {
            path.stem: [event.__struct_config__.tag for event in read_events(path)]
            for path in folder.glob("*/*.jsonl")
        }
        whole = ["request_recorded", "response_recorded", "request_completed"]
        assert kinds == {"sess_a": ["started", *whole, *whole], "sess_b": ["started", *whole]}
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert caplog.text.count("only the database had") == 1

    def test_giving_back_that_fails_is_tried_again(
        self,
        make: Callable[..., SqliteWriter],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        writer = make()
        writer.write([begun(), *exchange(1)])
        writer.close()
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
        folder = tmp_path / "files"
        folder.write_text("in the way")
        writer = make(session_files=folder)
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert "upkeep fails and is tried again" in caplog.text
        folder.unlink()
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert len(list(folder.glob("*/sess_a.jsonl"))) == 1

    def test_without_a_crash_old_files_are_not_read(
        self, make: Callable[..., SqliteWriter], path: Path, recorded: tuple[Path, Path]
    ) -> None:
        make().close()
        with monkeypatched(module, "_last_change", lambda _: 4e9):
            assert make(session_files=recorded[0]).wait_until_complete(PATIENCE)
        assert content(path)["sessions"] == []


class monkeypatched:  # noqa: N801 - reads as the context manager that it is
    """Replaces an attribute for the length of a block."""

    def __init__(self, owner: Any, name: str, value: Any) -> None:
        self._patch, self._change = pytest.MonkeyPatch(), (owner, name, value)

    def __enter__(self) -> None:
        self._patch.setattr(*self._change)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


class TestDamage:
    @pytest.mark.parametrize("number", range(64))
    def test_flipped_bytes_and_cut_files(
        self,
        make: Callable[..., SqliteWriter],
        tmp_path: Path,
        recorded: tuple[Path, Path],
        number: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It always starts; what it makes anew equals what was recorded live."""
        caplog.set_level(logging.CRITICAL)
        rng = random.Random(number)
        damaged = bytearray(recorded[1].read_bytes())
        match number % 4:
            case 0:
                damaged[rng.randrange(100)] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[rng.randrange(len(damaged)) :]
            case _:
                damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
        path = tmp_path / "sessions.db"
        path.write_bytes(damaged)
        writer = make(path, session_files=recorded[0])
        writer.write([begun("sess_new"), *exchange(1, "sess_new")])
        writer.flush()
        assert writer.wait_until_complete(PATIENCE)
        writer.close()
        anew = list(tmp_path.glob("sessions.db.corrupt-*"))
        assert anew or number % 4 != 1
        there = content(path)
        assert ("sess_new",) in {row[:1] for row in there["session_texts"]}
        if anew:
            with closing(sqlite3.connect(path)) as connection, connection:
                for table in ("sessions", "session_stats", "session_texts"):
                    connection.execute(f"DELETE FROM {table} WHERE session_id = 'sess_new'")
                connection.execute("DELETE FROM daily_stats WHERE model_name = 'gpt-1'")
            assert content(path) == content(recorded[1])

    def test_met_while_running_it_begins_anew(
        self,
        make: Callable[..., SqliteWriter],
        path: Path,
        recorded: tuple[Path, Path],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        writer = make(session_files=recorded[0])
        writer.wait_until_complete(PATIENCE)
        writer.tick(0.0)
        with writer._lock, path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
            connection = writer._store._connection
            assert connection is not None
            connection.execute("PRAGMA cache_size = 0")
            connection.execute("PRAGMA shrink_memory")
        # Pages that SQLite remembers are sound; another program's write makes it forget them.
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA user_version = 7")
            other.commit()
        writer.write([begun("sess_new"), *exchange(1, "sess_new")])
        assert writer.wait_until_complete(PATIENCE)
        assert "was renamed to sessions.db.corrupt-" in caplog.text
        assert rows(path, "SELECT COUNT(*) n FROM sessions") == [
            {"n": 1 + len(content(recorded[1])["sessions"])}
        ]

    def test_a_file_that_is_moved_away_is_made_anew(
        self, make: Callable[..., SqliteWriter], path: Path, recorded: tuple[Path, Path]
    ) -> None:
        writer = make(session_files=recorded[0])
        writer.wait_until_complete(PATIENCE)
        path.rename(path.with_name("moved.db"))
        writer.write([ended("sess_new")])
        assert writer.wait_until_complete(PATIENCE)
        assert len(content(path)["sessions"]) == 1 + len(content(recorded[1])["sessions"])

    def test_what_stopped_a_new_beginning_may_pass(
        self,
        make: Callable[..., SqliteWriter],
        path: Path,
        recorded: tuple[Path, Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        writer = make()
        writer.write([begun()])

        def damaged(_: object) -> None:
            raise CorruptDatabase("damaged")

        def refuse(*_: object) -> None:
            raise OSError(13, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(writer._store, "write", damaged)
            patch.setattr(module, "quarantine", refuse)
            with pytest.raises(OSError, match="Permission denied"):
                writer.write(exchange(1))
        writer.write(exchange(1))
        assert len(content(path)["session_stats"]) == 1

    def test_without_session_files_it_begins_empty(
        self, make: Callable[..., SqliteWriter], tmp_path: Path, recorded: tuple[Path, Path]
    ) -> None:
        path = tmp_path / "sessions.db"
        path.write_bytes(recorded[1].read_bytes()[:5000])
        make(path).write([begun()])
        assert len(content(path)["sessions"]) == 1


class TestHoles:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        files = JsonlWriter(tmp_path / "files")
        files.open()
        files.write([begun(), *exchange(1), *exchange(2)])
        files.close()
        return tmp_path / "files"

    def test_what_was_dropped_before_a_gap_is_read_in(
        self, make: Callable[..., SqliteWriter], path: Path, files: Path
    ) -> None:
        writer = make()
        writer._files = files
        gap = session_events.Gap(
            session_id="sess_a",
            request_id="req_2",
            timestamp=stamp(9.0),
            dropped={"response_recorded": 1},
        )
        writer.write([begun(), *exchange(1), gap])
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert rows(path, "SELECT request_count n FROM sessions") == [{"n": 2}]

    def test_so_is_what_could_not_be_written(
        self,
        make: Callable[..., SqliteWriter],
        path: Path,
        files: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        writer = make()
        writer._files = files

        def refuse(_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(writer._store, "write", refuse)
            with pytest.raises(OSError, match="No space"):
                writer.write([begun(), *exchange(1)])
        writer.tick(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert rows(path, "SELECT request_count n FROM sessions") == [{"n": 2}]

    def test_upkeep_that_fails_is_tried_again(
        self,
        make: Callable[..., SqliteWriter],
        path: Path,
        files: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
        writer = make()
        writer._files = files
        faults = [OSError(28, "No space left on device")]
        write = writer._store.write

        def sometimes(batch: Any) -> None:
            if faults:
                raise faults.pop()
            write(batch)

        monkeypatch.setattr(writer._store, "write", sometimes)
        writer._read_in(0.0)
        assert writer.wait_until_complete(PATIENCE)
        assert "tried again" in caplog.text
        assert rows(path, "SELECT request_count n FROM sessions") == [{"n": 2}]

    def test_events_that_can_not_be_written_are_told(
        self, make: Callable[..., SqliteWriter], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        day = tmp_path / "files" / "2026-01-31"
        day.mkdir(parents=True)
        line = (
            '{"record_version":1,"type":"gap","session_id":"s","request_id":"r",'
            '"timestamp":"2026-01-31T12:00:00.000000Z","dropped":{}}\n'
            '{"type":"error","session_id":"s","request_id":"r","timestamp":"never",'
            '"error_type":"t","error_message":"m"}\n'
            "nonsense\n"
        )
        (day / "s.jsonl").write_text(line)
        assert make(session_files=tmp_path / "files").wait_until_complete(PATIENCE)
        assert "1 events of session files can not be written" in caplog.text
        assert "s.jsonl, line 3: not a JSON object" in caplog.text
