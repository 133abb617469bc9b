from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_sessions.index import upkeep as module
from gateway_sessions.index.file import FileStore
from gateway_sessions.index.store import Change
from gateway_sessions.index.upkeep import Upkeep
from gateway_sessions.storage.sqlite import log_size

SCOPE, TTL = 5, 160_000.0
"""Nothing expires while the tests run, however long the suite takes."""
NOW = time.time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[FileStore]:
    made = FileStore(path, max_sessions=100, ttl_seconds=TTL)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def upkeep(path: Path) -> Upkeep:
    return Upkeep(path, gone_after=2 * TTL, bucket_seconds=TTL / 16)


def look(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0)


async def fill(store: FileStore, count: int, used: float = NOW, scope: int = SCOPE) -> None:
    changes = [
        Change(f"sess_{scope}_{n}", 0, used, b"x" * 100, tuple(range(10 * n + 1, 10 * n + 11)))
        for n in range(count)
    ]
    await store.commit(scope, changes)


def count(path: Path, table: str) -> int:
    connection = look(path)
    (found,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    connection.close()
    return int(found)


async def test_sessions_that_can_not_be_found_go_with_their_keys(
    store: FileStore, path: Path, upkeep: Upkeep
) -> None:
    await fill(store, 70)
    await fill(store, 11, NOW + TTL, scope=6)
    connection = look(path)
    upkeep.round(connection, NOW + 2 * TTL)
    assert (count(path, "sessions"), count(path, "keys")) == (81, 800)
    upkeep.round(connection, NOW + 2 * TTL + TTL / 8)
    assert (count(path, "sessions"), count(path, "keys"), count(path, "scopes")) == (11, 100, 1)
    upkeep.round(connection, NOW + 4 * TTL)
    assert (count(path, "sessions"), count(path, "keys"), count(path, "scopes")) == (0, 0, 0)
    connection.close()


async def test_keys_of_those_that_made_room_go_as_well(
    path: Path, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEYS_AT_ONCE", 7)
    store = FileStore(path, max_sessions=2, ttl_seconds=TTL)
    await store.open()
    await fill(store, 5)
    await store.commit(SCOPE, [Change("sess_5_4", 1, NOW, b"", (900,))])
    connection = look(path)
    upkeep.round(connection, NOW)
    assert (count(path, "sessions"), count(path, "keys")) == (2, 20)
    await store.commit(SCOPE, [Change("sess_5_5", 0, NOW, b"", (901,))])
    upkeep.round(connection, NOW)
    assert count(path, "keys") == 21
    upkeep.removed()
    upkeep.round(connection, NOW)
    assert count(path, "keys") == 11
    connection.close()
    await store.close()


async def test_news_are_moved_but_the_newest_which_keeps_the_count(
    store: FileStore, path: Path, upkeep: Upkeep
) -> None:
    await fill(store, 3)
    await store.commit(SCOPE, [Change("sess_5_0", 1, NOW, b"", (900,), (1, 2))])
    assert (count(path, "news"), count(path, "keys")) == (4, 0)
    connection = look(path)
    upkeep.round(connection, NOW)
    upkeep.look(connection)
    assert (count(path, "news"), count(path, "keys"), upkeep.moved) == (1, 30, 3)
    await store.commit(SCOPE, [Change("sess_5_0", 2, NOW, b"", (901,), (900,))])
    upkeep.round(connection, NOW)
    assert (count(path, "news"), count(path, "keys")) == (1, 29)
    assert [each.id for each in await store.fetch(SCOPE, (901,), {})] == ["sess_5_0"]
    assert await store.fetch(SCOPE, (1, 900), {}) == []
    connection.close()


async def test_the_log_is_written_back_when_it_is_long(
    store: FileStore, path: Path, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = look(path)
    await fill(store, 50)
    size = log_size(path)
    assert size > 0
    upkeep.round(connection, NOW)
    assert log_size(path) >= size
    monkeypatch.setattr(module, "LOG_BYTES", 1)
    monkeypatch.setattr(module, "LONGEST_LOG_BYTES", 1)
    upkeep.round(connection, NOW)
    assert log_size(path) == 0
    connection.close()


async def test_who_finds_another_one_writing_leaves_it(
    store: FileStore, path: Path, upkeep: Upkeep
) -> None:
    await fill(store, 3)
    other, connection = look(path), look(path)
    other.execute("BEGIN IMMEDIATE")
    upkeep.round(connection, NOW + 3 * TTL)
    other.execute("COMMIT")
    assert count(path, "sessions") == 3
    upkeep.round(connection, NOW + 3 * TTL)
    assert count(path, "sessions") == 0
    other.close()
    connection.close()


def let_expire(path: Path) -> None:
    connection = look(path)
    connection.execute("UPDATE sessions SET bucket = 0")
    connection.close()


async def test_a_thread_does_it(
    store: FileStore, path: Path, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.001)
    await fill(store, 3)
    await store.close()  # Its own thread would be the one that does it.
    let_expire(path)
    rounds = threading.Event()
    done = upkeep.round

    def counted(connection: sqlite3.Connection, now: float) -> None:
        done(connection, now)
        rounds.set()

    monkeypatch.setattr(upkeep, "round", counted)
    upkeep.start()
    assert await asyncio.to_thread(rounds.wait, 30)
    await asyncio.to_thread(upkeep.stop)
    assert count(path, "sessions") == 0


async def test_one_process_at_a_time_does_it(
    store: FileStore, path: Path, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.001)
    await fill(store, 3)
    await store.close()
    let_expire(path)
    with Path(f"{path}.upkeep").open("w") as other:  # noqa: ASYNC230 - a lock, and no reading
        fcntl.flock(other, fcntl.LOCK_EX)
        looked = threading.Event()
        monkeypatch.setattr(upkeep, "look", lambda connection: looked.set())
        upkeep.start()
        assert await asyncio.to_thread(looked.wait, 30)
        await asyncio.to_thread(upkeep.stop)
    assert count(path, "sessions") == 3


def test_a_file_that_is_gone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    upkeep = Upkeep(tmp_path / "no" / "live.db", gone_after=1.0, bucket_seconds=1.0)
    upkeep.start()
    upkeep.stop()
    assert "can not be looked after" in caplog.text
