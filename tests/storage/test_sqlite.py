"""SQLite files: ours, others', damaged ones."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.storage import sqlite
from gateway_sessions.storage.sqlite import (
    CorruptDatabase,
    ForeignFile,
    connect,
    quarantine,
    transaction,
    translated,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        yield connection


def count(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT COUNT(*) FROM numbers").fetchone()
    return int(found)


class TestConnecting:
    def test_a_new_file_is_private_and_in_wal_mode(
        self, path: Path, connection: sqlite3.Connection
    ) -> None:
        connection.execute("INSERT INTO numbers VALUES (1)")
        assert path.stat().st_mode & 0o777 == 0o600
        assert Path(f"{path}-wal").stat().st_mode & 0o777 == 0o600
        settings = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000}
        for name, value in settings.items():
            assert connection.execute(f"PRAGMA {name}").fetchone() == (value,)

    def test_a_link_is_not_followed(self, path: Path, tmp_path: Path) -> None:
        path.symlink_to(tmp_path / "elsewhere.db")
        with pytest.raises(StartError, match="symbolic link"):
            connect(path)
        assert not (tmp_path / "elsewhere.db").exists()

    def test_a_folder_that_is_missing_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StartError, match=r"can not be opened \(No such file or directory\)"):
            connect(tmp_path / "nowhere" / "some.db")

    @pytest.mark.parametrize("text", [b"Dear diary, today I saw a heron.\n" * 9, b"x", b"SELECT"])
    def test_a_file_that_is_no_database_is_left_alone(self, path: Path, text: bytes) -> None:
        path.write_bytes(text)
        with pytest.raises(ForeignFile, match="no SQLite database"):
            connect(path)
        assert path.read_bytes() == text

    def test_a_database_of_another_program_is_left_alone(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("CREATE TABLE bookmarks (url)")
        before = path.read_bytes()
        with pytest.raises(ForeignFile, match="made by another program"):
            connect(path)
        assert path.read_bytes() == before

    def test_an_empty_file_is_taken(self, path: Path) -> None:
        path.touch()
        connect(path).close()

    def test_what_is_there_is_kept(self, path: Path, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (1)")
        with closing(connect(path)) as again:
            assert count(again) == 1


class TestDamage:
    @pytest.mark.parametrize("end", [2, 15, 50, 100, 4096])
    def test_a_file_that_was_cut_is_damaged(
        self, path: Path, connection: sqlite3.Connection, end: int
    ) -> None:
        connection.close()
        path.write_bytes(path.read_bytes()[:end])
        with pytest.raises(CorruptDatabase, match="damaged"):
            connect(path)

    @pytest.mark.parametrize("place", [0, 15, 16, 18, 19, 21, 47])
    def test_so_is_one_with_a_wrong_byte_at_its_head(
        self, path: Path, connection: sqlite3.Connection, place: int
    ) -> None:
        connection.close()
        content = bytearray(path.read_bytes())
        content[place] ^= 0x15
        path.write_bytes(content)
        with pytest.raises(CorruptDatabase, match="damaged"):
            connect(path)

    def test_so_is_one_of_zeros(self, path: Path) -> None:
        path.write_bytes(bytes(8192))
        with pytest.raises(CorruptDatabase, match="damaged"):
            connect(path)

    def test_so_is_one_whose_versions_have_a_gap(
        self, path: Path, connection: sqlite3.Connection
    ) -> None:
        connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO schema_version VALUES (1), (71)")
        with pytest.raises(CorruptDatabase, match="versions are missing"):
            connect(path)

    def test_looking_takes_no_longer_than_it_may(self) -> None:
        """The check of a huge file is interrupted and the file taken as it is."""

        class Huge(sqlite3.Connection):
            interrupted = threading.Event()

            def interrupt(self) -> None:
                self.interrupted.set()

            def execute(self, *_: object) -> sqlite3.Cursor:
                assert self.interrupted.wait(10)
                error = sqlite3.OperationalError("interrupted")
                error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
                raise error

        with closing(Huge(":memory:")) as connection:
            assert sqlite._complaint(connection, 0.0) is None

    def test_it_is_put_aside_with_its_journal(
        self, path: Path, connection: sqlite3.Connection
    ) -> None:
        connection.execute("INSERT INTO numbers VALUES (1)")
        aside = quarantine(path, 1_769_860_800.0)
        assert aside.name == "some.db.corrupt-20260131T120000Z"
        assert Path(f"{aside}-wal").exists()
        assert not path.exists()
        assert not Path(f"{path}-wal").exists()
        with closing(sqlite3.connect(aside)) as old:
            assert count(old) == 1

    def test_nothing_is_overwritten_by_that(self, path: Path) -> None:
        names = []
        for text in ("first", "second", "third"):
            path.write_text(text)
            names.append(quarantine(path, 0.0))
        assert [name.read_text() for name in names] == ["first", "second", "third"]


class TestTransaction:
    def test_it_commits(self, connection: sqlite3.Connection) -> None:
        with transaction(connection):
            connection.execute("INSERT INTO numbers VALUES (1)")
        assert not connection.in_transaction
        assert count(connection) == 1

    def test_it_undoes_everything_on_an_error(self, connection: sqlite3.Connection) -> None:
        with pytest.raises(sqlite3.IntegrityError), transaction(connection):
            connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (1,)])
        assert not connection.in_transaction
        assert count(connection) == 0

    def test_it_keeps_other_writers_out(self, path: Path, connection: sqlite3.Connection) -> None:
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            transaction(connection),
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("INSERT INTO numbers VALUES (1)")


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "meaning"),
        [
            (sqlite3.SQLITE_CORRUPT, CorruptDatabase),
            (sqlite3.SQLITE_CORRUPT_VTAB, CorruptDatabase),
            (sqlite3.SQLITE_NOTADB, CorruptDatabase),
            (sqlite3.SQLITE_BUSY, OSError),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, OSError),
            (sqlite3.SQLITE_FULL, OSError),
            (sqlite3.SQLITE_IOERR_WRITE, OSError),
            (sqlite3.SQLITE_READONLY, OSError),
            (sqlite3.SQLITE_CONSTRAINT, sqlite3.DatabaseError),
        ],
    )
    def test_they_say_what_to_do(self, path: Path, code: int, meaning: type[Exception]) -> None:
        error = sqlite3.DatabaseError("something")
        error.sqlite_errorcode = code
        with pytest.raises(meaning, match="something"), translated(path):
            raise error

    def test_a_full_disk_is_told_as_such(self, path: Path, connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="full"), translated(path):
            connection.execute("CREATE TABLE more (x)")

    def test_a_text_that_is_none_is_damage(
        self, path: Path, connection: sqlite3.Connection
    ) -> None:
        with pytest.raises(CorruptDatabase, match="UTF-8"), translated(path):
            connection.execute("SELECT CAST(x'ff' AS TEXT)").fetchone()
