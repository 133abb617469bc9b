"""A log that is a little out of order comes out in order; one that is not sorted is refused."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gateway_sessions.converters.order import in_order
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange, LoggedRequest

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int, size: int = 10) -> LoggedExchange:
    body = msgspec.Raw(b"x" * size)
    return LoggedExchange(START + timedelta(seconds=seconds), LoggedRequest("/", body=body))


def seconds(found: Iterable[LoggedExchange]) -> list[int]:
    return [int((exchange.timestamp - START).total_seconds()) for exchange in found]


def test_what_is_a_little_late_is_put_where_it_belongs() -> None:
    chance = random.Random(1)
    shuffled = sorted(range(500), key=lambda second: second + chance.randrange(40))
    assert shuffled != list(range(500))
    assert seconds(in_order(map(at, shuffled), "log", ahead=50)) == list(range(500))


def test_what_begins_at_the_same_time_keeps_its_order() -> None:
    found = [at(5, 1), at(5, 2), at(1, 3), at(5, 4)]
    sizes = [memoryview(one.request.body).nbytes for one in in_order(found, "log")]
    assert sizes == [3, 1, 2, 4]


def test_a_log_that_goes_backwards_is_refused_with_the_cure() -> None:
    found = in_order(map(at, range(3600, 0, -600)), "spend.csv", ahead=2)
    assert seconds([next(found)]) == [2400]
    with pytest.raises(UnreadableLog) as raised:
        next(found)
    assert str(raised.value) == (
        "spend.csv is not in the order of time: what happened at 2026-01-01 00:30:00+00:00 comes"
        " long after what happened at 2026-01-01 00:40:00+00:00; sort it by its time of start."
    )


def test_a_short_log_may_be_in_any_order() -> None:
    assert seconds(in_order(map(at, range(9, -1, -1)), "log")) == list(range(10))


@pytest.mark.parametrize(("limits", "most"), [({"ahead": 10}, 12), ({"ahead_bytes": 5000}, 7)])
def test_only_so_much_is_held(limits: dict[str, int], most: int) -> None:
    taken = 0

    def log() -> Iterator[LoggedExchange]:
        nonlocal taken
        for second in range(100):
            taken += 1
            yield at(second, 1000)

    yielded = 0
    for _ in in_order(log(), "log", **limits):
        yielded += 1
        assert taken - yielded < most
    assert yielded == 100


def test_one_exchange_that_is_larger_than_the_space_passes() -> None:
    assert seconds(in_order([at(1, 9000), at(2, 9000)], "log", ahead_bytes=100)) == [1, 2]
