"""Plain numbers that prometheus_client can show."""

from __future__ import annotations

import pytest
from prometheus_client.core import Metric

from interceptors.prometheus.series import Counter, Example, Histogram, Known, Rate, gauge


def samples(metric: Metric) -> dict[str, float]:
    """Return the samples as ``{'name{label=value}': value}``."""
    found = {}
    for sample in metric.samples:
        labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
        found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_a_counter_adds_up_by_labels() -> None:
    counter = Counter("x_total", "X.", ("kind",))
    counter.add(("a",))
    counter.add(("a",), 2)
    counter.add(("b",), 0.5)
    assert samples(counter.collect()) == {"x_total{kind=a}": 3, "x_total{kind=b}": 0.5}


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    assert samples(Counter("x_total", "X.").collect()) == {"x_total": 0}
    assert samples(Counter("x_total", "X.", ("kind",)).collect()) == {}


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram("x", "X.", (0.1, 1))
    for value in (0.05, 0.1, 0.5, 1.0, 7):
        histogram.observe(value)
    assert samples(histogram.collect()) == {
        "x_bucket{le=0.1}": 2,
        "x_bucket{le=1.0}": 4,
        "x_bucket{le=+Inf}": 5,
        "x_count": 5,
        "x_sum": pytest.approx(8.65),
    }


def test_negative_values_count_as_zero() -> None:
    histogram = Histogram("x", "X.", (1,))
    histogram.observe(-3)
    assert samples(histogram.collect())["x_sum"] == 0


def test_each_bucket_keeps_its_latest_exemplar() -> None:
    histogram = Histogram("x", "X.", (1,), ("kind",))
    histogram.observe(0.5, ("a",), Example("req_1", "sess_1", 1.0))
    histogram.observe(0.6, ("a",), Example("req_2", "sess_2", 2.0))
    histogram.observe(0.7, ("a",))
    histogram.observe(3, ("a",), Example("req_3", "", 3.0))
    found = [sample.exemplar for sample in histogram.collect().samples if sample.exemplar]
    assert [(exemplar.labels, exemplar.value, exemplar.timestamp) for exemplar in found] == [
        ({"request_id": "req_2", "session_id": "sess_2"}, 0.6, 2.0),
        ({"request_id": "req_3"}, 3, 3.0),
    ]


def test_a_sum_and_a_cell_may_be_kept() -> None:
    counter = Counter("x_total", "X.", ("kind",))
    kept = counter.sum(("a",))
    kept.value += 2
    counter.add(("a",))
    assert counter.sum(("a",)) is kept
    assert samples(counter.collect()) == {"x_total{kind=a}": 3}
    histogram = Histogram("x", "X.", (1,), ("kind",))
    cell = histogram.cell(("a",))
    cell.observe(0.5)
    assert histogram.cell(("a",)) is cell
    assert samples(histogram.collect())["x_count{kind=a}"] == 1


def test_a_gauge_shows_what_it_is_given() -> None:
    assert samples(gauge("x", "X.", {("a",): 1.5}, ("kind",))) == {"x{kind=a}": 1.5}


def test_labels_are_limited() -> None:
    known = Known(2)
    assert [known.label(value) for value in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]


@pytest.mark.parametrize("value", ["", "x" * 65, "a\nb", "\ud800"])
def test_labels_that_no_model_has_are_other(value: str) -> None:
    assert Known(10).label(value) == "other"


def test_values_that_are_not_admitted_do_not_take_a_place() -> None:
    known = Known(1)
    assert known.label("made-up", admit=False) == "other"
    assert known.label("real") == "real"
    assert known.label("real", admit=False) == "real"


def test_the_rate_is_that_of_the_last_minute() -> None:
    now = 1000.0
    rate = Rate(now)
    for _ in range(90):
        rate.count(now)
        now += 1
    assert rate.per_minute(now) == 59  # of the present second, none has come yet
    now += 30
    assert rate.per_minute(now) == 29
    rate.count(now - 1)  # noted before the rate was asked for, and counted after it
    rate.count(now)
    assert rate.per_minute(now) == 31
    now += 10_000
    assert rate.per_minute(now) == 0
    rate.count(now)
    assert rate.per_minute(now) == 1
