"""Questions that are collected while others are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from gateway_sessions.index.batches import Batches, Call
from gateway_sessions.index.store import StoreFailed


class Server:
    """Answers a number with its double, each batch when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failing = False
        self.hung_up = 0
        self._arrived = asyncio.Event()
        self._go = asyncio.Semaphore(0)
        self.line: Batches[int, int] = Batches("The server", self.exchange, self.hang_up)

    async def exchange(self, calls: list[Call[int, int]]) -> None:
        self.batches.append([call.question for call in calls])
        self._arrived.set()
        await self._go.acquire()
        if self.failing:
            raise StoreFailed("The server: no")
        for call in calls:
            call.answer(2 * call.question)

    async def hang_up(self) -> None:
        self.hung_up += 1
        self._go.release()

    def ask(self, *numbers: int) -> list[asyncio.Task[int]]:
        loop = asyncio.get_running_loop()
        return [loop.create_task(self.line.ask(number)) for number in numbers]

    async def arrived(self) -> None:
        """Wait until the next batch is there."""
        await self._arrived.wait()
        self._arrived.clear()

    def answer(self) -> None:
        """Let a batch be answered."""
        self._go.release()


async def answers(calls: list[asyncio.Task[int]]) -> list[int | BaseException]:
    found: Awaitable[list[int | BaseException]] = asyncio.gather(*calls, return_exceptions=True)
    return await found


async def test_one_goes_alone_and_the_rest_together() -> None:
    server = Server()
    calls = server.ask(1)
    await server.arrived()
    calls += server.ask(2, 3, 4)
    await asyncio.sleep(0)
    server.answer()
    await server.arrived()
    server.answer()
    assert await answers(calls) == [2, 4, 6, 8]
    assert server.batches == [[1], [2, 3, 4]]
    assert server.ask(5)
    await server.arrived()
    server.answer()
    await server.line.close()


async def test_who_was_called_off_is_not_asked_for() -> None:
    server = Server()
    calls = server.ask(1)
    await server.arrived()
    calls += server.ask(2, 3)
    await asyncio.sleep(0)
    calls[0].cancel()
    calls[1].cancel()
    await asyncio.sleep(0)
    server.answer()
    await server.arrived()
    server.answer()
    assert await calls[2] == 6
    assert server.batches == [[1], [3]]
    await server.line.close()


async def test_a_failure_is_told_to_all_of_the_batch_and_to_no_others() -> None:
    server = Server()
    calls = server.ask(1, 2)
    await server.arrived()
    calls += server.ask(3)
    await asyncio.sleep(0)
    server.failing = True
    server.answer()
    await server.arrived()
    server.failing = False
    server.answer()
    found = await answers(calls)
    assert [str(each) for each in found] == ["The server: no", "The server: no", "6"]
    await server.line.close()


async def test_closing_fails_what_is_under_way_and_what_waits() -> None:
    server = Server()
    calls = server.ask(1)
    await server.arrived()
    calls += server.ask(2)
    await asyncio.sleep(0)
    await server.line.close()
    await server.line.close()
    assert {str(each) for each in await answers(calls)} == {"The server: the connection was closed"}
    assert server.batches == [[1]]
    assert server.hung_up >= 2
    with pytest.raises(StoreFailed, match="the connection was closed"):
        await server.line.ask(3)
