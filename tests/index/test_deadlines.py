"""Limits that share a timer: each holds for what it was set for, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from gateway_sessions.index.deadlines import Deadlines, Waiter, within

SHORT, LONG = 0.001, 60.0


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_is_late_is_called_off() -> None:
    with pytest.raises(TimeoutError), within(SHORT, Deadlines()):
        await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # Nothing is left that would call off what comes next.


async def test_what_is_in_time_is_not() -> None:
    deadlines = Deadlines()
    with within(SHORT, deadlines):
        pass
    with pytest.raises(TimeoutError), within(SHORT, deadlines):
        await forever()


async def test_each_of_several_has_its_time() -> None:
    deadlines, ended = Deadlines(), []

    async def late(number: int) -> None:
        try:
            with within(SHORT * 5, deadlines):
                await forever()
        except TimeoutError:
            ended.append(number)

    tasks = []
    for number in range(3):
        tasks.append(asyncio.get_running_loop().create_task(late(number)))
        await asyncio.sleep(SHORT)
    await asyncio.wait(tasks)
    assert ended == [0, 1, 2]


async def test_an_error_of_its_own_passes() -> None:
    with pytest.raises(ZeroDivisionError), within(LONG, Deadlines()):
        raise ZeroDivisionError


async def test_somebody_else_may_call_it_off() -> None:
    deadlines = Deadlines()

    async def work() -> None:
        with within(LONG, deadlines):
            await forever()

    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_somebody_elses_call_counts_when_both_come() -> None:
    deadlines = Deadlines()

    async def work() -> None:
        limit = within(LONG, deadlines)
        with limit:
            limit.expire()
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await forever()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.get_running_loop().create_task(work())


async def test_a_future_gets_its_result_at_the_latest_then() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    done, late = loop.create_future(), loop.create_future()
    deadlines.add(Waiter(done), SHORT, loop)
    deadlines.add(Waiter(late), SHORT, loop)
    done.cancel()
    await late
    assert done.cancelled()
