"""The way to a PostgreSQL server: deadlines, broken connections, migrations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway_sessions.errors import ConfigError
from gateway_sessions.index import postgres_link as module
from gateway_sessions.index.postgres_link import PostgresLink
from gateway_sessions.index.store import StoreFailed
from tests.postgres import NEEDED, database

FIRST = "CREATE TABLE first (number integer)"


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with database(postgres) as url:
        yield url


@pytest.fixture
async def link(url: str) -> AsyncIterator[PostgresLink]:
    link = PostgresLink(url)
    yield link
    await link.hang_up()


@NEEDED
async def test_a_statement_that_takes_too_long_is_given_up(
    link: PostgresLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 5.0)
    assert await link.run("SELECT %s::integer", (1,)) == [(1,)]
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    with pytest.raises(StoreFailed, match=r"PostgreSQL at .*: no answer within 0\.1 s"):
        await link.run("SELECT pg_sleep(60)")
    monkeypatch.setattr(module, "ANSWER_SECONDS", 5.0)
    assert await link.run("SELECT 2") == [(2,)]


@NEEDED
async def test_a_statement_on_a_broken_connection_is_run_again_once(link: PostgresLink) -> None:
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    await link.run("SELECT 1")
    with pytest.raises(StoreFailed, match="terminat"):
        await link.run(end)  # which ends the new connection too
    assert await link.run("SELECT 1") == [(1,)]


@NEEDED
async def test_migrations_run_once_and_as_a_whole(link: PostgresLink) -> None:
    await link.migrate([FIRST])
    await link.migrate([FIRST])
    with pytest.raises(StoreFailed, match="already exists"):
        await link.migrate([FIRST, "CREATE TABLE second (number integer); " + FIRST])
    assert await link.run("SELECT version FROM live_schema") == [(1,)]
    assert await link.run("SELECT to_regclass('second')") == [(None,)]
    await link.migrate([FIRST, "CREATE TABLE second (number integer)"])
    assert await link.run("SELECT max(version) FROM live_schema") == [(2,)]


@NEEDED
async def test_it_hangs_up_twice(link: PostgresLink) -> None:
    await link.run("SELECT 1")
    await link.hang_up()
    await link.hang_up()
    assert await link.run("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:s3cret@db.example:5433/live", "PostgreSQL at db.example/live"),
        ("host=/run/postgresql dbname=live", "PostgreSQL at /run/postgresql/live"),
        ("postgresql:///live", "PostgreSQL at localhost/live"),
    ],
)
def test_messages_name_server_and_database_alone(url: str, name: str) -> None:
    assert PostgresLink(url).name == name


@pytest.mark.parametrize("url", ["redis://:s3cret@localhost", "postgresql://:s3cret@[", "s3cret"])
def test_an_address_that_is_none_is_refused_with_its_cure(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://user:password@host:5432") as refused:
        PostgresLink(url)
    assert "s3cret" not in str(refused.value)
