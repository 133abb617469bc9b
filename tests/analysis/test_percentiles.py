"""Percentiles: exact for few values, within the stated error for many, in bounded memory."""

from __future__ import annotations

import random
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.analysis.percentiles import EXACT, GROWTH, Samples

SHARES = (0.5, 0.95, 0.99)


def samples(values: list[float]) -> Samples:
    found = Samples()
    found.extend(values)
    return found


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(1, ceil(share * len(values) - 1e-9)) - 1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (0, 0, 0)),
        ([7], (7, 7, 7)),
        ([7, 9], (7, 9, 9)),
        ([9, 7, 8], (8, 9, 9)),
        (list(range(1, 101)), (50, 95, 99)),
    ],
)
def test_few_values_are_exact(values: list[float], expected: tuple[float, ...]) -> None:
    assert samples(values).percentiles(*SHARES) == expected


def test_what_is_kept_beside_percentiles() -> None:
    found = samples([3, 1, 2])
    assert (found.count, found.total, found.mean, found.least, found.greatest) == (3, 6, 2, 1, 3)
    empty = Samples()
    assert (empty.count, empty.mean, empty.least, empty.greatest) == (0, 0, 0, 0)


@given(st.lists(st.floats(0.001, 1e8), min_size=1, max_size=3 * EXACT), st.floats(0, 1))
def test_many_values_are_near(values: list[float], share: float) -> None:
    true = nearest_rank(values, share)
    (found,) = samples(values).percentiles(share)
    error = 0.0 if len(values) <= EXACT else GROWTH**0.5 - 1
    assert found == pytest.approx(true, rel=error + 1e-9)


def test_no_number_of_values_takes_more_room() -> None:
    source = random.Random(5)
    found = samples([10 ** source.uniform(-9, 12) for _ in range(20_000)])
    assert found._values is None
    assert found._buckets is not None
    assert len(found._buckets) * found._buckets.itemsize < 3000
    assert sum(found._buckets) == found.count == 20_000


def test_values_out_of_range_count_as_the_nearest() -> None:
    found = samples([0.0] * EXACT + [-1.0, 1e12])
    least, median, greatest = found.percentiles(0, 0.5, 1)
    assert least == median == pytest.approx(0.001, rel=0.02)
    assert greatest == pytest.approx(1e8, rel=0.02)
