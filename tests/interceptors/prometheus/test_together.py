"""The numbers of several workers as one."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

from gateway_sessions.hooks import Answerer
from interceptors.prometheus import together
from interceptors.prometheus.together import TOPIC, Together, packed


def counted(total: float, *buckets: float, at: float = 1.0) -> list[Metric]:
    """Return a counter with labels, and a histogram with two buckets."""
    counter = CounterMetricFamily("gateway_sessions_requests_total", "Requests.", labels=("a",))
    counter.add_metric(("x",), total)
    histogram = HistogramMetricFamily("gateway_sessions_hash_seconds", "Digesting.")
    example = Exemplar({"request_id": f"req_{at:g}"}, 0.5, at)
    some, every = buckets or (0.0, 0.0)
    histogram.add_metric((), [("1.0", some, example), ("+Inf", every)], every)
    return [counter, histogram]


def gauge(name: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, "A gauge.")
    family.add_metric((), value)
    return family


class Workers:
    """The company of a main process; its workers say what a test wants."""

    is_main = True

    def __init__(self, **workers: list[Metric]) -> None:
        self.workers = workers
        self.asked = asyncio.Semaphore(0)

    def answer(self, topic: str, answerer: Answerer) -> None:
        raise AssertionError("nobody asks the main process for numbers")

    async def ask(self, topic: str, question: bytes = b"") -> dict[str, bytes]:
        assert topic == TOPIC
        answers = {name: packed(metrics) for name, metrics in self.workers.items()}
        self.asked.release()
        return answers

    def tell(self, topic: str, note: bytes) -> None:
        raise AssertionError("nobody is told anything")

    def names(self) -> frozenset[str]:
        return frozenset(self.workers)


def shown(whole: Together) -> dict[str, float]:
    return {
        f"{s.name}{s.labels or ''}": s.value for metric in whole.collect() for s in metric.samples
    }


async def test_counters_and_histograms_add_up() -> None:
    workers = Workers(one=counted(1, 1, 2), two=counted(10, 3, 4))
    whole = Together(lambda: counted(100, 5, 6), workers)
    await whole.ask()
    assert shown(whole) == {
        "gateway_sessions_requests_total{'a': 'x'}": 111,
        "gateway_sessions_hash_seconds_bucket{'le': '1.0'}": 9,
        "gateway_sessions_hash_seconds_bucket{'le': '+Inf'}": 12,
        "gateway_sessions_hash_seconds_sum": 12,
        "gateway_sessions_hash_seconds_count": 12,
    }


async def test_the_newest_exemplar_is_shown() -> None:
    workers = Workers(one=counted(1, 1, 1, at=9.0), two=counted(1, 1, 1, at=5.0))
    whole = Together(list, workers)
    await whole.ask()
    (example,) = [s.exemplar for m in whole.collect() for s in m.samples if s.exemplar]
    assert (example.labels, example.timestamp) == ({"request_id": "req_9"}, 9.0)


async def test_gauges_add_up_or_not_as_their_meaning_asks() -> None:
    names = {
        "gateway_sessions_recorder_queue_events": 7.0,
        "gateway_sessions_sessions_active": 4.0,
        "gateway_sessions_longest_session_messages": 4.0,
        "gateway_sessions_start_time_seconds": 0.0,
        "process_open_fds": 7.0,
        "process_max_fds": 0.0,
    }
    workers = Workers(
        one=[gauge(name, 3.0) for name in names], two=[gauge(name, 4.0) for name in names]
    )
    whole = Together(lambda: [gauge(name, 0.0) for name in names], workers)
    await whole.ask()
    assert shown(whole) == names


async def test_what_a_worker_counted_outlives_it_but_not_its_gauges() -> None:
    waits, longest = "gateway_sessions_recorder_queue_events", together.LONGEST
    workers = Workers(one=[*counted(5), gauge(waits, 3), gauge(longest, 9)], two=counted(1))
    whole = Together(list, workers)
    await whole.ask()
    workers.workers = {"two": counted(2), "one.2": [*counted(1), gauge(longest, 2)]}
    await whole.ask()
    await whole.ask()
    found = shown(whole)
    assert found["gateway_sessions_requests_total{'a': 'x'}"] == 8
    assert found[longest] == 9
    assert waits not in found


async def test_a_worker_that_is_late_once_is_not_forgotten() -> None:
    workers = Workers(one=counted(5), two=counted(1))
    whole = Together(list, workers)
    await whole.ask()
    answers: dict[str, bytes] = {}

    async def none(topic: str, question: bytes = b"") -> dict[str, bytes]:
        return answers

    workers.ask = none  # type: ignore[method-assign]
    await whole.ask()
    assert shown(whole)["gateway_sessions_requests_total{'a': 'x'}"] == 6


async def test_an_answer_of_one_whose_numbers_are_put_aside_already_counts_once() -> None:
    workers = Workers(one=counted(5))
    whole = Together(list, workers)
    await whole.ask()
    ask = workers.ask
    go = asyncio.Event()

    async def slow(topic: str, question: bytes = b"") -> dict[str, bytes]:
        answers = await ask(topic, question)
        await go.wait()
        return answers

    workers.ask = slow  # type: ignore[method-assign]
    asking = asyncio.get_running_loop().create_task(whole.ask())
    assert await workers.asked.acquire()
    assert await workers.asked.acquire()
    workers.ask, workers.workers = ask, {}  # type: ignore[method-assign]
    await whole.ask()
    go.set()
    await asking
    assert shown(whole)["gateway_sessions_requests_total{'a': 'x'}"] == 5


async def test_workers_are_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "ASK_SECONDS", 0.0)
    workers = Workers(one=counted(1))
    whole = Together(list, workers)
    whole.start()
    for _ in range(3):
        await asyncio.wait_for(workers.asked.acquire(), 10)
    whole.stop()
    whole.stop()
    Together(list, workers).stop()
