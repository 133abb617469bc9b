"""What every store owes the index that stands on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.file import FileStore
from gateway_sessions.index.mapped import MappedStore
from gateway_sessions.index.postgres import PostgresStore
from gateway_sessions.index.redis import RedisStore
from gateway_sessions.index.store import Change, Store, StoredSession
from tests import postgres as postgres_server
from tests import redis as redis_server
from tests.stores import LimitedStore

if TYPE_CHECKING:
    from tests.redis import Server

SCOPE, ELSEWHERE = 2**64 - 5, 0xF00D
TTL = 3600.0
BIG = 2**64 - 1

Make = Callable[..., Store]


@pytest.fixture(
    params=[
        "memory",
        "file",
        "mapped",
        pytest.param("redis", marks=redis_server.NEEDED),
        pytest.param("postgres", marks=postgres_server.NEEDED),
    ]
)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Return what makes stores of one kind, all over the same sessions."""
    kind: str = request.param
    if kind == "memory":
        kept: dict[int, LimitedStore] = {}
        yield lambda max_sessions=1000: kept.setdefault(
            0, LimitedStore(max_sessions=max_sessions, ttl_seconds=TTL)
        )
    elif kind == "file":
        yield lambda max_sessions=1000: FileStore(
            tmp_path / "live.db", max_sessions=max_sessions, ttl_seconds=TTL
        )
    elif kind == "mapped":
        yield lambda max_sessions=1000: MappedStore(
            tmp_path / "sessions.mem", max_sessions=max_sessions, ttl_seconds=TTL
        )
    elif kind == "redis":
        server: Server = request.getfixturevalue("redis")
        yield lambda max_sessions=1000: RedisStore(
            server.url, max_sessions=max_sessions, ttl_seconds=TTL
        )
    else:
        with postgres_server.database(request.getfixturevalue("postgres")) as url:
            yield lambda max_sessions=1000: PostgresStore(
                url, max_sessions=max_sessions, ttl_seconds=TTL
            )


@pytest.fixture
async def store(make: Make) -> AsyncIterator[Store]:
    store = make()
    await store.open()
    yield store
    await store.close()


def change(name: str = "sess_a", version: int = 0, **fields: object) -> Change:
    """Return a change of a session that was used just now."""
    defaults: dict[str, object] = {"used": time.time(), "state": b"%d" % version}
    return Change(id=name, version=version, **(defaults | fields))  # type: ignore[arg-type]


async def ids(store: Store, *keys: int, scope: int = SCOPE) -> list[str]:
    return sorted(each.id for each in await store.fetch(scope, keys, {}))


async def test_what_was_committed_is_found_by_each_of_its_keys(store: Store) -> None:
    first = change(state=b"\x00\xff anything", added=(1, 2, BIG))
    assert await store.commit(SCOPE, [first]) == []
    expected = StoredSession("sess_a", 1, first.used, first.state)
    for key in first.added:
        assert await store.fetch(SCOPE, (key,), {}) == [expected]
    assert await store.fetch(SCOPE, (BIG, 3, 2, 1), {}) == [expected]
    assert await store.fetch(SCOPE, (3,), {}) == []
    assert await store.fetch(SCOPE, (), {}) == []


async def test_a_scope_never_sees_another_ones_sessions(store: Store) -> None:
    await store.commit(SCOPE, [change(added=(1,))])
    await store.commit(ELSEWHERE, [change(state=b"other", added=(1, 2))])
    assert [each.state for each in await store.fetch(ELSEWHERE, (1, 2), {})] == [b"other"]
    assert [each.state for each in await store.fetch(SCOPE, (1, 2), {})] == [b"0"]


async def test_the_state_of_a_version_that_is_known_is_left_out(store: Store) -> None:
    await store.commit(SCOPE, [change(added=(1,)), change("sess_b", added=(1,))])
    await store.commit(SCOPE, [change(version=1)])
    known = {"sess_a": 1, "sess_b": 1, "sess_c": 7}
    found = {each.id: each for each in await store.fetch(SCOPE, (1,), known)}
    assert (found["sess_a"].version, found["sess_a"].state) == (2, b"1")
    assert (found["sess_b"].version, found["sess_b"].state) == (1, None)


async def test_keys_that_are_outdated_no_longer_lead_anywhere(store: Store) -> None:
    await store.commit(SCOPE, [change(added=(1, 2, 3)), change("sess_b", added=(2,))])
    await store.commit(SCOPE, [change(version=1, added=(3, 4), outdated=(2, 3, 9))])
    assert await ids(store, 1) == ["sess_a"]
    assert await ids(store, 2) == ["sess_b"]
    assert await ids(store, 3) == ["sess_a"]  # added wins
    assert await ids(store, 4) == ["sess_a"]


async def test_a_key_that_is_added_again_leads_to_its_session_once(store: Store) -> None:
    await store.commit(SCOPE, [change(added=(1, 1))])
    await store.commit(SCOPE, [change(version=1, added=(1,))])
    assert await ids(store, 1) == ["sess_a"]
    await store.commit(SCOPE, [change(version=2, outdated=(1,))])
    assert await ids(store, 1) == []


async def test_of_each_key_the_sessions_that_registered_it_last_are_kept(store: Store) -> None:
    names = [f"sess_{number:02}" for number in range(CANDIDATES + 3)]
    for name in names[:-1]:
        await store.commit(SCOPE, [change(name, added=(1, 1000 + int(name[5:])))])
    await store.commit(SCOPE, [change(names[-1], added=(1,))])
    assert await ids(store, 1) == names[3:]
    assert await ids(store, 1000) == [names[0]]


async def test_a_change_of_an_older_version_is_answered_with_the_newer_one(store: Store) -> None:
    await store.commit(SCOPE, [change(added=(1,))])
    theirs = change(version=1, state=b"theirs", added=(2,))
    assert await store.commit(SCOPE, [theirs]) == []
    ours = change(version=1, state=b"ours", added=(3,), outdated=(1,))
    other = change("sess_b", added=(4,))
    expected = StoredSession("sess_a", 2, theirs.used, b"theirs")
    assert await store.commit(SCOPE, [ours, other]) == [expected]
    assert await ids(store, 1, 2) == ["sess_a"]
    assert await ids(store, 3) == []
    assert await ids(store, 4) == ["sess_b"]  # each change for itself
    merged = change(version=2, state=b"merged", added=(3,))
    assert await store.commit(SCOPE, [merged]) == []
    assert [each.state for each in await store.fetch(SCOPE, (3,), {})] == [b"merged"]


async def test_two_that_begin_the_same_session_are_told_so(store: Store) -> None:
    await store.commit(SCOPE, [change(state=b"first", added=(1,))])
    newer = await store.commit(SCOPE, [change(state=b"second", added=(2,))])
    assert [(each.version, each.state) for each in newer] == [(1, b"first")]
    assert await ids(store, 2) == []


async def test_a_change_of_a_session_that_has_gone_brings_it_back(store: Store) -> None:
    assert await store.commit(SCOPE, [change(version=6, added=(1,))]) == []
    assert [each.version for each in await store.fetch(SCOPE, (1,), {})] == [7]


async def test_of_concurrent_changes_of_one_version_one_is_stored(make: Make) -> None:
    stores = [make() for _ in range(3)]
    for each in stores:
        await each.open()
    await stores[0].commit(SCOPE, [change(added=(1,))])
    changes = [change(version=1, state=b"%d" % number) for number in range(12)]
    answers = await asyncio.gather(
        *[stores[number % 3].commit(SCOPE, [each]) for number, each in enumerate(changes)]
    )
    stored = [each.state for each, newer in zip(changes, answers, strict=True) if not newer]
    assert len(stored) == 1
    found = await stores[0].fetch(SCOPE, (1,), {})
    assert [(each.version, each.state) for each in found] == [(2, stored[0])]
    for each in stores:
        await each.close()


async def test_a_session_can_be_found_for_two_idle_limits(store: Store) -> None:
    now = time.time()
    uses = {"sess_live": now, "sess_ghost": now - 1.9 * TTL, "sess_gone": now - 2.1 * TTL}
    for name, used in uses.items():
        await store.commit(SCOPE, [change(name, used=used, added=(1,))])
    assert await ids(store, 1) == ["sess_ghost", "sess_live"]


async def test_the_session_used_longest_ago_makes_room(make: Make) -> None:
    store = make(max_sessions=3)
    await store.open()
    now = time.time() - 100
    for number in range(3):
        name = f"sess_{number}"
        await store.commit(SCOPE, [change(name, used=now + number, added=(1, 10 + number))])
    await store.commit(SCOPE, [change("sess_0", 1, used=now + 10, added=(20,))])
    await store.commit(ELSEWHERE, [change("sess_z", used=now - 50, added=(1,))])
    await store.commit(SCOPE, [change("sess_3", used=now + 11, added=(1,))])
    assert await ids(store, 1) == ["sess_0", "sess_2", "sess_3"]
    assert await ids(store, 11) == []
    assert await ids(store, 20) == ["sess_0"]
    assert await ids(store, 1, scope=ELSEWHERE) == ["sess_z"]
    await store.close()


async def test_many_keys_and_a_large_state_are_one_call(store: Store) -> None:
    keys = tuple(range(1, 9001))
    state = Random(1).randbytes(300_000)
    await store.commit(SCOPE, [change(state=state, added=keys)])
    found = await store.fetch(SCOPE, tuple(range(9000, 18_000)), {})
    assert [each.state for each in found] == [state]


async def test_calls_at_once_are_answered_each_with_its_own(store: Store) -> None:
    numbers = range(50)
    await asyncio.gather(
        *[store.commit(SCOPE + n % 3, [change(f"sess_{n}", added=(n + 1,))]) for n in numbers]
    )
    answers = await asyncio.gather(*[ids(store, n + 1, scope=SCOPE + n % 3) for n in numbers])
    assert answers == [[f"sess_{n}"] for n in numbers]


async def test_closing_twice_is_closing_once(make: Make) -> None:
    store = make()
    await store.open()
    await store.close()
    await store.close()
