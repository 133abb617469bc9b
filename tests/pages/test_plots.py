"""What of a report becomes which column."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gateway_sessions.pages.charts import HEIGHT
from gateway_sessions.pages.plots import latency_plot, plots_over_time, slot_plots
from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.reports import Report, Reports, Slot
from tests.storage.recorded import NOW, START, Talk, record


def report(folder: Path, *talks: Talk) -> Report:
    with reading(record(folder / "sessions.db", talks)) as connection:
        return Reports(connection).report(SessionFilter(), NOW)


def test_times_without_traffic_have_a_column_too(tmp_path: Path) -> None:
    made = report(
        tmp_path,
        Talk("sess_1").ask(cost_usd=1.0),
        Talk("sess_2", started=START + timedelta(days=3)).ask(cost_usd=2.0, success=0),
    )
    cost, requests, tokens = slot_plots(made)
    assert [column.title.partition("\n")[0] for column in cost.columns] == [
        "2026-01-01: $1.00",
        "2026-01-02: $0.00",
        "2026-01-03: $0.00",
        "2026-01-04: $2.00",
    ]
    assert [tick.label for tick in cost.x_ticks] == ["1 Jan", "2 Jan", "3 Jan", "4 Jan"]
    assert [column.title for column in requests.columns][::3] == [
        "2026-01-01: 1\nanswered: 1",
        "2026-01-04: 1\nfailed: 1",
    ]
    assert tokens.columns[0].title == "2026-01-01: 150\noutput: 50\ninput: 100"


@pytest.mark.parametrize(
    ("later", "columns", "first", "label"),
    [
        (timedelta(hours=2), 3, "2026-01-01 08:00", "08:00"),
        (timedelta(days=120), 5, "2026-01", "2026-01"),
    ],
)
def test_hours_and_months(
    tmp_path: Path, later: timedelta, columns: int, first: str, label: str
) -> None:
    made = report(tmp_path, Talk("sess_1").ask(), Talk("sess_2", started=START + later).ask())
    _, requests, _ = slot_plots(made)
    assert len(requests.columns) == columns
    assert requests.columns[0].title.startswith(f"{first}: 1")
    assert requests.x_ticks[0].label == label


def test_cheaper_models_share_a_colour(tmp_path: Path) -> None:
    talks = [
        Talk(f"sess_{number}").ask(model_name=f"model-{number}", cost_usd=8.0 - number)
        for number in range(7)
    ]
    cost, _, _ = slot_plots(report(tmp_path, *talks))
    assert [name for name, _ in cost.legend] == [*(f"model-{n}" for n in range(5)), "others"]
    assert len({colour for _, colour in cost.legend}) == 6
    assert "others: $5.00" in cost.columns[0].title


def test_parts_of_tokens_are_counted_once(tmp_path: Path) -> None:
    talk = Talk("sess_1").ask(cache_read_tokens=80, thinking_tokens=20)
    _, _, tokens = slot_plots(report(tmp_path, talk))
    assert tokens.columns[0].title.split("\n") == [
        "2026-01-01 08:00: 150",
        "thinking: 20",
        "output: 30",
        "input: 20",
        "cached input: 80",
    ]


def test_percentiles_are_marked_where_they_lie(tmp_path: Path) -> None:
    talk = Talk("sess_1")
    for number in range(1, 101):
        talk.ask(provider_latency_ms=number * 10.0)
    made = report(tmp_path, talk)
    plot = latency_plot(made.latencies, made.total.latency)
    assert [mark.label for mark in plot.marks] == ["p50 500 ms", "p95 950 ms", "p99 990 ms"]
    assert [mark.row for mark in plot.marks] == [0, 1, 2]
    places = [mark.x for mark in plot.marks]
    assert places == sorted(places)
    assert 0 < places[0] < places[2] < 100
    assert plot.columns[0].title == "10 ms to 15 ms: 1"
    assert plot.x_ticks[0].label == "10 ms"
    assert all(
        part.y + part.height == HEIGHT for column in plot.columns for part in column.segments
    )


def test_without_times_there_is_nothing_to_mark(tmp_path: Path) -> None:
    made = report(tmp_path, Talk("sess_1").ask(provider_latency_ms=None))
    plot = latency_plot(made.latencies, made.total.latency)
    assert (plot.columns, plot.marks) == ((), ())


def test_a_time_that_is_asked_for_is_shown_though_it_had_no_traffic() -> None:
    slot = Slot(
        at="2026-01-31 09:59",
        model="m",
        requests=2,
        errors=0,
        input_tokens=1,
        cache_read_tokens=0,
        output_tokens=1,
        thinking_tokens=0,
        cost_usd=None,
    )
    _, requests, _ = plots_over_time([slot], ["m"], ("2026-01-31 09:58", "2026-01-31 10:01"))
    assert [column.title.partition("\n")[0] for column in requests.columns] == [
        "2026-01-31 09:58: 0",
        "2026-01-31 09:59: 2",
        "2026-01-31 10:00: 0",
        "2026-01-31 10:01: 0",
    ]
    assert requests.x_ticks[0].label == "09:58"
    empty = plots_over_time([], [], ("2026-01-30", "2026-01-31"))
    assert [len(plot.columns) for plot in empty] == [2, 2, 2]
