"""What a deployment needs follows from what a request costs."""

from __future__ import annotations

import math

import pytest

from bench import sizing
from bench.sizing import Costs, deployment, waiting

COSTS = Costs(
    gateway_us=200,
    recorder_us=150,
    shared_us=180,
    alone_us=120,
    redis_us=25,
    redis_commands=3,
    redis_bytes=4096,
)


def test_processes_and_stores_grow_with_the_rate_and_the_sessions() -> None:
    small, large = deployment(COSTS, 1_000, 10_000), deployment(COSTS, 100_000, 100_000_000)
    # 260 µs a request with the share of Redis, at 60 % of a core.
    assert small.processes == math.ceil(1_000 * 260e-6 / sizing.BUSY) == 1
    assert large.processes == math.ceil(100_000 * 260e-6 / sizing.BUSY) == 44
    assert (small.recorder_cores, large.recorder_cores) == (1, 15)
    assert (small.redis_shards, large.redis_shards) == (1, 5)
    assert large.redis_gb == pytest.approx(1e8 * 4096 / 2**30)


def test_waiting_of_equal_requests_is_that_of_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "LONG_TIMES", 1)
    # M/D/1 at 50 %: the 99th percentile of waiting is 3.2 service times (Erlang's tables).
    assert waiting(500, 0.001) == pytest.approx(0.0032, rel=0.1)


def test_waiting_grows_with_load_and_with_long_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = waiting(600, 0.001, 50_000)
    assert waiting(300, 0.001, 50_000) < mixed < waiting(800, 0.001, 50_000)
    monkeypatch.setattr(sizing, "LONG_TIMES", 1)
    assert waiting(600, 0.001, 50_000) < mixed


def test_the_page_says_what_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "measured", lambda seconds: COSTS)
    monkeypatch.setattr(sizing, "SIMULATED", 2_000)
    page = sizing.run(quick=True)
    assert "| 100,000 | 100,000,000 | 44 | 15 | 5 | 381.5 |" in page
    assert page.endswith(sizing.ASSUMPTIONS)
