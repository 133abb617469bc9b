"""The memory of states: right or silent, and never larger."""

from __future__ import annotations

import random

from gateway_sessions.detection.memo import StateMemo


def test_what_was_put_is_found() -> None:
    memo = StateMemo(16)
    memo.put(7, 70)
    assert memo.get(7) == 70
    assert memo.get(8) is None


def test_another_on_the_same_place_takes_it() -> None:
    memo = StateMemo(1024)
    memo.put(5, 50)
    memo.put(5 + 1024, 51)
    assert memo.get(5) is None
    assert memo.get(5 + 1024) == 51


def test_it_is_right_or_silent() -> None:
    rng = random.Random(1)
    memo, truth = StateMemo(1), {}
    for _ in range(20_000):
        key, state = rng.getrandbits(64), rng.getrandbits(64)
        memo.put(key, state)
        truth[key] = state
    found = {key: memo.get(key) for key in truth}
    assert all(state in (None, truth[key]) for key, state in found.items())
    assert 0 < sum(state is not None for state in found.values()) <= 1024
