"""Sums and groups of recorded sessions."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.storage.filters import MAX_PAGE_SIZE, SessionFilter
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.reports import TOP, Reports, bins, percentile
from gateway_sessions.storage.results import Latency
from tests.storage.recorded import NOW, START, Talk, empty, record

TALKS = (
    Talk("sess_1")
    .ask("first", cost_usd=0.01, provider_latency_ms=100.0, thinking_tokens=20)
    .call("read_file", "call_1", execution_time_ms=10.0)
    .call("read_file", "call_2", execution_time_ms=30.0, success=0)
    .ask("second", cost_usd=0.02, provider_latency_ms=300.0, cache_read_tokens=80),
    Talk("sess_2", started=START + timedelta(days=1), provider="anthropic").ask(
        "third", model_name="claude-haiku-4-5", cost_usd=0.3, provider_latency_ms=700.0
    ),
    Talk("sess_3", started=START + timedelta(days=1))
    .ask("fourth", model_name="in-house", cost_usd=None, provider_latency_ms=50.0)
    .call("grep", "call_3", execution_time_ms=None, output_size_bytes=None, success=None),
    Talk("sess_4", started=START + timedelta(days=2)).ask(
        "fifth",
        None,
        model_name=None,
        success=0,
        status=None,
        finish_reason=None,
        input_tokens=None,
        output_tokens=None,
        cost_usd=None,
        provider_latency_ms=None,
    ),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("reports") / "sessions.db", TALKS)


@pytest.fixture
def reports(database: Path) -> Iterator[Reports]:
    with reading(database) as connection:
        yield Reports(connection)


def test_sums_over_everything(reports: Reports) -> None:
    sums = reports.sums(SessionFilter())
    assert (sums.sessions, sums.requests, sums.errors) == (4, 5, 1)
    assert (sums.input_tokens, sums.output_tokens, sums.total_tokens) == (400, 200, 600)
    assert (sums.thinking_tokens, sums.cache_read_tokens) == (20, 80)
    assert sums.cost_usd == pytest.approx(0.33)
    assert sums.unpriced_requests == 1
    assert sums.latency == Latency(p50_ms=100.0, p95_ms=700.0, p99_ms=700.0)


def test_sums_over_what_a_filter_finds(reports: Reports) -> None:
    sums = reports.sums(SessionFilter(providers=("anthropic",)))
    assert (sums.sessions, sums.requests, sums.cost_usd) == (1, 1, 0.3)
    assert reports.sums(SessionFilter(text="second")).requests == 2


def test_sums_over_nothing_know_no_cost(reports: Reports) -> None:
    sums = reports.sums(SessionFilter(session_ids=("sess_x",)))
    assert (sums.sessions, sums.requests, sums.total_tokens, sums.cost_usd) == (0, 0, 0, None)
    assert sums.latency == Latency(p50_ms=None, p95_ms=None, p99_ms=None)


def test_models_come_with_the_most_expensive_first(reports: Reports) -> None:
    groups = reports.groups("model", SessionFilter())
    assert [(group.key, group.sums.requests, group.sums.errors) for group in groups] == [
        ("claude-haiku-4-5", 1, 0),
        ("gpt-5-mini", 3, 1),
        ("in-house", 1, 0),
    ]
    assert groups[1].sums.cost_usd == pytest.approx(0.03)
    assert groups[2].sums.cost_usd is None
    assert groups[1].sums.latency == Latency(p50_ms=100.0, p95_ms=300.0, p99_ms=300.0)


def test_providers(reports: Reports) -> None:
    groups = reports.groups("provider", SessionFilter())
    assert [(group.key, group.sums.sessions) for group in groups] == [
        ("anthropic", 1),
        ("openai", 3),
    ]


def test_days_are_in_their_order(reports: Reports) -> None:
    groups = reports.groups("day", SessionFilter())
    assert [(group.key, group.sums.requests) for group in groups] == [
        ("2026-01-01", 2),
        ("2026-01-02", 2),
        ("2026-01-03", 1),
    ]


def test_sessions_have_a_label_and_are_limited(reports: Reports) -> None:
    groups = reports.groups("session", SessionFilter(), limit=2)
    assert [(group.key, group.label) for group in groups] == [
        ("sess_2", "third"),
        ("sess_1", "first"),
    ]
    assert groups[1].sums.latency.p95_ms == 300.0


def test_sessions_are_never_all_of_them(tmp_path: Path) -> None:
    talks = (Talk(f"sess_{number:04}").ask() for number in range(MAX_PAGE_SIZE + 1))
    with reading(record(tmp_path / "sessions.db", talks)) as connection:
        reports = Reports(connection)
        assert len(reports.groups("session", SessionFilter())) == TOP
        assert len(reports.groups("session", SessionFilter(), limit=10**6)) == MAX_PAGE_SIZE


def test_tools(reports: Reports) -> None:
    read, grep = reports.tools(SessionFilter())
    assert (read.key, read.calls, read.sessions, read.answered, read.errors) == (
        "read_file",
        2,
        1,
        2,
        1,
    )
    assert (read.avg_execution_time_ms, read.p95_execution_time_ms) == (20.0, 30.0)
    assert (read.input_size_bytes, read.output_size_bytes) == (32, 240)
    assert (grep.calls, grep.answered, grep.errors) == (1, 0, 0)
    assert (grep.avg_execution_time_ms, grep.p95_execution_time_ms) == (None, None)


def test_a_report_has_it_all(reports: Reports) -> None:
    report = reports.report(SessionFilter(), NOW, top=2)
    assert report.generated_at == "2026-01-31T12:00:00.000000Z"
    assert report.first_at == "2026-01-01T08:00:00.000000Z"
    assert report.last_at == "2026-01-03T08:00:00.000000Z"
    assert report.total == reports.sums(SessionFilter())
    assert report.models == reports.groups("model", SessionFilter())
    assert len(report.sessions) == 2
    assert sum(one.count for one in report.latencies) == 4
    assert report.slot == "hour"
    assert [(slot.at, slot.model, slot.requests) for slot in report.slots] == [
        ("2026-01-01 08", "gpt-5-mini", 2),
        ("2026-01-02 08", "claude-haiku-4-5", 1),
        ("2026-01-02 08", "in-house", 1),
        ("2026-01-03 08", "gpt-5-mini", 1),
    ]
    assert sum(slot.cost_usd or 0 for slot in report.slots) == pytest.approx(0.33)


@pytest.mark.parametrize(("days", "slot"), [(1, "hour"), (30, "day"), (92, "day"), (100, "month")])
def test_slots_grow_with_the_time(tmp_path: Path, days: int, slot: str) -> None:
    talks = (Talk("sess_1").ask(), Talk("sess_2", started=START + timedelta(days=days)).ask())
    with reading(record(tmp_path / "sessions.db", talks)) as connection:
        report = Reports(connection).report(SessionFilter(), NOW)
    assert report.slot == slot
    assert len({len(slot.at) for slot in report.slots}) == 1


def test_a_report_on_nothing(tmp_path: Path) -> None:
    with closing(empty(tmp_path / "sessions.db")) as connection:
        report = Reports(connection).report(SessionFilter(), NOW)
    assert (report.first_at, report.last_at, report.total.requests) == (None, None, 0)
    assert (report.days, report.models, report.tools, report.slots) == ((), (), (), ())
    assert report.latencies == ()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], (None, None, None)),
        ([7.0], (7.0, 7.0, 7.0)),
        ([1.0, 2.0], (1.0, 2.0, 2.0)),
        ([float(number) for number in range(1, 101)], (50.0, 95.0, 99.0)),
    ],
)
def test_percentiles_are_by_nearest_rank(
    values: list[float], wanted: tuple[float | None, ...]
) -> None:
    assert tuple(percentile(values, percent) for percent in (50, 95, 99)) == wanted


@given(st.lists(st.floats(min_value=0, max_value=1e9)))
def test_every_time_lies_in_one_bin(times: list[float]) -> None:
    made = bins(sorted(times))
    assert sum(one.count for one in made) == len(times)
    for one in made:
        assert one.count == sum(one.low_ms <= time < one.high_ms for time in times)
    assert all(a.high_ms == b.low_ms for a, b in itertools.pairwise(made))


def test_the_same_question_needs_no_second_connection(database: Path) -> None:
    with reading(database) as connection:
        assert isinstance(connection, sqlite3.Connection)
        reports = Reports(connection)
        assert reports.sums(SessionFilter(text="fifth")) == reports.sums(
            SessionFilter(session_ids=("sess_4",))
        )
