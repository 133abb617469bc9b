"""What sharing sessions costs: CPU time and memory of gateway and server, per operation.

One client holds conversations over a store, as the index would: before each turn it looks up the
keys of a request, after it commits the session's state with its new keys.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import psycopg
import uvloop
from redis import Redis

from bench import report
from gateway_sessions.index.postgres import PostgresStore
from gateway_sessions.index.redis import RedisStore
from gateway_sessions.index.store import Change, Store
from tests import postgres, redis
from tests.conftest import PATH

SESSIONS, TURNS, ROUNDS = 640, 10, 5
AT_ONCE = (1, 32)
ASKED, ADDED, OUTDATED, STATE = 14, 6, 2, 1500
"""Keys that a request looks up, those that a turn adds and takes away, and bytes of a state: about
what a conversation of ten turns has."""
_TICK = os.sysconf("SC_CLK_TCK")
_SCOPE = 0x5C09E


class Server(NamedTuple):
    """A server that is measured."""

    name: str
    pid: int
    store: Callable[[], Store]
    size: Callable[[], int]
    """Returns the bytes it keeps."""


class Costs(NamedTuple):
    """Microseconds of CPU time per look-up and commit."""

    client: float
    server: float


def run(*, quick: bool) -> str:
    """Measure both servers and return the costs as Markdown."""
    sessions = SESSIONS // 10 if quick else SESSIONS
    rows = []
    for running in (_redis, _postgres):
        with running() as server:
            empty = server.size()
            for at_once in AT_ONCE:
                rounds = [
                    uvloop.run(_hold(server, number, sessions, at_once))
                    for number in range(1 if quick else ROUNDS)
                ]
                client = min(costs.client for costs in rounds)
                served = min(costs.server for costs in rounds)
                kept = (server.size() - empty) / (sessions * len(rounds))
                empty = server.size()
                rows.append(
                    [server.name, f"{at_once}", f"{client:.0f}", f"{served:.0f}", f"{kept:,.0f}"]
                )
    heads = ["store", "requests at once", "gateway, µs", "server, µs", "bytes a session"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


async def _hold(server: Server, number: int, sessions: int, at_once: int) -> Costs:
    """Hold conversations, some at a time, and return what a turn costs."""
    store = server.store()
    await store.open()
    gc.collect()
    names = iter([f"sess_{at_once:04}{number:04}{each:012}" for each in range(sessions)])
    client, served = time.process_time(), _cpu_seconds(server.pid)
    await asyncio.gather(*[_talk(store, names) for _ in range(at_once)])
    client, served = time.process_time() - client, _cpu_seconds(server.pid) - served
    await store.close()
    turns = sessions * TURNS / 1e6
    return Costs(client / turns, served / turns)


async def _talk(store: Store, names: Iterator[str]) -> None:
    """Hold one conversation after the other, until there is none left."""
    for name in names:
        chance = Random(name)
        keys = [chance.getrandbits(64) or 1 for _ in range(ADDED * TURNS + ASKED)]
        for turn in range(TURNS):
            known = {name: turn} if turn else {}
            first = max(0, ADDED * turn - 4)
            found = await store.fetch(_SCOPE, keys[first : first + ASKED], known)
            added = tuple(keys[ADDED * turn : ADDED * turn + ADDED])
            outdated = tuple(keys[first : first + OUTDATED]) if turn else ()
            state = chance.randbytes(STATE)
            newer = await store.commit(
                _SCOPE, [Change(name, turn, time.time(), state, added, outdated)]
            )
            if newer or len(found) != (turn > 0):
                raise RuntimeError(f"{name} was not found as it was left")


@contextmanager
def _redis() -> Iterator[Server]:
    with redis.running() as server, Redis.from_url(server.url) as client:
        yield Server(
            "Redis",
            server.pid,
            lambda: RedisStore(server.url, max_sessions=100_000, ttl_seconds=3600),
            lambda: int(client.info("memory")["used_memory"]),
        )


@contextmanager
def _postgres() -> Iterator[Server]:
    with (
        postgres.running(PATH) as admin,
        postgres.database(admin) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):

        def size() -> int:
            # Rows that were changed are kept for a while; what is left in the end is meant.
            connection.execute("VACUUM FULL")
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

        backend = connection.info.backend_pid
        yield Server(
            "PostgreSQL",
            _parent(backend),
            lambda: PostgresStore(url, max_sessions=100_000, ttl_seconds=3600),
            size,
        )


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of its children."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _fields(stat)
        except OSError:
            continue  # it has just ended
        if stat.parent.name == str(pid) or fields[1] == str(pid):
            ticks += sum(map(int, fields[11:13]))
    return ticks / _TICK


def _parent(pid: int) -> int:
    return int(_fields(Path(f"/proc/{pid}/stat"))[1])


def _fields(stat: Path) -> list[str]:
    """Return what follows the name of a process."""
    return stat.read_text(encoding="utf-8").rpartition(")")[2].split()
