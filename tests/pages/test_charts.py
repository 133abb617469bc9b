"""The geometry of plots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.pages.charts import HEIGHT, Mark, Series, stacked


def test_parts_stand_on_top_of_each_other() -> None:
    plot = stacked(
        ["Monday", "Tuesday"],
        ["Mo", "Tu"],
        [Series("a", (10.0, 0.0), 1), Series("b", (30.0, 20.0), 2)],
        lambda value: f"{value:g}",
    )
    first, second = plot.columns
    assert [tick.label for tick in plot.y_ticks] == ["0", "10", "20", "30", "40"]
    assert [(part.y, part.height, part.colour) for part in first.segments] == [
        (HEIGHT * 0.75, HEIGHT * 0.25, 1),
        (0.0, HEIGHT * 0.75, 2),
    ]
    assert [part.colour for part in second.segments] == [2]
    assert first.title == "Monday: 40\nb: 30\na: 10"
    assert second.title == "Tuesday: 20\nb: 20"
    assert plot.legend == (("a", 1), ("b", 2))
    assert [tick.at for tick in plot.x_ticks] == [25.0, 75.0]


def test_a_single_series_needs_no_legend() -> None:
    plot = stacked(["x"], ["x"], [Series("only", (3.0,), 1)], str)
    assert plot.legend == ()
    assert plot.columns[0].title == "x: 3.0"


def test_labels_are_as_many_as_can_be_read() -> None:
    names = [str(number) for number in range(90)]
    plot = stacked(names, names, [Series("a", (1.0,) * 90, 1)], str)
    assert len(plot.x_ticks) <= 8
    assert [tick.minor for tick in plot.x_ticks[:4]] == [False, True, False, True]


def test_labels_of_an_axis_may_be_shorter_than_those_of_values() -> None:
    plot = stacked(["x"], ["x"], [Series("a", (4.0,), 1)], "{:.2f}".format, tick="{:g}".format)
    assert plot.y_ticks[-1].label == "4"
    assert plot.columns[0].title == "x: 4.00"


def test_marks_take_room_above_the_plot() -> None:
    series = [Series("a", (1.0,), 1)]
    marks = [Mark(x=1.0, label="p50", row=row, after=True) for row in range(3)]
    assert stacked(["x"], ["x"], series, str, marks=marks).top == 61.0
    assert stacked(["x"], ["x"], series, str).top == 10.0


def test_nothing_is_an_empty_plot() -> None:
    plot = stacked([], [], [], str)
    assert (plot.columns, plot.x_ticks) == ((), ())
    assert len(plot.y_ticks) == 2


@given(st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=20))
def test_columns_never_leave_the_plot(values: list[float]) -> None:
    names = [str(number) for number in range(len(values))]
    plot = stacked(names, names, [Series("a", tuple(values), 1)], str)
    for column in plot.columns:
        assert 0 <= column.x <= column.x + column.width <= 100.0001
        for part in column.segments:
            assert part.y >= -1e-6
            assert part.y + part.height <= HEIGHT + 1e-6
    assert 2 <= len(plot.y_ticks) <= 8


@pytest.mark.parametrize("top", [0.003, 1.0, 4.4, 99.0, 123_456.0])
def test_axes_have_round_values_that_reach_the_top(top: float) -> None:
    plot = stacked(["x"], ["x"], [Series("a", (top,), 1)], repr)
    values = [float(tick.label) for tick in plot.y_ticks]
    assert values[-1] >= top > values[-2]
    assert float(f"{values[1]:.1e}") == pytest.approx(values[1])
