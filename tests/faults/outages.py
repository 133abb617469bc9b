"""Servers of shared sessions that are frozen, or refuse, and come back with what they had."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from gateway_sessions.index.postgres import PostgresStore
from gateway_sessions.index.redis import RedisStore
from gateway_sessions.index.store import Store
from tests import postgres, redis
from tests.redis import Server


class Outages(Protocol):
    """A server that can be made to fail, and a store in it."""

    backend: str
    """As the configuration names it."""
    url: str

    def store(self) -> Store:
        """Return a new client."""

    def freeze(self) -> None:
        """Let the server hold its connections and answer nothing."""

    def thaw(self) -> None:
        """Let it go on."""

    def refuse(self) -> None:
        """Break all connections, and take no new ones."""

    def admit(self) -> None:
        """Take connections again."""


class RedisOutages:
    """Of a Redis server of its own."""

    backend = "redis"

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url
        self.freeze, self.thaw = server.freeze, server.thaw
        self.admit = server.start

    def store(self) -> RedisStore:
        """Return a new client."""
        return RedisStore(self.url, max_sessions=10_000, ttl_seconds=3600)

    def refuse(self) -> None:
        """Stop the server; it saves what it has."""
        self._server.stop(save=True)


class PostgresOutages:
    """Of one database in a server; it is frozen with all of its processes."""

    backend = "postgres"

    def __init__(self, admin: str, url: str) -> None:
        self.url = url
        self._admin = psycopg.connect(admin, autocommit=True)
        self._stopped: list[int] = []

    def store(self) -> PostgresStore:
        """Return a new client."""
        return PostgresStore(self.url, max_sessions=10_000, ttl_seconds=3600)

    def freeze(self) -> None:
        """Stop the server, and then those it has started to serve connections."""
        main = _parent(self._admin.info.backend_pid)
        os.kill(main, signal.SIGSTOP)
        self._stopped = [main, *_children(main)]
        for pid in self._stopped:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all of them go on."""
        for pid in self._stopped:
            os.kill(pid, signal.SIGCONT)
        self._stopped = []

    def refuse(self) -> None:
        """Let nobody into the database, and put out who is there."""
        self._allow("false")
        self._admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            (self._name,),
        )

    def admit(self) -> None:
        """Let everybody in."""
        self._allow("true")

    def close(self) -> None:
        """Disconnect."""
        self.thaw()
        self._admin.close()

    @property
    def _name(self) -> str:
        return self.url.rpartition("/")[2].partition("?")[0]

    def _allow(self, allowed: str) -> None:
        statement = f"ALTER DATABASE {self._name} WITH ALLOW_CONNECTIONS {allowed}"
        self._admin.execute(statement.encode())


@contextmanager
def of_redis() -> Iterator[RedisOutages]:
    """Run a server that can be made to fail."""
    with redis.running() as server:
        yield RedisOutages(server)


@contextmanager
def of_postgres(admin: str) -> Iterator[PostgresOutages]:
    """Make a database in a server that can be made to fail."""
    with postgres.database(admin) as url:
        outages = PostgresOutages(admin, url)
        try:
            yield outages
        finally:
            outages.close()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
