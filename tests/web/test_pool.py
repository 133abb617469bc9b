"""Connections that wait for their next request, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import BaseConnector, ClientConnectionError, ClientRequest

from gateway_sessions.web import pool as module
from gateway_sessions.web.pool import Link, Pool


class Loop:
    """Has a clock, and rings when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[SimpleNamespace] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> SimpleNamespace:
        timer = SimpleNamespace(when=when, callback=callback)
        timer.cancel = lambda: self.timers.remove(timer)
        self.timers.append(timer)
        return timer

    def call_later(self, delay: float, callback: Callable[[], None]) -> SimpleNamespace:
        return self.call_at(self.now + delay, callback)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(timer)
            timer.callback()


class Protocol:
    def __init__(self) -> None:
        self.transport: object | None = object()
        self.should_close = False

    def is_connected(self) -> bool:
        return self.transport is not None


class Connection:
    def __init__(self, protocol: Protocol | None) -> None:
        self.protocol = protocol
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Connector:
    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.dead = False

    async def connect(self, *args: object) -> Connection:
        self.opened.append(Connection(None if self.dead else Protocol()))
        return self.opened[-1]


class Bench:
    """A pool, and what it stands on."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.connector = Connector()
        self.pool = Pool(
            cast("BaseConnector", self.connector),
            cast("ClientRequest", None),
            cast("asyncio.AbstractEventLoop", self.loop),
        )

    async def waiting(self, count: int) -> list[Any]:
        """Open some connections, give them all back, a second after each other."""
        links = [await self.pool.opened() for _ in range(count)]
        for link in links:
            self.pool.give_back(link)
            self.loop.pass_time(1)
        return links


def is_closed(link: Link) -> bool:
    return link.connection.closed


async def test_the_one_used_last_is_taken_first() -> None:
    bench = Bench()
    first, second = await bench.waiting(2)
    assert [bench.pool.idle() for _ in range(3)] == [second, first, None]
    assert len(bench.connector.opened) == 2


async def test_those_that_nobody_wants_are_closed_in_time() -> None:
    bench = Bench()
    first, second = await bench.waiting(2)
    bench.loop.pass_time(module.IDLE_SECONDS - 2)
    assert (is_closed(first), is_closed(second)) == (True, False)
    bench.loop.pass_time(1)
    assert is_closed(second)
    assert bench.loop.timers == []


async def test_one_that_was_used_meanwhile_stays() -> None:
    bench = Bench()
    (link,) = await bench.waiting(1)
    assert [bench.pool.idle()] == [link]
    bench.pool.give_back(link)
    bench.loop.pass_time(module.IDLE_SECONDS - 1)
    assert not is_closed(link)
    bench.loop.pass_time(1)
    assert is_closed(link)


async def test_one_that_is_lost_while_it_waits_is_passed_over() -> None:
    bench = Bench()
    good, lost = await bench.waiting(2)
    lost.protocol.transport = None
    assert bench.pool.idle() is good
    assert is_closed(lost)


async def test_one_that_said_something_unasked_is_passed_over() -> None:
    bench = Bench()
    (link,) = await bench.waiting(1)
    link.protocol.should_close = True
    assert bench.pool.idle() is None
    assert is_closed(link)


async def test_one_that_is_to_be_closed_does_not_wait() -> None:
    bench = Bench()
    link: Any = await bench.pool.opened()
    link.protocol.should_close = True
    bench.pool.give_back(link)
    assert is_closed(link)
    assert bench.pool.idle() is None


async def test_what_is_given_back_to_a_closed_pool_is_closed() -> None:
    bench = Bench()
    used = await bench.pool.opened()
    (waits,) = await bench.waiting(1)
    bench.pool.close()
    bench.pool.close()
    assert is_closed(waits)
    assert bench.loop.timers == []
    bench.pool.give_back(used)
    assert is_closed(used)


async def test_a_connection_that_is_lost_at_once() -> None:
    bench = Bench()
    bench.connector.dead = True
    with pytest.raises(ClientConnectionError):
        await bench.pool.opened()
