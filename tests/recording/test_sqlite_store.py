"""One file, written in transactions: bad events, other writers, long readers, damage."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import sqlite_store
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.sqlite_store import SqliteStore
from gateway_sessions.storage import sqlite
from gateway_sessions.storage.migrations import UnsupportedSchema
from gateway_sessions.storage.sqlite import CorruptDatabase
from tests.recording.talk import (
    BEGIN,
    answered,
    asked,
    begun,
    content,
    exchange,
    over,
    rows,
    tokens,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions.db")
    store.open()
    yield store
    store.close()


def found(store: SqliteStore, words: str) -> list[str]:
    sql = (
        "SELECT t.request_id FROM session_search JOIN session_texts t"
        " ON t.id = session_search.rowid WHERE session_search MATCH ? ORDER BY t.id"
    )
    return [row["request_id"] for row in rows(store.path, sql, words)]


class TestBadEvents:
    @pytest.mark.parametrize(
        "bad",
        [
            answered(9, used=tokens(2**70)),
            answered(9, latency=float("nan")),
            answered(9, text="\ud800"),
            asked(timestamp="yesterday"),
            over(total_duration_ms="long"),
            asked(request_id=None),
            asked(message_count=[]),
            SessionEvent(session_id="sess_a", request_id="req_1", timestamp=""),
        ],
        ids=lambda bad: type(bad).__name__,
    )
    def test_it_fails_alone(self, store: SqliteStore, bad: SessionEvent) -> None:
        good = [begun(), *exchange(1), *exchange(2)]
        with pytest.raises(PartlyWritten) as raised:
            store.write([*good[:2], bad, *good[2:]])
        assert raised.value.rest == [bad]
        assert raised.value.written == len(good)
        written = content(store.path)
        with pytest.raises(PartlyWritten) as raised:
            store.write([bad])
        assert (raised.value.written, raised.value.rest) == (0, [bad])
        store.write(good)
        assert content(store.path) == written
        assert rows(store.path, "SELECT request_count FROM sessions") == [{"request_count": 2}]

    def test_nothing_is_left_of_a_batch_that_a_lock_stopped(self, store: SqliteStore) -> None:
        store._connection.execute("PRAGMA busy_timeout = 0")  # type: ignore[union-attr]
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OSError, match="locked"):
                store.write([begun(), *exchange(1)])
            other.execute("ROLLBACK")
        assert content(store.path)["sessions"] == []
        store.write([begun(), *exchange(1)])
        assert len(content(store.path)["sessions"]) == 1

    def test_an_empty_batch_is_no_fault(self, store: SqliteStore) -> None:
        store.write([])


class TestLargeBatches:
    def test_they_are_split_by_the_size_of_their_texts(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_store, "TRANSACTION_CHARACTERS", 100)
        batch = [begun(), *exchange(1, text="a" * 90), *exchange(2, text="b" * 200)]
        parts = list(sqlite_store._parts(batch))
        assert [event for part in parts for event in part] == batch
        assert [len(part) for part in parts] == [4, 1, 1, 1]
        store.write(batch)
        assert rows(store.path, "SELECT request_count FROM sessions") == [{"request_count": 2}]

    def test_a_bad_event_in_a_later_part_is_found(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_store, "TRANSACTION_CHARACTERS", 5)
        bad = over(9, at=float("1"), total_duration_ms=float("inf"))
        with pytest.raises(PartlyWritten) as raised:
            store.write([begun(), *exchange(1), bad, *exchange(2)])
        assert (raised.value.written, raised.value.rest) == (7, [bad])
        assert len(content(store.path)["session_stats"]) == 2


class TestLog:
    def test_it_stays_short_under_a_long_reader(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Writing waits for the reader; when he is done it goes on and nothing is missing."""
        monkeypatch.setattr(sqlite, "LOG_BYTES", 300_000)
        store.write([begun()])
        store.tidy()
        with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM sessions").fetchall()
            written, reason = self.write_until_refused(store)
            assert written > 1
            assert "reads for long" in reason
            assert sqlite.log_size(store.path) < 2 * 300_000
            reader.execute("ROLLBACK")
        for number in range(written + 1, written + 200):
            store.write(exchange(number, text="word " * 2000))
            assert sqlite.log_size(store.path) < 2 * 300_000
        assert rows(store.path, "SELECT request_count n FROM sessions") == [{"n": written + 199}]

    @staticmethod
    def write_until_refused(store: SqliteStore) -> tuple[int, str]:
        """Return how many exchanges could be written, and why no more."""
        for number in range(1, 1000):
            try:
                store.write(exchange(number, text="word " * 2000))
            except OSError as error:
                return number - 1, str(error)
        pytest.fail("nothing kept the log short")

    def test_tidying_empties_it(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1)])
        assert sqlite.log_size(store.path) > 0
        store.tidy()
        assert sqlite.log_size(store.path) == 0

    def test_a_flush_syncs_it(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[str] = []
        monkeypatch.setattr(
            "os.fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        )
        store.write([begun()])
        store.flush()
        assert synced == ["sessions.db-wal"]


class TestSearch:
    def test_texts_are_found_once_they_are_indexed(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1, text="The heron stands."), *exchange(2, text="A duck.")])
        assert found(store, "heron") == []
        assert store.index(10) == 2
        assert store.index(10) == 0
        assert found(store, "heron") == ["req_1"]
        assert found(store, "question duck") == ["req_2"]

    def test_an_answer_that_comes_later_is_found(self, store: SqliteStore) -> None:
        store.write([begun(), asked(1)])
        store.index(10)
        assert found(store, "question") == ["req_1"]
        store.write([answered(1, text="heron")])
        store.index(10)
        assert found(store, "question heron") == ["req_1"]
        assert found(store, "question OR heron") == ["req_1"]

    def test_what_comes_again_is_not_indexed_again(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1)])
        store.index(10)
        store.write(exchange(1))
        assert store.index(10) == 0

    def test_the_index_agrees_with_the_texts_after_everything(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1), *exchange(2), *exchange(3)])
        store.index(2)
        store.write([answered(1, text="changed"), answered(3, text="changed")])
        connection = store._connection
        assert connection is not None
        connection.execute("DELETE FROM session_texts WHERE request_id IN ('req_2', 'req_3')")
        store.index(10)
        connection.execute("INSERT INTO session_search(session_search) VALUES ('integrity-check')")
        assert found(store, "changed") == ["req_1"]
        assert found(store, "question") == ["req_1"]


class TestOpening:
    def test_only_the_owner_can_read_it(self, store: SqliteStore) -> None:
        store.write([begun()])
        files = sorted(store.path.parent.iterdir())
        assert [file.name for file in files] == [
            f"sessions.db{end}" for end in ("", "-shm", "-wal")
        ]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    def test_a_newer_database_is_refused(self, store: SqliteStore) -> None:
        with closing(sqlite3.connect(store.path)) as connection, connection:
            (newest,) = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
            connection.execute("INSERT INTO schema_version VALUES (?)", (newest + 1,))
        store.close()
        with pytest.raises(UnsupportedSchema, match=f"Unsupported schema version: {newest + 1}"):
            store.open()

    def test_an_altered_table_is_damage(self, store: SqliteStore) -> None:
        store.close()
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("ALTER TABLE daily_stats RENAME COLUMN errors TO erros")
        with pytest.raises(CorruptDatabase, match="daily_stats was altered"):
            store.open()

    def test_indexes_and_tables_of_the_user_are_left_alone(self, store: SqliteStore) -> None:
        store.close()
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("CREATE INDEX mine ON sessions(client_ip)")
            connection.execute("CREATE TABLE notes (text)")
        store.open()
        store.write([begun()])

    def test_a_missing_feature_of_sqlite_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_search(*_: object) -> None:
            raise sqlite3.OperationalError("no such module: fts5")

        sqlite_store._expected_schema.cache_clear()
        monkeypatch.setattr(sqlite_store, "migrate", no_search)
        with pytest.raises(StartError, match=r"fts5.*session_recording.sqlite.enabled"):
            SqliteStore(tmp_path / "x.db").open()
        assert list(tmp_path.iterdir()) == []

    def test_it_remembers_since_when_it_lacks_something(self, store: SqliteStore) -> None:
        assert store.lacks_since is None
        for since, minute in ((0.0, 0.0), (-60.0, 0.0), (6e9 + 59.0, 6e9)):
            store.lacks_since = since
            store.close()
            store.open()
            assert store.lacks_since == minute
        store.lacks_since = None
        assert store.lacks_since is None

    def test_it_tells_its_newest_exchanges(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert store.newest() == (0, 0.0)
        begin = BEGIN.timestamp()
        assert store.before(begin, 0) == 0
        store.write([begun()])
        for number in (1, 2, 3):
            store.write([asked(number, at=10.0 * number)])
        assert store.newest() == (3, begin + 30.0)
        assert store.before(begin + 15.0, 3) == 1
        assert store.before(begin + 15.0, 2) == 1
        assert store.before(begin + 40.0, 3) == 3
        assert store.before(begin, 3) == 0
        monkeypatch.setattr(sqlite_store, "RECENT", 2)
        assert store.before(begin, 3) == 1

    def test_it_notices_that_its_file_is_gone(self, store: SqliteStore) -> None:
        assert not store.replaced
        store.path.rename(store.path.with_name("moved.db"))
        assert store.replaced
        store.path.touch()
        assert store.replaced

    def test_it_knows_what_it_holds(self, store: SqliteStore) -> None:
        store.write([begun()])
        assert store.holds("sess_a")
        assert not store.holds("sess_b")

    def test_closed_it_says_so(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "x.db")
        with pytest.raises(OSError, match="not open"):
            store.write([begun()])
        store.flush()
        store.close()

    def test_damage_met_while_writing_is_told(self, store: SqliteStore) -> None:
        store.write([begun(), *exchange(1)])
        store.tidy()
        with store.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 200_000)
        store.close()
        with pytest.raises(CorruptDatabase):
            store.open()


def test_what_another_program_wrote_in_between_is_noticed(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.write([begun(), *exchange(1)])
    other = SqliteStore(store.path)
    other.open()
    other.write(exchange(2))
    store.write(exchange(3))
    other.write(exchange(4)[:1])
    store.write(exchange(4))
    other.close()
    alone = SqliteStore(tmp_path / "alone.db")
    alone.open()
    alone.write([begun(), *(event for number in range(1, 5) for event in exchange(number))])
    alone.close()
    assert content(store.path) == content(alone.path)


def test_what_was_undone_is_not_remembered(store: SqliteStore, tmp_path: Path) -> None:
    store.write([begun(), *exchange(1)])
    with pytest.raises(PartlyWritten):
        store.write([*exchange(2), answered(3, latency=float("nan"))])
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("DROP TABLE session_texts")
        with pytest.raises(sqlite3.OperationalError):
            store.write(exchange(3))
        assert connection.execute("SELECT request_count FROM sessions").fetchone() == (2,)


def test_a_page_of_the_file_is_large_enough_for_a_few_rows(store: SqliteStore) -> None:
    assert rows(store.path, "PRAGMA page_size") == [{"page_size": 8192}]


def test_several_programs_write_the_same_rows(tmp_path: Path) -> None:
    """Sums of one day and of one session, from several connections at once."""
    path = tmp_path / "sessions.db"
    failures: list[BaseException] = []

    def write(number: int) -> None:
        store = SqliteStore(path)
        try:
            store.open()
            for step in range(30):
                store.write(exchange(100 * number + step))
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert rows(path, "SELECT request_count, input_tokens FROM sessions") == [
        {"request_count": 120, "input_tokens": 12_000}
    ]
    assert rows(path, "SELECT requests, sessions FROM daily_stats") == [
        {"requests": 120, "sessions": 1}
    ]


def test_sums_survive_numbers_that_do_not_add_up_in_binary(store: SqliteStore) -> None:
    store.write([begun()])
    for number in range(1, 11):
        store.write(exchange(number, latency=0.1, cost=0.1))
    (session,) = rows(store.path, "SELECT provider_latency_ms, cost_usd FROM sessions")
    assert session == {"provider_latency_ms": 1.0, "cost_usd": 1.0}
    tiny = msgspec.structs.replace(answered(11, at=20.0, cost=2.5e-8))
    store.write([tiny])
    (session,) = rows(store.path, "SELECT cost_usd FROM sessions")
    assert session["cost_usd"] == 1.000000025
