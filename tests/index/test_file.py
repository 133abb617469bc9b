"""What is particular to the store in a file; the rest is in tests/contracts/test_stores.py."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.errors import StartError
from gateway_sessions.index import file as module
from gateway_sessions.index.file import FileStore
from gateway_sessions.index.store import Change, Store, StoreFailed
from gateway_sessions.storage import migrations
from gateway_sessions.storage.sqlite import log_size

SCOPE, ELSEWHERE = 2**64 - 5, 0xF00D
TTL = 3600.0


def change(name: str = "sess_a", version: int = 0, *, used: float = 0.0, **more: object) -> Change:
    fields: dict[str, object] = {"used": used or time.time(), "state": b"%d" % version, **more}
    return Change(id=name, version=version, **fields)  # type: ignore[arg-type]


async def ids(store: Store, *keys: int, scope: int = SCOPE) -> list[str]:
    return sorted(each.id for each in await store.fetch(scope, keys, {}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "live.db"


def store_at(path: Path, most: int = 1000) -> FileStore:
    return FileStore(path, max_sessions=most, ttl_seconds=TTL)


def spoil(path: Path, start: int, size: int) -> None:
    """Write rubbish into a file."""
    content = bytearray(path.read_bytes())
    end = min(start + size, len(content))
    content[start:end] = os.urandom(end - start)
    path.write_bytes(content)


def put_aside(path: Path) -> list[Path]:
    return [each for each in path.parent.glob("live.db.corrupt-*") if each.name[-1] == "Z"]


@pytest.fixture
async def store(path: Path) -> AsyncIterator[FileStore]:
    made = store_at(path)
    await made.open()
    yield made
    await made.close()


async def test_nobody_else_can_read_it(store: FileStore, path: Path) -> None:
    await store.commit(SCOPE, [change(added=(1,))])
    files = {each.name for each in path.parent.iterdir()}
    files.discard("live.db.upkeep")  # which comes with the thread
    assert files == {"live.db", "live.db-shm", "live.db-wal", "live.db.lock"}
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in path.parent.iterdir())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_it_survives_a_restart(path: Path) -> None:
    for version in range(3):
        store = store_at(path)
        await store.open()
        assert await store.commit(SCOPE, [change(version=version, added=(version + 1,))]) == []
        await store.close()
        assert log_size(path) == 0
    store = store_at(path)
    await store.open()
    (found,) = await store.fetch(SCOPE, (1,), {})
    assert (found.version, found.state) == (3, b"2")
    await store.close()


async def test_it_survives_a_process_that_is_killed(path: Path) -> None:
    code = f"""
import asyncio, os, signal, time
from pathlib import Path
from gateway_sessions.index.file import FileStore
from gateway_sessions.index.store import Change
async def main():
    store = FileStore(Path({str(path)!r}), max_sessions=1000, ttl_seconds=3600.0)
    await store.open()
    for number in range(200):
        await store.commit(5, [Change(f"sess_{{number}}", 0, time.time(), b"x" * 2000, (7,))])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], check=False, capture_output=True
    )
    assert killed.returncode == -9, killed.stderr
    store = store_at(path)
    await store.open()
    newest = [f"sess_{number}" for number in range(200 - CANDIDATES, 200)]
    assert await ids(store, 7, scope=5) == sorted(newest)
    await store.close()


async def test_what_a_killed_process_left_among_the_news_is_found(path: Path) -> None:
    first = store_at(path)
    await first.open()
    await first.commit(SCOPE, [change(added=(1, 2))])
    second = store_at(path)  # as after a kill: nobody has moved anything
    await second.open()
    assert list(second._news._said) != []
    assert await ids(second, 2) == ["sess_a"]
    await second.close()
    await first.close()


async def test_processes_share_it(path: Path) -> None:
    stores = [store_at(path) for _ in range(3)]
    for each in stores:
        await each.open()
    for number, each in enumerate(stores):
        assert await each.commit(SCOPE, [change(version=number, added=(number + 1,))]) == []
    assert await ids(stores[0], 3) == ["sess_a"]
    for each in stores:
        await each.close()


async def test_the_event_loop_runs_on_while_another_process_writes(
    store: FileStore, path: Path
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.get_running_loop().create_task(store.commit(SCOPE, [change(added=(1,))]))
    while not commit.done() and other.in_transaction:
        await asyncio.sleep(0)
        other.execute("COMMIT")
    assert await commit == []
    other.close()


async def test_within_the_call_it_answers_unless_another_process_is_in_the_way(
    store: FileStore, path: Path
) -> None:
    assert store.commit_now(SCOPE, [change(added=(1,))]) == []
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.commit_now(SCOPE, [change("sess_b", added=(2,))]) is None
    found = store.fetch_now(SCOPE, (1, 2), {"sess_a": 1})
    assert found is not None
    assert [(each.id, each.version, each.state) for each in found] == [("sess_a", 1, None)]
    other.execute("COMMIT")
    other.close()
    assert await ids(store, 2) == []


async def test_what_was_undone_leaves_no_trace(store: FileStore) -> None:
    """Its number is given to the next session, which nothing may take for the other."""
    broken = change("sess_c", state=object())
    assert store.commit_now(SCOPE, [change("sess_a", added=(1,)), broken]) is None
    assert await store.commit(SCOPE, [change("sess_b", added=(2,))]) == []
    assert await store.commit(SCOPE, [change("sess_a", 1, added=(3,))]) == []
    assert sorted(await ids(store, 1, 2, 3)) == ["sess_a", "sess_b"]


async def test_another_program_that_never_ends_is_a_failure(
    store: FileStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.002)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match=r"live\.db: "):
        await store.commit(SCOPE, [change(added=(1,))])
    other.execute("COMMIT")
    assert await store.commit(SCOPE, [change(added=(1,))]) == []
    other.close()


async def test_a_change_is_stored_as_a_whole_or_not_at_all(store: FileStore) -> None:
    broken = change("sess_b", added=(2,), state=object())
    with pytest.raises(StoreFailed):
        await store.commit(SCOPE, [change(added=(1,)), broken])
    assert await ids(store, 1, 2) == []
    assert await store.commit(SCOPE, [change(added=(1,))]) == []


async def test_what_is_not_open_fails(path: Path) -> None:
    with pytest.raises(StoreFailed, match="it is not open"):
        await store_at(path).fetch(SCOPE, (1,), {})


class TestDamage:
    async def spoiled(self, path: Path) -> None:
        store = store_at(path)
        await store.open()
        many = [change(f"sess_{n}", added=(n + 1,), state=b"x" * 2000) for n in range(100)]
        await store.commit(SCOPE, many)
        await store.close()
        spoil(path, 3000, 6000)

    async def test_a_damaged_file_is_put_aside(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.spoiled(path)
        store = store_at(path)
        await store.open()
        assert await ids(store, 1) == []
        assert await store.commit(SCOPE, [change(added=(1,))]) == []
        await store.close()
        (said,) = [record.getMessage() for record in caplog.records]
        assert "damaged" in said
        assert "sessions begin anew" in said
        assert len(put_aside(path)) == 1

    async def test_damage_that_is_met_later_as_well(self, store: FileStore, path: Path) -> None:
        many = [change(f"sess_{n}", added=(n + 1,), state=b"x" * 2000) for n in range(100)]
        await store.commit(SCOPE, many)
        upkeep = store._upkeep
        assert upkeep is not None
        await asyncio.to_thread(upkeep.stop)
        spoil(path, 100, 100_000)
        other = store_at(path)  # has nothing in memory
        other._connection = sqlite3.connect(path, isolation_level=None)
        with pytest.raises(StoreFailed, match="damaged"):
            await other.fetch(SCOPE, (1,), {})
        assert await other.commit(SCOPE, [change(added=(1,))]) == []
        assert len(put_aside(path)) == 1
        await other.close()


class TestRefused:
    async def test_a_newer_file(self, path: Path) -> None:
        store = store_at(path)
        await store.open()
        await store.close()
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO schema_version (version) VALUES (2)")
        connection.commit()
        connection.close()
        with pytest.raises(migrations.UnsupportedSchema, match="run the newer gateway-sessions"):
            await store_at(path).open()

    @pytest.mark.parametrize(
        ("prepare", "said"),
        [
            (lambda path: path.write_bytes(b"no database at all" * 100), "no SQLite database"),
            (lambda path: path.mkdir(), "name another file"),
            (lambda path: Path(f"{path}.lock").symlink_to("elsewhere"), "mend its permissions"),
        ],
    )
    async def test_what_is_no_file_of_ours(
        self, path: Path, prepare: Callable[[Path], None], said: str
    ) -> None:
        path.parent.mkdir()
        prepare(path)
        with pytest.raises(StartError, match=said):
            await store_at(path).open()

    async def test_a_folder_that_can_not_be_made(self) -> None:
        with pytest.raises(StartError, match="name another file"):
            await store_at(Path("/dev/null/live.db")).open()


async def test_a_place_that_is_full_is_a_failure_and_no_more(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    connection = store._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages:d}")
    with pytest.raises(StoreFailed, match="full"):
        await store.commit(SCOPE, [change(added=(1,), state=b"x" * 100_000)])
    connection.execute("PRAGMA max_page_count = 100000")
    assert await store.commit(SCOPE, [change(added=(1,))]) == []
    assert caplog.records == []
