"""The tables in a real PostgreSQL: the same rows as in SQLite, and a server that fails."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway_sessions.errors import ConfigError
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.postgres_store import PostgresStore
from gateway_sessions.recording.sqlite_store import SqliteStore
from gateway_sessions.storage.migrations import VERSION, UnsupportedSchema
from tests.postgres import NEEDED, database
from tests.recording.talk import (
    answered,
    asked,
    begun,
    called,
    content,
    exchange,
    over,
    returned,
    tokens,
    traffic,
)

pytestmark = NEEDED


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with database(postgres) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    store.open()
    yield store
    store.close()


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


def everything(url: str, tables: dict[str, list[Any]], path: Path) -> dict[str, list[Any]]:
    """Return the rows of some tables with the columns and the forms of those in SQLite."""
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            times = {
                name
                for name, kind in query(
                    url,
                    "SELECT column_name, data_type FROM information_schema.columns"
                    f" WHERE table_name = '{table}'",
                )
                if kind.startswith("timestamp")
            }
            listed = ", ".join(
                f"to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')" if name in times else name
                for name in names
                if name != "id"
            )
            found[table] = sorted(query(url, f"SELECT {listed} FROM {table}"), key=repr)
    return found


def test_it_holds_what_sqlite_holds(store: PostgresStore, url: str, tmp_path: Path) -> None:
    lite = SqliteStore(tmp_path / "sessions.db")
    lite.open()
    events = list(traffic(150))
    for start in range(0, len(events), 40):
        store.write(events[start : start + 40])
        lite.write(events[start : start + 40])
    lite.close()
    wanted = content(lite.path)
    there = everything(url, wanted, lite.path)
    assert there == wanted
    store.write(events[:100])
    assert everything(url, wanted, lite.path) == wanted


def test_times_compare_with_now(store: PostgresStore, url: str) -> None:
    store.write([begun(), *exchange(1)])
    sql = "SELECT started_at < now() - interval '1 minute', started_at::text FROM sessions"
    assert query(url, sql) == [(True, "2026-01-31 12:00:00")]


def test_texts_are_found_by_their_words(store: PostgresStore, url: str) -> None:
    store.write([begun(), *exchange(1, text="The heron stands."), *exchange(2, text="A duck.")])
    sql = "SELECT request_id FROM session_texts WHERE words @@ websearch_to_tsquery('simple', '{}')"
    assert query(url, sql.format("heron question")) == [("req_1",)]


def test_an_enormous_text_is_stored(store: PostgresStore, url: str) -> None:
    text = " ".join(str(number) for number in range(300_000))
    store.write([begun(), asked(request_text=text)])
    assert query(url, "SELECT length(request_text) FROM session_texts") == [(1_000_000,)]


def test_a_bad_event_fails_alone(store: PostgresStore, url: str) -> None:
    bad = answered(9, used=tokens(2**70))
    with pytest.raises(PartlyWritten) as raised:
        store.write([begun(), asked(1), bad, over(1), *exchange(2)])
    assert raised.value.rest == [bad]
    assert raised.value.written == 6
    assert query(url, "SELECT request_count FROM sessions") == [(2,)]
    with pytest.raises(PartlyWritten):
        store.write([asked(request_id=None)])


def test_the_one_character_it_can_not_hold_is_replaced(store: PostgresStore, url: str) -> None:
    for _ in range(2):
        store.write([begun("s\0"), asked(1, "s\0", request_text="a\0b")])
    sql = "SELECT session_id, request_text FROM session_texts"
    assert query(url, sql) == [("s\ufffd", "a\ufffdb")]


def test_call_and_result_meet(store: PostgresStore, url: str) -> None:
    store.write([begun(), *exchange(1), called()])
    store.write([*exchange(2), returned()])
    sql = "SELECT request_id, model_name, call_count, error_count FROM tool_calls"
    assert query(url, sql) == [("req_1", "gpt-1", 1, 0)]


def test_two_gateways_write_the_same_rows(url: str) -> None:
    """Sums of one day and of one session, from several programs at once."""
    stores = [PostgresStore(url) for _ in range(3)]
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            stores[number].open()
            for step in range(20):
                stores[number].write(exchange(100 * number + step))
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert failures == []
    assert query(url, "SELECT request_count, input_tokens FROM sessions") == [(60, 6000)]
    assert query(url, "SELECT requests, sessions FROM daily_stats") == [(60, 1)]


def test_a_lost_connection_is_made_again(store: PostgresStore, url: str) -> None:
    store.write([begun(), *exchange(1)])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'gateway-sessions'"
        )
    with pytest.raises(OSError, match="terminat"):
        store.write(exchange(2))
    store.write(exchange(2))
    assert query(url, "SELECT request_count FROM sessions") == [(2,)]


def test_a_missing_table_is_no_fault_of_events(store: PostgresStore, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE stream_events RENAME TO elsewhere")
        with pytest.raises(OSError, match="stream_events"):
            store.write([begun(), *exchange(1, streamed=True)])
        connection.execute("ALTER TABLE elsewhere RENAME TO stream_events")
    store.write([begun(), *exchange(1, streamed=True)])
    assert query(url, "SELECT chunk_count FROM stream_events") == [(7,)]


def test_a_server_that_is_not_there_is_tried_with_every_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(f"postgresql://me:hunter2@/x?host={tmp_path}")
    store.open()
    assert "it is tried again" in caplog.text
    with pytest.raises(OSError, match="connection") as raised:
        store.write([begun()])
    store.close()
    assert "hunter2" not in caplog.text + str(raised.value)


def test_what_the_server_says_against_us_is_told(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(postgres.replace("/postgres?", "/nowhere?"))
    store.open()
    assert 'database "nowhere" does not exist' in caplog.text
    with pytest.raises(OSError, match="nowhere"):
        store.write([begun()])


def test_newer_tables_are_refused(store: PostgresStore, url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(UnsupportedSchema, match="Unsupported schema version: 99"):
        PostgresStore(url).open()
    assert VERSION < 99


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"postgresql://user:password@host"):
        PostgresStore("what is this")
