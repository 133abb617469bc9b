"""The geometry of plots: where bars, ticks and labels go.

Widths are percent of the plot and heights pixels, so that a plot fills a phone or a page and its
labels stay as large as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEIGHT = 190.0
"""Pixels of a plot without its labels."""
_ROW, _ABOVE = 17.0, 10.0
"""Pixels of a mark's label, and of half a line above the highest tick."""
_FILL = 0.72
"""Share of a column's place that it takes up."""
_WIDEST = 6.0
"""Percent of the plot that a column is wide at most: a single one is no wall."""
_NOTHING = 1e-9
"""Less than anything that is plotted: a billionth of a dollar."""
_LABELS = 8
"""Labels below a plot, at most."""
_TICKS = 5
"""Steps of the vertical axis, about."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one kind, one for each column."""

    name: str
    values: tuple[float, ...]
    colour: int
    """Number of the colour in the style sheet."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a column."""

    y: float
    height: float
    colour: int


@dataclass(frozen=True, slots=True)
class Column:
    """Parts on top of each other, and what is said when somebody points at them."""

    place: float
    """Left end of its place, gaps included."""
    x: float
    width: float
    segments: tuple[Segment, ...]
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place of an axis."""

    at: float
    label: str
    minor: bool = False
    """Left out where there is little room."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a label."""

    x: float
    label: str
    row: int
    """Of its label above the plot, from 0; each mark has its own."""
    after: bool
    """Whether the label stands to the right of the line."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of columns."""

    height: float
    step: float
    """Width of a column's place."""
    columns: tuple[Column, ...]
    y_ticks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, int], ...]
    """Names with their colours; empty for a single series."""
    marks: tuple[Mark, ...] = ()

    @property
    def top(self) -> float:
        """Pixels above the plot that labels take."""
        return _ROW * len(self.marks) + _ABOVE


def stacked(
    names: Sequence[str],
    labels: Sequence[str],
    series: Sequence[Series],
    unit: Callable[[float], str],
    *,
    tick: Callable[[float], str] | None = None,
    fill: float = _FILL,
    widest: float = _WIDEST,
    label_place: float = 0.5,
    marks: Sequence[Mark] = (),
) -> Plot:
    """Return columns of stacked values.

    Args:
        names: of the columns, in full, for those who point at them.
        labels: of the columns, short, for the axis.
        series: from the bottom up.
        unit: writes a value.
        tick: writes a value on the axis, as ``unit`` where there is none.
        fill: share of its place that a column takes up.
        widest: percent of the plot that a column is wide at most.
        label_place: where below its column a label stands, 0 to 1.
        marks: lines across the plot.
    """
    tops = [sum(column) for column in zip(*(one.values for one in series), strict=True)]
    ticks = _nice(max(tops, default=0.0))
    scale = HEIGHT / ticks[-1]
    step = 100 / max(len(names), 1)
    width = min(step * fill, widest)
    columns = tuple(
        Column(
            place=step * number,
            x=step * (number + 0.5) - width / 2,
            width=width,
            segments=_segments(series, number, scale),
            title=_title(name, series, number, unit),
        )
        for number, name in enumerate(names)
    )
    return Plot(
        height=HEIGHT,
        step=step,
        columns=columns,
        y_ticks=tuple(Tick(HEIGHT - value * scale, (tick or unit)(value)) for value in ticks),
        x_ticks=_spaced(labels, step, label_place),
        legend=tuple((one.name, one.colour) for one in series) if len(series) > 1 else (),
        marks=tuple(marks),
    )


def _segments(series: Sequence[Series], column: int, scale: float) -> tuple[Segment, ...]:
    segments = []
    top = HEIGHT
    for one in series:
        height = one.values[column] * scale
        if height > 0:
            top -= height
            segments.append(Segment(top, height, one.colour))
    return tuple(segments)


def _title(name: str, series: Sequence[Series], column: int, unit: Callable[[float], str]) -> str:
    values = [(one.name, one.values[column]) for one in series]
    total = sum(value for _, value in values)
    if len(values) == 1:
        return f"{name}: {unit(total)}"
    parts = [f"{label}: {unit(value)}" for label, value in reversed(values) if value]
    return "\n".join([f"{name}: {unit(total)}", *parts])


def _nice(top: float) -> list[float]:
    """Return round values from 0 to at least ``top``."""
    if top < _NOTHING:
        return [0.0, 1.0]
    rough = top / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def _spaced(labels: Sequence[str], step: float, place: float) -> tuple[Tick, ...]:
    every = max(1, math.ceil(len(labels) / _LABELS))
    return tuple(
        Tick(step * (number + place), label, minor=number // every % 2 == 1)
        for number, label in enumerate(labels)
        if number % every == 0
    )
