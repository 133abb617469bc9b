"""What a session may use, and what it is told when it has used it up."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway_sessions import Company, Exchange, RateLimited, Refusal, Telemetry, Usage
from interceptors.rate_limit import HOUR, MINUTE, RateLimit, Window
from tests.interceptors.exchanges import TAG, context, exchange, response


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Guarded:
    """A limit with a clock of its own; `send` returns the refusal of a whole exchange."""

    def __init__(self, **options: float) -> None:
        self.clock = Clock()
        self.limit = RateLimit(**options)  # type: ignore[arg-type]
        self.limit._now = self.clock
        self.seen: list[RateLimited] = []
        telemetry = Telemetry()
        telemetry.listen(RateLimited, self.seen.append)
        self.limit.open(context(telemetry))
        self._number = 0

    def begin(
        self, session: str = "sess_a", *, confidence: float = 1.0, size: int = 40
    ) -> Exchange:
        self._number += 1
        item = exchange(self._number)
        item.session = msgspec.structs.replace(TAG, session_id=session, confidence=confidence)
        item.request = msgspec.structs.replace(item.request, size=size)
        return item

    def end(self, item: Exchange, tokens: int | None = 0, status: int = 200) -> None:
        usage = None if tokens is None else Usage(input_tokens=tokens, output_tokens=0)
        item.response = msgspec.structs.replace(response(), usage=usage, status=status)
        self.limit.exchange_finished(item)

    def send(self, session: str = "sess_a", tokens: int = 0, **how: float) -> Refusal | None:
        item = self.begin(session, confidence=how.get("confidence", 1.0))
        refusal = self.limit.request_started(item)
        assert not isinstance(refusal, Awaitable)
        self.end(item, tokens, 429 if refusal else 200)
        return refusal


def test_requests_beyond_the_limit_are_refused_until_a_minute_has_passed() -> None:
    guarded = Guarded(requests_per_minute=2)
    assert guarded.send() is None
    guarded.clock.now += 30
    assert guarded.send() is None
    refusal = guarded.send()
    assert refusal is not None
    assert refusal.status == 429
    headers = dict(refusal.headers)
    wait = int(headers["Retry-After"])
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == f"{wait}s"
    assert 30 <= wait <= 32
    assert refusal.message == (
        "Rate limit reached: this session has made 2 requests within a minute."
        f" Try again in {wait} s."
    )
    guarded.clock.now += wait
    assert guarded.send() is None
    assert guarded.send() is not None, "the request of half a minute ago still counts"
    assert [event.limit for event in guarded.seen] == ["requests", "requests"]


def test_a_refused_request_does_not_count() -> None:
    guarded = Guarded(requests_per_minute=1)
    assert guarded.send() is None
    for _ in range(5):
        guarded.clock.now += 10
        assert guarded.send() is not None
    guarded.clock.now += 11
    assert guarded.send() is None


def test_tokens_count_when_the_answer_tells_them() -> None:
    guarded = Guarded(tokens_per_hour=100)
    assert guarded.send(tokens=60) is None
    assert guarded.send(tokens=60) is None
    refusal = guarded.send()
    assert refusal is not None
    headers = dict(refusal.headers)
    assert headers["x-ratelimit-limit-tokens"] == "100"
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert HOUR <= int(headers["Retry-After"]) <= HOUR + 60
    assert "100 tokens within an hour" in refusal.message
    guarded.clock.now += int(headers["Retry-After"])
    assert guarded.send() is None


def test_requests_under_way_count_with_their_size() -> None:
    guarded = Guarded(tokens_per_hour=100)
    under_way = guarded.begin(size=400)
    assert guarded.limit.request_started(under_way) is None
    refusal = guarded.send()
    assert refusal is not None
    assert dict(refusal.headers)["Retry-After"] == "1", "it may turn out cheaper"
    guarded.end(under_way, tokens=10)
    assert guarded.send() is None


@pytest.mark.parametrize(
    ("tokens", "status", "counts"),
    [(None, 500, False), (None, 200, True), (0, 200, False)],
    ids=["failed", "broke off", "said to be free"],
)
def test_what_an_answer_without_usage_costs(tokens: int | None, status: int, counts: bool) -> None:
    guarded = Guarded(tokens_per_hour=100)
    item = guarded.begin(size=400)
    guarded.limit.request_started(item)
    guarded.end(item, tokens, status)
    assert (guarded.send() is not None) is counts


def test_each_session_has_limits_of_its_own() -> None:
    guarded = Guarded(requests_per_minute=1)
    assert guarded.send("sess_a") is None
    assert guarded.send("sess_b") is None
    assert guarded.send("sess_a") is not None


def test_where_detection_is_unsure_nothing_is_refused() -> None:
    guarded = Guarded(requests_per_minute=1, min_confidence=0.7)
    assert guarded.send() is None
    assert guarded.send(confidence=0.6) is None
    assert guarded.send(confidence=0.7) is not None


def test_what_has_no_session_has_no_limit() -> None:
    guarded = Guarded(requests_per_minute=1)
    for _ in range(3):
        item = guarded.begin()
        item.session = None
        assert guarded.limit.request_started(item) is None


def test_nothing_is_kept_of_finished_requests() -> None:
    guarded = Guarded(tokens_per_hour=10**9)
    for number in range(50):
        guarded.send(f"sess_{number}", tokens=5)
    assert guarded.limit._estimates == {}


@pytest.mark.parametrize("seconds", [MINUTE, HOUR])
def test_a_window_never_forgets_too_early_nor_much_too_late(seconds: float) -> None:
    chance = random.Random(3)
    window, log, now = Window(seconds), [], 0.0
    for _ in range(2000):
        now += chance.random() * seconds / 50
        amount = chance.randrange(5)
        window.forget(now)
        window.add(amount, now)
        log.append((now, amount))
        least = sum(amount for at, amount in log if at > now - seconds)
        most = sum(amount for at, amount in log if at > now - seconds * (1 + 2 / 60))
        assert least <= window.total <= most


def test_the_wait_that_is_told_is_enough_and_the_least() -> None:
    window = Window(MINUTE)
    for second in range(10):
        window.add(1, float(second))
    wait = window.free_in(8, 10.0)
    window.forget(10.0 + wait - 0.5)
    assert window.total >= 8
    window.forget(10.0 + wait)
    assert window.total < 8


class Process:
    """The company of one process; messages between processes arrive at once."""

    def __init__(self, name: str, main: Process | None = None) -> None:
        self.name = name
        self.is_main = main is None
        self.answerers: dict[str, Any] = {}
        self.alive: set[str] = set()
        self._main = main
        if main is not None:
            main.alive.add(name)

    def answer(self, topic: str, answerer: Any) -> None:
        self.answerers[topic] = answerer

    async def ask(self, topic: str, question: bytes = b"") -> dict[str, bytes]:
        if self._main is None or self.name not in self._main.alive:
            return {}
        return {"main": self._main.answerers[topic](self.name, question)}

    def tell(self, topic: str, note: bytes) -> None:
        assert self._main is not None
        self._main.answerers[topic](self.name, note)

    def names(self) -> frozenset[str]:
        return frozenset(self.alive)


class Several:
    """The same limit in a main process and in two workers."""

    def __init__(self, **options: int) -> None:
        self.main = Process("main")
        self.seen: list[RateLimited] = []
        self.open(self.main, **options)
        self.workers = [self.worker(f"worker-{number}", **options) for number in (1, 2)]
        self._number = 0

    def open(self, process: Process, **options: int) -> RateLimit:
        telemetry = Telemetry()
        telemetry.listen(RateLimited, self.seen.append)
        limit = RateLimit(**options)
        company: Company = process
        limit.open(replace(context(telemetry), company=company))
        return limit

    def worker(self, name: str, **options: int) -> RateLimit:
        return self.open(Process(name, self.main), **options)

    async def begin(self, worker: RateLimit, size: int = 40) -> tuple[Exchange, Refusal | None]:
        self._number += 1
        item = exchange(self._number)
        item.session = TAG
        item.request = msgspec.structs.replace(item.request, size=size)
        asked = worker.request_started(item)
        assert isinstance(asked, Awaitable)
        return item, await asked

    def end(self, worker: RateLimit, item: Exchange, tokens: int) -> None:
        item.response = msgspec.structs.replace(response(), usage=Usage(tokens, 0))
        worker.exchange_finished(item)


async def test_a_limit_holds_across_workers_and_is_announced_once() -> None:
    several = Several(requests_per_minute=3)
    one, two = several.workers
    refusals = [(await several.begin(worker))[1] for worker in (one, two, one, two, one)]
    assert [refusal and refusal.status for refusal in refusals] == [None, None, None, 429, 429]
    refusal = refusals[-1]
    assert refusal is not None
    assert ("x-ratelimit-limit-requests", "3") in refusal.headers
    assert [event.limit for event in several.seen] == ["requests", "requests"]


async def test_tokens_of_all_workers_count() -> None:
    several = Several(tokens_per_hour=100)
    one, two = several.workers
    item, refusal = await several.begin(one)
    assert refusal is None
    several.end(one, item, 100)
    assert (await several.begin(two))[1] is not None


async def test_estimates_of_a_worker_that_died_are_given_back() -> None:
    several = Several(tokens_per_hour=100)
    one, two = several.workers
    assert (await several.begin(one, size=800))[1] is None  # some 200 tokens
    assert (await several.begin(two))[1] is not None
    several.main.alive.remove("worker-1")
    again = several.worker("worker-1.2", tokens_per_hour=100)
    assert (await several.begin(again))[1] is None


async def test_where_nobody_answers_requests_pass() -> None:
    several = Several(requests_per_minute=1)
    several.main.alive.clear()
    for _ in range(3):
        assert (await several.begin(several.workers[0]))[1] is None
