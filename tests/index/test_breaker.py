"""A store that fails or hangs, behind a breaker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.index import breaker as module
from gateway_sessions.index.breaker import FAILURES, FIRST_PAUSE_SECONDS, Breaker
from gateway_sessions.index.store import Change, StoredSession, StoreFailed, prompt
from tests.index.stored import StoreInMemory

CHANGE = Change("sess_a", 0, 1e10, b"state", (5,))


class Store(StoreInMemory):
    """Does not answer at all while it is ``frozen``; notes whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False
        self.closed = False
        self.too_new = False
        self.full = False
        """Whether it stores nothing."""
        self.calls = 0

    async def _arrived(self) -> None:
        self.calls += 1
        if self.frozen:
            await asyncio.Event().wait()
        if self.too_new:
            raise StartError("the tables are newer")

    async def open(self) -> None:
        await self._arrived()
        await super().open()

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        await self._arrived()
        return await super().fetch(scope, keys, known)

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        await self._arrived()
        if self.full:
            raise StoreFailed("the disk is full")
        return await super().commit(scope, changes)

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A breaker before a store, its pauses in the hands of the test."""

    def __init__(self) -> None:
        self.store = Store()
        self.pauses: list[float] = []
        self.returns = asyncio.Event()
        self._resting = asyncio.Event()
        self._go = asyncio.Event()
        self.breaker = Breaker(self.store, name="Redis at here", pause=self._pause)
        self.breaker.returned = self.returns.set

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._resting.set()
        await self._go.wait()
        self._go.clear()

    async def attempt(self) -> None:
        """Let the pause end, and wait until the store was tried."""
        self._resting.clear()
        self.returns.clear()
        self._go.set()
        waits = [asyncio.get_running_loop().create_task(e.wait())
                 for e in (self._resting, self.returns)]  # fmt: skip
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def fail(self, times: int = FAILURES) -> None:
        """Fetch in vain."""
        for _ in range(times):
            with pytest.raises(StoreFailed):
                await self.breaker.fetch(1, (5,), {})


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "CALL_SECONDS", 0.002)
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.002)
    return Bench()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == module.__name__]


async def test_while_the_store_answers_nothing_is_between(bench: Bench) -> None:
    await bench.breaker.open()
    assert await bench.breaker.commit(1, [CHANGE]) == []
    assert [each.id for each in await bench.breaker.fetch(1, (5,), {})] == ["sess_a"]
    assert not bench.breaker.reason
    await bench.breaker.close()
    assert bench.store.closed


async def test_after_failures_in_a_row_the_store_is_not_asked(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.breaker.open()
    bench.store.failing = True
    await bench.fail(FAILURES - 1)
    bench.store.failing = False
    await bench.breaker.fetch(1, (5,), {})  # the row ends
    bench.store.failing = True
    await bench.fail(FAILURES - 1)
    assert not bench.breaker.reason
    assert logged(caplog) == []
    await bench.fail(1)
    assert bench.breaker.reason
    asked = bench.store.calls
    with pytest.raises(StoreFailed, match="Redis at here is away"):
        await bench.breaker.commit(1, [CHANGE])
    await bench.fail(10)
    assert bench.store.calls == asked
    assert logged(caplog) == [
        "it was told to fail; until it answers again, sessions are those that this process knows"
    ]
    await bench.breaker.close()


class Prompt(Store):
    """Answers within the call."""

    is_prompt = True
    wants_batches = True

    def fetch_now(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession] | None:
        return None if self.full else []

    def commit_now(self, scope: int, changes: Sequence[Change]) -> list[StoredSession] | None:
        return None if self.full else []


async def test_what_need_not_be_waited_for_is_answered_within_the_call() -> None:
    breaker = Breaker(store := Prompt(), name="a file", pause=_for_ever)
    await breaker.open()
    store.failing = True
    for _ in range(2):
        for _ in range(FAILURES - 1):
            with pytest.raises(StoreFailed):
                await breaker.fetch(1, (5,), {})
        assert breaker.fetch_now(1, (5,), {}) == []  # the row ends
    assert breaker.commit_now(1, [CHANGE]) == []
    assert breaker.wants_batches
    store.wants_batches = False
    assert not breaker.wants_batches
    store.full = True
    assert breaker.fetch_now(1, (5,), {}) is breaker.commit_now(1, [CHANGE]) is None
    for _ in range(FAILURES):
        with pytest.raises(StoreFailed):
            await breaker.fetch(1, (5,), {})
    with pytest.raises(StoreFailed, match="a file is away"):
        breaker.fetch_now(1, (5,), {})
    with pytest.raises(StoreFailed, match="a file is away"):
        breaker.commit_now(1, [CHANGE])
    await breaker.close()


def test_of_a_store_that_has_to_be_waited_for_nothing_comes_within_the_call() -> None:
    breaker = Breaker(Store(), name="a server")
    assert prompt(breaker) is None
    assert breaker.fetch_now(1, (5,), {}) is breaker.commit_now(1, [CHANGE]) is None


async def _for_ever(seconds: float) -> None:
    await asyncio.Event().wait()


async def test_a_store_that_hangs_is_waited_for_in_vain_and_not_for_long(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.breaker.open()
    bench.store.frozen = True
    calls = [bench.breaker.fetch(1, (5,), {}) for _ in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(each) for each in answers} == {"Redis at here: no answer within 2 ms"}
    assert bench.breaker.reason
    assert len(logged(caplog)) == 1
    await bench.breaker.close()


async def test_the_store_is_tried_beside_the_traffic_until_it_answers(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.breaker.open()
    bench.store.failing = True
    await bench.fail()
    for _ in range(8):
        await bench.attempt()
    assert bench.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    bench.store.failing = False
    bench.store.frozen = True
    await bench.attempt()
    assert bench.breaker.reason
    bench.store.frozen = False
    await bench.attempt()
    assert not bench.breaker.reason
    assert bench.returns.is_set()
    assert [line.rsplit(" ", 2)[0] for line in logged(caplog)[1:]] == [
        "Redis at here answers again after"
    ]
    assert await bench.breaker.commit(1, [CHANGE]) == []
    await bench.breaker.close()


async def test_the_pauses_of_a_store_that_flaps_go_on_doubling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.breaker.open()
    for _ in range(3):
        bench.store.failing = True
        await bench.fail()
        bench.store.failing = False
        await asyncio.sleep(0)  # the attempts begin
        await bench.attempt()
    assert bench.pauses == [0.1, 0.2, 0.4]
    monkeypatch.setattr(module, "CALM_SECONDS", 0.0)
    bench.store.failing = True
    await bench.fail()
    await asyncio.sleep(0)
    assert bench.pauses[-1] == FIRST_PAUSE_SECONDS
    await bench.breaker.close()


async def test_a_store_that_only_reads_is_away(bench: Bench) -> None:
    await bench.breaker.open()
    bench.store.full = True
    for _ in range(FAILURES):
        await bench.breaker.fetch(1, (5,), {})
        with pytest.raises(StoreFailed, match="the disk is full"):
            await bench.breaker.commit(1, [CHANGE])
    assert bench.breaker.reason
    await asyncio.sleep(0)
    await bench.attempt()
    assert bench.breaker.reason
    bench.store.full = False
    await bench.attempt()
    assert not bench.breaker.reason
    await bench.breaker.close()


Break = Callable[[Store], None]


def failing(store: Store) -> None:
    store.failing = True


def frozen(store: Store) -> None:
    store.frozen = True


@pytest.mark.parametrize("fault", [failing, frozen])
async def test_a_store_that_is_away_at_the_start_is_opened_when_it_comes(
    bench: Bench, fault: Break, caplog: pytest.LogCaptureFixture
) -> None:
    fault(bench.store)
    await bench.breaker.open()
    assert bench.breaker.reason
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    bench.store.failing = bench.store.frozen = False
    await asyncio.sleep(0)
    await bench.attempt()
    assert not bench.breaker.reason
    await bench.breaker.close()


async def test_a_store_that_can_not_be_used_at_all_stops_the_start(bench: Bench) -> None:
    bench.store.too_new = True
    with pytest.raises(StartError, match="the tables are newer"):
        await bench.breaker.open()
    await bench.breaker.close()


async def test_one_that_became_unusable_meanwhile_stays_away(bench: Bench) -> None:
    await bench.breaker.open()
    bench.store.failing = True
    await bench.fail()
    bench.store.failing, bench.store.too_new = False, True
    await asyncio.sleep(0)
    await bench.attempt()
    assert bench.breaker.reason
    bench.store.too_new = False
    await bench.attempt()
    assert not bench.breaker.reason
    await bench.breaker.close()


async def test_calls_that_are_called_off_are_no_failures(bench: Bench) -> None:
    await bench.breaker.open()
    bench.store.frozen = True
    loop = asyncio.get_running_loop()
    for _ in range(FAILURES + 1):
        call: asyncio.Task[object] = loop.create_task(_fetch(bench.breaker))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
    assert not bench.breaker.reason
    await bench.breaker.close()


async def _fetch(breaker: Breaker) -> object:
    return await breaker.fetch(1, (5,), {})
