"""Stores of shared sessions on real servers that freeze, refuse and flap, behind the breaker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from gateway_sessions.index import breaker as module
from gateway_sessions.index.breaker import CALL_SECONDS, FAILURES, Breaker
from gateway_sessions.index.store import Change, StoreFailed
from tests.faults.outages import Outages

SCOPE = 7
PATIENCE = 30.0
"""Seconds after which a test fails that waits for a server that is back."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for servers that answer, however busy the machine is; see `hurried`."""
    monkeypatch.setattr(module, "CALL_SECONDS", PATIENCE)


@contextmanager
def hurried() -> Iterator[None]:
    """Wait for a server as short a time as gateways do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CALL_SECONDS", CALL_SECONDS)
        yield


class Guarded:
    """A breaker before a store on a server, and when it let the store in again."""

    def __init__(self, outages: Outages) -> None:
        self.breaker = Breaker(outages.store(), name="the store")
        self.back = asyncio.Event()
        self.breaker.returned = self.back.set

    async def ask(self, number: int = 1) -> list[str]:
        """Return the ids under a key."""
        return [each.id for each in await self.breaker.fetch(SCOPE, (number,), {})]

    async def commit(self, number: int, version: int = 0) -> int:
        """Change a session until the change is stored; return its version then."""
        while True:
            name = f"sess_{number}"
            change = Change(name, version, time.time(), b"%d" % number, (number,))
            newer = await self.breaker.commit(SCOPE, [change])
            if not newer:
                return version + 1
            version = newer[0].version

    async def lose(self) -> list[float]:
        """Ask until the breaker is open; return how long each question took."""
        took = []
        while not self.breaker.reason:
            began = time.perf_counter()
            with hurried(), pytest.raises(StoreFailed):
                await self.ask()
            took.append(time.perf_counter() - began)
        return took

    async def returned(self) -> None:
        """Wait until the store is used again."""
        await asyncio.wait_for(self.back.wait(), PATIENCE)
        self.back.clear()


@pytest.fixture
async def guarded(outages: Outages) -> AsyncIterator[Guarded]:
    guarded = Guarded(outages)
    await guarded.breaker.open()
    # What is done for the first time takes longest.
    await guarded.commit(1)
    assert await guarded.ask() == ["sess_1"]
    yield guarded
    await guarded.breaker.close()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("fault", ["freeze", "refuse"])
async def test_a_server_that_fails_costs_little_and_comes_back_with_all_it_had(
    guarded: Guarded, outages: Outages, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    getattr(outages, fault)()
    took = await guarded.lose()
    assert len(took) == FAILURES
    # A timer is never early; how late it is, is the machine's doing.
    assert max(took) < CALL_SECONDS + 1
    waits = []
    for _ in range(1000):
        began = time.perf_counter()
        with pytest.raises(StoreFailed, match="the store is away"):
            await guarded.ask()
        waits.append(time.perf_counter() - began)
    assert sorted(waits)[989] < 0.005
    getattr(outages, {"freeze": "thaw", "refuse": "admit"}[fault])()
    await guarded.returned()
    assert await guarded.ask() == ["sess_1"]
    assert await guarded.commit(1, 1) == 2
    assert await guarded.commit(2) == 1
    lines = logged(caplog)
    assert len(lines) == 2, lines
    assert lines[1].startswith("the store answers again after ")


async def test_what_is_asked_at_once_of_a_frozen_server_waits_once(
    guarded: Guarded, outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    outages.freeze()
    began = time.perf_counter()
    calls = [*[guarded.ask() for _ in range(32)], *[guarded.commit(n) for n in range(2, 34)]]
    with hurried():
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert time.perf_counter() - began < CALL_SECONDS + 1
    assert {type(answer) for answer in answers} == {StoreFailed}
    assert len(logged(caplog)) == 1
    outages.thaw()
    await guarded.returned()
    # Whether those commits were stored or not: committing again ends with one session each.
    versions = await asyncio.gather(*[guarded.commit(n) for n in range(2, 34)])
    assert set(versions) <= {1, 2}
    assert [await guarded.ask(n) for n in range(2, 34)] == [[f"sess_{n}"] for n in range(2, 34)]


async def test_a_server_that_flaps_is_tried_less_and_less(
    guarded: Guarded,
    outages: Outages,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(seconds)

    guarded.breaker._pause = pause
    for _ in range(4):
        outages.freeze()
        await guarded.lose()
        outages.thaw()
        await guarded.returned()
        assert await guarded.commit(1) > 1
    assert all(after >= before for before, after in pairwise(pauses))
    assert len(logged(caplog)) == 8


async def test_a_server_that_is_not_there_at_the_start_is_used_when_it_comes(
    outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    outages.refuse()
    guarded = Guarded(outages)
    await guarded.breaker.open()
    assert guarded.breaker.reason
    outages.admit()
    await guarded.returned()
    assert await guarded.commit(1) == 1
    assert await guarded.ask() == ["sess_1"]
    assert len(logged(caplog)) == 2
    await guarded.breaker.close()


async def test_closing_does_not_wait_for_a_frozen_server(outages: Outages) -> None:
    guarded = Guarded(outages)
    await guarded.breaker.open()
    await guarded.commit(1)
    outages.freeze()
    await guarded.lose()
    began = time.perf_counter()
    await guarded.breaker.close()
    assert time.perf_counter() - began < 2
    outages.thaw()
