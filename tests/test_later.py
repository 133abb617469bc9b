from __future__ import annotations

import asyncio
import logging

import pytest

from gateway_sessions.later import Later


async def test_calls_come_in_their_order_in_the_next_turn() -> None:
    later, made = Later(), list[object]()
    later.add(made.append, 1)
    later.add(made.extend, (2, 3))
    assert made == []
    await asyncio.sleep(0)
    assert made == [1, 2, 3]


async def test_what_has_been_sent_leaves_first() -> None:
    """As a socket does, which is written to in the turn after the one that asked for it."""
    later, made = Later(), list[str]()
    asyncio.get_running_loop().call_soon(made.append, "sent")
    later.add(made.append, "looked at")
    await asyncio.sleep(0)
    assert made == ["sent", "looked at"]


async def test_whoever_depends_on_them_need_not_wait() -> None:
    later, made = Later(), list[int]()
    later.add(made.append, 1)
    later.catch_up()
    assert made == [1]
    await asyncio.sleep(0)
    assert made == [1]
    later.add(made.append, 2)
    await asyncio.sleep(0)
    assert made == [1, 2]


async def test_a_call_may_put_off_another() -> None:
    later, made = Later(), list[int]()
    later.add(later.add, made.append, 1)
    await asyncio.sleep(0)
    assert made == [1]


async def test_one_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    later, made = Later(), list[int]()
    later.add(lambda: made.append(1 // 0))
    later.add(made.append, 2)
    with caplog.at_level(logging.ERROR):
        later.catch_up()
    assert made == [2]
    assert "ZeroDivisionError" in caplog.text
