"""What only the store in Redis does; the rest is in the contract of all stores."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from gateway_sessions.index.redis import RedisStore
from gateway_sessions.index.store import Change, StoreFailed
from tests.redis import NEEDED, Server

pytestmark = NEEDED
TTL = 3600.0


@pytest.fixture
async def store(redis: Server) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis.url, max_sessions=2, ttl_seconds=TTL)
    yield store
    await store.close()


@pytest.fixture
def client(redis: Server) -> Iterator[Redis]:
    with Redis.from_url(redis.url) as client:
        yield client


def change(name: str, version: int = 0, age: float = 0.0, *added: int) -> Change:
    return Change(name, version, time.time() - age, b"state", added)


async def test_all_of_a_scope_goes_by_itself_when_its_newest_session_would(
    store: RedisStore, client: Redis
) -> None:
    await store.commit(0xA, [change("sess_a", 0, 0, 1, 2)])
    names = client.keys()
    assert sorted(names) == [
        b"gateway-sessions:1:{a}:" + kind for kind in (b"keys", b"marks", b"order", b"states")
    ]
    for name in names:
        assert 2 * TTL - 60 < client.ttl(name) <= 2 * TTL


async def test_a_session_that_goes_leaves_nothing(store: RedisStore, client: Redis) -> None:
    await store.commit(1, [change("sess_a", 0, 2.5 * TTL, 1, 2)])
    assert client.keys() == []  # it was long gone when it came
    await store.commit(1, [change("sess_b", 0, 0, 1)])
    await store.commit(1, [change("sess_x", 0, 20, 1, 2)])
    await store.commit(1, [change("sess_x", 1, 20, 3, 4)])
    await store.commit(1, [change("sess_y", 0, 10, 5)])
    await store.commit(1, [change("sess_b", 1)])
    prefix = b"gateway-sessions:1:{1}:"
    assert client.zrange(prefix + b"order", 0, -1) == [b"sess_y", b"sess_b"]
    assert sorted(client.hkeys(prefix + b"marks")) == [b"sess_b", b"sess_y"]
    assert sorted(client.hkeys(prefix + b"states")) == [b"sess_b", b"sess_y"]
    assert client.hgetall(prefix + b"keys") == {
        (1).to_bytes(8, "big"): b"sess_b",
        (5).to_bytes(8, "big"): b"sess_y",
    }


async def test_a_server_that_forgot_the_scripts_learns_them_again(
    store: RedisStore, client: Redis
) -> None:
    await store.open()
    client.script_flush()
    assert await store.commit(1, [change("sess_a", 0, 0, 1)]) == []
    assert [each.id for each in await store.fetch(1, (1,), {})] == ["sess_a"]


async def test_an_operation_is_one_command(store: RedisStore, client: Redis) -> None:
    await store.commit(1, [change("sess_a", 0, 0, 1)])
    await store.fetch(1, (1,), {})
    client.config_resetstat()
    for version in range(1, 5):
        await store.fetch(1, (1, 2, 3), {"sess_a": version})
        await store.commit(1, [change("sess_a", version, 0, version)])
    stats = client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 8


async def test_what_the_server_refuses_is_told_and_the_next_call_is_answered(
    store: RedisStore, client: Redis
) -> None:
    client.set("gateway-sessions:1:{1}:keys", "not a hash")
    with pytest.raises(StoreFailed, match=r"Redis at .*redis\.sock: WRONGTYPE"):
        await store.fetch(1, (1,), {})
    assert await store.fetch(2, (1,), {}) == []


async def test_a_connection_that_was_closed_is_made_again(store: RedisStore, client: Redis) -> None:
    await store.commit(1, [change("sess_a", 0, 0, 1)])
    client.client_kill_filter(skipme=True)
    assert [each.id for each in await store.fetch(1, (1,), {})] == ["sess_a"]


async def test_a_password_is_used_and_never_told(redis: Server, client: Redis) -> None:
    client.acl_setuser(
        "gateway", enabled=True, passwords=["+s3cret"], categories=["+@all"], keys=["*"]
    )
    try:
        url = redis.url.replace("unix://", "unix://gateway:{}@")
        store = RedisStore(url.format("s3cret"), max_sessions=9, ttl_seconds=TTL)
        await store.open()
        await store.close()
        wrong = RedisStore(url.format("wr0ng"), max_sessions=9, ttl_seconds=TTL)
        with pytest.raises(StoreFailed, match="invalid username-password") as failed:
            await wrong.open()
        assert "wr0ng" not in str(failed.value)
        assert "wr0ng" not in wrong.name
        await wrong.close()
    finally:
        client.acl_deluser("gateway")
