"""What only the store in PostgreSQL does; the rest is in the contract of all stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.index.postgres import MIGRATIONS, PostgresStore
from gateway_sessions.index.store import Change, StoreFailed
from tests.postgres import NEEDED, database

TTL = 3600.0

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with database(postgres) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, max_sessions=2, ttl_seconds=TTL)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def db(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def change(name: str, version: int = 0, age: float = 0.0, *added: int) -> Change:
    return Change(name, version, time.time() - age, b"state", added)


def column(db: Connection, statement: str) -> list[Any]:
    return [row[0] for row in db.execute(statement.encode())]


@NEEDED
async def test_a_session_that_goes_leaves_nothing(store: PostgresStore, db: Connection) -> None:
    await store.commit(1, [change("sess_gone", 0, 2.5 * TTL, 1, 2)])
    assert column(db, "SELECT count(*) FROM live_keys") == [0]
    await store.commit(1, [change("sess_b", 0, 0, 1)])
    await store.commit(1, [change("sess_x", 0, 20, 1, 2)])
    await store.commit(1, [change("sess_x", 1, 20, 3, 4)])
    await store.commit(1, [change("sess_y", 0, 10, 5)])
    await store.commit(1, [change("sess_b", 1)])
    assert column(db, "SELECT id FROM live_sessions ORDER BY id") == ["sess_b", "sess_y"]
    rows = db.execute("SELECT key, ids FROM live_keys ORDER BY key").fetchall()
    assert rows == [(1, ["sess_b"]), (5, ["sess_y"])]
    assert column(db, "SELECT sessions FROM live_scopes") == [2]


@NEEDED
async def test_scopes_that_nobody_uses_go_with_the_changes_of_others(
    store: PostgresStore, db: Connection
) -> None:
    for scope in (2**64 - 1, 7):
        await store.commit(scope, [change("sess_a", 0, 0, 1), change("sess_b", 0, 0, 2)])
    ago = 2 * TTL + 100
    db.execute("UPDATE live_sessions SET used = used - %s WHERE scope = -1", (ago,))
    db.execute("UPDATE live_scopes SET used = used - %s WHERE scope = -1", (ago,))
    await store.commit(9, [change("sess_c", 0, 0, 1)])
    for table in ("live_sessions", "live_keys", "live_scopes"):
        found = column(db, f"SELECT DISTINCT scope FROM {table} ORDER BY scope")
        assert found == [7, 9], table


@NEEDED
async def test_scopes_that_are_used_stay(store: PostgresStore, db: Connection) -> None:
    await store.commit(7, [change("sess_a", 0, 2 * TTL - 100, 1)])
    await store.commit(7, [change("sess_a", 1)])
    await store.commit(8, [change("sess_a", 0, 2 * TTL - 100, 1)])
    await store.commit(8, [change("sess_b", 0)])
    newest = time.time() - 90
    assert [used > newest for used in column(db, "SELECT used FROM live_scopes")] == [True, True]


@NEEDED
async def test_calls_at_once_are_few_statements(store: PostgresStore, db: Connection) -> None:
    await store.fetch(1, (1,), {})
    db.execute("SELECT pg_stat_force_next_flush()")
    calls = [store.fetch(1, (n,), {}) for n in range(1, 41)]
    commits = [store.commit(n % 3, [change(f"sess_{n}", 0, 0, n)]) for n in range(1, 41)]
    before = column(db, "SELECT pg_current_xact_id()::text::bigint")[0]
    await asyncio.gather(*calls, *commits)
    after = column(db, "SELECT pg_current_xact_id()::text::bigint")[0]
    assert after - before <= 3  # a first commit, all the others, and this question


@NEEDED
async def test_gateways_that_start_at_once_lay_down_the_tables_once(
    url: str, db: Connection
) -> None:
    stores = [PostgresStore(url, max_sessions=2, ttl_seconds=TTL) for _ in range(3)]
    await asyncio.gather(*[each.open() for each in stores])
    assert column(db, "SELECT version FROM live_schema") == [len(MIGRATIONS)]
    await stores[0].commit(1, [change("sess_a", 0, 0, 1)])
    assert [each.id for each in await stores[2].fetch(1, (1,), {})] == ["sess_a"]
    await asyncio.gather(*[each.close() for each in stores])


@NEEDED
async def test_tables_of_a_newer_program_are_left_alone(
    store: PostgresStore, url: str, db: Connection
) -> None:
    db.execute("INSERT INTO live_schema VALUES (99)")
    newer = PostgresStore(url, max_sessions=2, ttl_seconds=TTL)
    with pytest.raises(StartError, match=r"have version 99, .* knows 1: use a newer one"):
        await newer.open()
    await newer.close()


@NEEDED
async def test_a_connection_that_was_closed_is_made_again(
    store: PostgresStore, db: Connection
) -> None:
    await store.commit(1, [change("sess_a", 0, 0, 1)])
    await store.fetch(1, (1,), {})
    db.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert await store.commit(1, [change("sess_a", 1)]) == []
    assert [each.version for each in await store.fetch(1, (1,), {})] == [2]


@NEEDED
async def test_what_the_server_refuses_is_told_and_the_next_call_is_answered(
    store: PostgresStore, db: Connection
) -> None:
    db.execute("ALTER TABLE live_sessions RENAME TO hidden")
    with pytest.raises(StoreFailed, match=r'PostgreSQL at .*: relation "live_sessions" does not'):
        await store.commit(1, [change("sess_a", 0, 0, 1)])
    db.execute("ALTER TABLE hidden RENAME TO live_sessions")
    assert await store.commit(1, [change("sess_a", 0, 0, 1)]) == []


@NEEDED
async def test_closing_fails_what_is_under_way(url: str) -> None:
    store = PostgresStore(url, max_sessions=2, ttl_seconds=TTL)
    await store.open()
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE live_sessions IN ACCESS EXCLUSIVE MODE")
        loop = asyncio.get_running_loop()
        calls = [
            loop.create_task(store.commit(1, [change("sess_a", 0, 0, 1)])),
            loop.create_task(store.commit(1, [change("sess_b", 0, 0, 1)])),
        ]
        await asyncio.wait(calls, timeout=0.05)
        await store.close()
        for call in calls:
            with pytest.raises(StoreFailed, match="the connection was closed"):
                await call


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    store = PostgresStore(
        "postgresql://me:s3cret@/db?host=/nowhere", max_sessions=2, ttl_seconds=TTL
    )
    for operation in (store.open(), store.fetch(1, (1,), {}), store.commit(1, [change("a")])):
        with pytest.raises(StoreFailed, match="PostgreSQL at /nowhere/db: ") as failed:
            await operation
        assert "s3cret" not in str(failed.value)
    await store.close()
    await store.close()


def test_an_address_that_is_none_is_refused_with_its_cure() -> None:
    with pytest.raises(ConfigError, match="postgresql://user:password@host:5432") as refused:
        PostgresStore("redis://:s3cret@localhost", max_sessions=2, ttl_seconds=TTL)
    assert "s3cret" not in str(refused.value)
