from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_sessions.index import upkeep as module
from gateway_sessions.index.file import FileStore
from gateway_sessions.index.store import Change
from gateway_sessions.index.upkeep import Upkeep
from gateway_sessions.storage.sqlite import log_size

SCOPE, TTL = 5, 160.0
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
    await fill(store, 10, NOW + TTL, scope=6)
    connection = look(path)
    upkeep.round(connection, NOW + 2 * TTL)
    assert (count(path, "sessions"), count(path, "keys")) == (80, 800)
    upkeep.round(connection, NOW + 2 * TTL + 20)
    assert (count(path, "sessions"), count(path, "keys"), count(path, "scopes")) == (10, 100, 1)
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
    assert (count(path, "sessions"), count(path, "keys")) == (2, 50)
    connection = look(path)
    for _ in range(20):
        upkeep.removed()
        upkeep.round(connection, NOW)
    assert count(path, "keys") == 20
    connection.close()
    await store.close()


async def test_one_that_is_used_meanwhile_stays(path: Path, store: FileStore) -> None:
    await fill(store, 1)
    await store.commit(SCOPE, [Change("sess_5_0", 1, NOW + TTL, b"", ())])
    connection = look(path)
    assert module._remove(connection, SCOPE, [1], int(NOW / (TTL / 16)) + 1) == 0
    assert count(path, "sessions") == 1
    connection.close()


async def test_the_log_is_written_back_when_it_is_long(
    store: FileStore, path: Path, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = look(path)
    await fill(store, 50)
    size = log_size(path)
    assert size > 0
    upkeep.round(connection, NOW)
    assert log_size(path) == size
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


async def test_a_thread_does_it(
    store: FileStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.001)
    await fill(store, 3, NOW - 3 * TTL)
    upkeep = Upkeep(path, gone_after=2 * TTL, bucket_seconds=TTL / 16)
    rounds = asyncio.Event()
    loop, done = asyncio.get_running_loop(), upkeep.round

    def counted(connection: sqlite3.Connection, now: float) -> None:
        done(connection, now)
        loop.call_soon_threadsafe(rounds.set)

    monkeypatch.setattr(upkeep, "round", counted)
    upkeep.start()
    await rounds.wait()
    await asyncio.to_thread(upkeep.stop)
    assert count(path, "sessions") == 0


def test_a_file_that_is_gone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    upkeep = Upkeep(tmp_path / "no" / "live.db", gone_after=1.0, bucket_seconds=1.0)
    upkeep.start()
    upkeep.stop()
    assert "can not be looked after" in caplog.text
