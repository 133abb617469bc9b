"""Times between chunks, few of many."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway_sessions.recording.pace import KEPT, Pace


def paced(*times: float) -> tuple[float, ...]:
    pace = Pace()
    for now in times:
        pace.chunk(now)
    return pace.gaps_ms()


def test_the_gaps_between_chunks() -> None:
    assert paced() == paced(5.0) == ()
    assert paced(5.0, 5.25, 5.75) == (250.0, 500.0)


def test_of_a_long_stream_evenly_picked_ones_are_kept() -> None:
    # The gap before chunk n is n ms.
    times = [0.0]
    for number in range(1, 10_000):
        times.append(times[-1] + number / 1000)
    gaps = paced(*times)
    assert KEPT / 2 <= len(gaps) < KEPT
    distances = [second - first for first, second in pairwise(gaps)]
    assert distances == pytest.approx([16.0] * len(distances))
    assert gaps[-1] > 9_900
