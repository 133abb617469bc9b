"""What is particular to the memory that workers share; the rest is in tests/contracts."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.index import mapped as module
from gateway_sessions.index.mapped import MappedStore
from gateway_sessions.index.mapped_file import _TOP
from gateway_sessions.index.store import Change, StoreFailed

SCOPE = 2**64 - 5
TTL = 3600.0


def change(name: str = "sess_a", version: int = 0, **more: object) -> Change:
    fields: dict[str, object] = {"used": time.time(), "state": b"%d" % version, **more}
    return Change(id=name, version=version, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def store_at(path: Path, most: int = 1000) -> MappedStore:
    return MappedStore(path, max_sessions=most, ttl_seconds=TTL)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[MappedStore]:
    made = store_at(path)
    await made.open()
    yield made
    await made.close()


async def test_while_another_process_is_in_the_way_a_call_waits(
    store: MappedStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 20.0)  # whatever else the machine does
    assert store.commit_now(SCOPE, [change(added=(1,))]) == []
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert store.fetch_now(SCOPE, (1,), {}) is None
        assert store.commit_now(SCOPE, [change(version=1)]) is None
        commit = asyncio.get_running_loop().create_task(store.commit(SCOPE, [change(version=1)]))
        await asyncio.sleep(0)
        assert not commit.done()
        fcntl.flock(other, fcntl.LOCK_UN)
        assert await commit == []


async def test_readers_do_not_keep_each_other_out(store: MappedStore, path: Path) -> None:
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert store.fetch_now(SCOPE, (1,), {}) == []
        assert store.commit_now(SCOPE, [change()]) is None


async def test_a_process_that_never_lets_go_is_a_failure(
    store: MappedStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.002)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreFailed, match="another process holds it"):
            await store.fetch(SCOPE, (1,), {})
    assert await store.fetch(SCOPE, (1,), {}) == []


async def test_what_is_not_open_fails(path: Path) -> None:
    with pytest.raises(StoreFailed, match="is not open"):
        await store_at(path).fetch(SCOPE, (1,), {})


async def test_a_place_where_nothing_can_be_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"set server\.workers to 1"):
        await store_at(tmp_path / "none" / "sessions").open()


async def test_a_session_that_is_too_large_is_a_failure_that_leaves_no_trace(
    store: MappedStore,
) -> None:
    with pytest.raises(StoreFailed, match="too large"):
        await store.commit(SCOPE, [change(state=bytes(2**24), added=(1,))])
    assert await store.fetch(SCOPE, (1,), {}) == []


async def test_a_system_without_room_is_a_failure(
    store: MappedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    state = bytes(100_000)
    many = [change(f"sess_{number}", state=state, added=(1,)) for number in range(100)]
    with pytest.raises(StoreFailed, match="No space left"):
        await store.commit(SCOPE, many)
    found = await store.fetch(SCOPE, (1,), {})
    assert found
    assert all(each.state == state for each in found)


async def test_all_find_what_one_of_them_has_made_room_for(path: Path) -> None:
    stores = [store_at(path) for _ in range(3)]
    for each in stores:
        await each.open()
    state = bytes(200_000)
    for number in range(30):
        store = stores[number % 3]
        assert (
            await store.commit(SCOPE, [change(f"s{number}", state=state, added=(number + 1,))])
            == []
        )
    for each in stores:
        found = await each.fetch(SCOPE, (1, 30), {})
        assert sorted(one.id for one in found) == ["s0", "s29"]
        await each.close()


async def test_what_has_gone_leaves_its_room_to_others(path: Path) -> None:
    now = [time.time()]
    store = MappedStore(path, max_sessions=50, ttl_seconds=TTL, clock=lambda: now[0])
    await store.open()
    chance = Random(5)
    sizes = []
    for number in range(4000):
        now[0] += 60
        added = tuple(chance.getrandbits(64) for _ in range(5))
        scope = SCOPE - number % 3
        new = change(f"s{number}", used=now[0], state=bytes(1000 + number % 500), added=added)
        assert store.commit_now(scope, [new]) == []
        found = store.fetch_now(scope, added[:1], {})
        assert found is not None
        assert [each.id for each in found] == [new.id]
        assert store._file is not None
        sizes.append(store._file.words[_TOP])
    assert sizes[-1] - sizes[2000] < 0.1 * sizes[2000]
    await store.close()


async def test_a_random_walk_of_three_processes_like_a_plain_dict(path: Path) -> None:
    stores = [store_at(path) for _ in range(3)]
    for each in stores:
        await each.open()
    chance = Random(7)
    kept: dict[str, tuple[int, bytes, set[int]]] = {}
    for _ in range(3000):
        name = f"sess_{chance.randrange(40)}"
        version, _, keys = kept.get(name, (0, b"", set()))
        added = {chance.randrange(1, 400) for _ in range(3)}
        outdated = set(chance.sample(sorted(keys), min(len(keys), 2)))
        state = chance.randbytes(chance.randrange(1, 3000))
        new = change(name, version, state=state, added=tuple(added), outdated=tuple(outdated))
        assert chance.choice(stores).commit_now(SCOPE, [new]) == []
        kept[name] = (version + 1, state, keys - outdated | added)
        key = chance.randrange(1, 400)
        found = chance.choice(stores).fetch_now(SCOPE, (key,), {})
        assert found is not None
        expected = {name: each[:2] for name, each in kept.items() if key in each[2]}
        assert {each.id: (each.version, each.state) for each in found} == expected
    for each in stores:
        await each.close()


KILLED = """
import asyncio, os, signal, sys, time
from pathlib import Path
from gateway_sessions.index.mapped import MappedStore
from gateway_sessions.index.mapped_file import MappedFile
from gateway_sessions.index.mapped_file import _TOP
from gateway_sessions.index.store import Change

path = Path(sys.argv[1])

def opened():
    store = MappedStore(path, max_sessions=5, ttl_seconds=3600.0)
    asyncio.run(store.open())
    return store

def change(name, version, *keys, outdated=()):
    return Change(name, version, time.time(), b"%d" % version, keys, outdated)

def dies_at(step, store):
    steps = iter(range(1000))
    class Dying(MappedFile):
        __slots__ = ()
    for name in ("take", "give"):
        def method(self, *args, name=name):
            result = getattr(MappedFile, name)(self, *args)
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(Dying, name, method)
    store._file.__class__ = Dying

parent = opened()
killed = 0
for step in range(60):
    version = parent.fetch_now(1, (5,), {})
    before = version[0].version if version else 0
    pid = os.fork()
    if pid == 0:
        store = opened()
        dies_at(step % 20, store)
        store.commit_now(1, [change("kept", before, 5, 100 + step, outdated=(99 + step,))])
        store.commit_now(1, [change(f"new{step}", 0, 7)])
        os._exit(0)
    killed += os.waitpid(pid, 0)[1] == signal.SIGKILL
    found = parent.fetch_now(1, (5,), {}) or []
    if before or found:
        (kept,) = found
        assert kept.version in (before, before + 1), kept
        assert kept.state == b"%d" % (kept.version - 1), kept
        before = kept.version
    assert parent.commit_now(1, [change("kept", before, 5)]) == []
    assert [each.version for each in parent.fetch_now(1, (5,), {})] == [before + 1]
    assert parent.commit_now(1, [change(f"mine{step}", 0, 8)]) == []
assert killed > 30, killed
"""


async def test_a_process_that_is_killed_at_any_step_harms_nobody(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path)]
    ended = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
