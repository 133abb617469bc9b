from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

import pytest

from gateway_sessions.exchange import Exchange, Refusal
from gateway_sessions.testing import assistant
from gateway_sessions.transit import Transit
from tests.traffic import House, asked, head, tag

TTL_SECONDS = 3600


def live(house: House) -> int:
    """Return how many sessions have something in flight, as all others have expired."""
    house.clock.advance(TTL_SECONDS + 1)
    index = house.gateway.tracker.index
    index.expire(house.clock())
    return index.active


def shape(transits: Sequence[Transit]) -> list[tuple[str, int]]:
    """Return relations and sessions, these by their order."""
    tags = [tag(transit) for transit in transits]
    order = list(dict.fromkeys(each.session_id for each in tags))
    return [(each.relation, order.index(each.session_id)) for each in tags]


async def test_requests_of_one_turn_are_placed_as_if_they_had_come_one_by_one() -> None:
    at_once, one_by_one = House(), House()
    for house in (at_once, one_by_one):
        await house.ask("hi", reply="Hello!")
    said = ("hi", assistant("Hello!"))
    requests: list[list[Any]] = [
        ["hi"],
        [*said, "one"],
        [*said, "two"],
        [*said, "one"],
        ["ho"],
        ["ho"],
    ]
    together = await asyncio.gather(*[at_once.begin(*request) for request in requests])
    apart = [await one_by_one.begin(*request) for request in requests]
    assert shape(together) == shape(apart)
    assert {relation for relation, _ in shape(together)} >= {"first", "continue", "retry"}


async def test_one_that_can_not_be_read_takes_no_other_with_it() -> None:
    house = House()
    bad, good = await asyncio.gather(house.gateway.begin(head(), b"nonsense"), house.begin("hi"))
    assert bad.exchange.session is None
    assert bad.exchange.parse_error
    assert tag(good).relation == "first"


async def test_a_client_that_leaves_before_its_turn_has_no_session() -> None:
    house = House()
    leaving = asyncio.get_running_loop().create_task(house.begin("hi"))
    staying = asyncio.get_running_loop().create_task(house.begin("ho"))
    asyncio.get_running_loop().call_soon(leaving.cancel)  # Both wait by then, and none is placed.
    await staying
    assert leaving.cancelled()
    assert live(house) == 1


async def test_a_client_that_leaves_in_its_turn_has_nothing_in_flight() -> None:
    house = House()
    leaving = asyncio.get_running_loop().create_task(house.begin("hi"))
    await asyncio.sleep(0)
    # After the placing, which was called for already, and before its answer is taken.
    asyncio.get_running_loop().call_soon(leaving.cancel)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert live(house) == 0


async def test_an_unreadable_request_whose_client_leaves_is_not_complained_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House()
    leaving = asyncio.get_running_loop().create_task(house.gateway.begin(head(), b"nonsense"))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(leaving.cancel)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    del leaving
    gc.collect()
    assert caplog.text == ""


class Slow:
    """An interceptor that thinks about a request for longer than its client waits."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def request_started(self, exchange: Exchange) -> Refusal | None:
        """Never answer."""
        self.asked.set()
        await asyncio.Event().wait()
        return None


async def test_a_client_that_leaves_while_interceptors_are_asked_has_nothing_in_flight() -> None:
    slow = Slow()
    house = House(slow)
    leaving: asyncio.Task[Transit] = asyncio.get_running_loop().create_task(house.begin("hi"))
    await slow.asked.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert live(house) == 0


async def test_one_that_is_in_flight_is_still_so() -> None:
    house = House()
    await house.gateway.begin(head(), asked("hi"))
    assert live(house) == 1
