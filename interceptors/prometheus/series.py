"""Counters and histograms as plain numbers, handed to prometheus_client at scrape time.

Its own counters cost microseconds each, a lock and a method call per label; with twenty of them
per exchange they would be the dearest thing on the event loop.  These are an attribute, and who
moves the same ones again and again looks them up once.  None of them is locked: see
`interceptors.prometheus.metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

Labels: TypeAlias = tuple[str, ...]
"""Label values, in the order of the label names."""


class Sum:
    """One sum of a counter: add to ``value``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Counter:
    """A sum per combination of label values; ``name`` ends in ``_total``."""

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self._family = (name, text, labels)
        self._sums: dict[Labels, Sum] = {} if labels else {(): Sum()}

    def sum(self, labels: Labels = ()) -> Sum:
        """Return the sum of a combination, to be kept by whoever adds to it often."""
        found = self._sums.get(labels)
        if found is None:
            found = self._sums[labels] = Sum()
        return found

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Add to one sum."""
        self.sum(labels).value += amount

    def collect(self) -> Metric:
        """Return the present sums."""
        name, text, labels = self._family
        family = CounterMetricFamily(name, text, labels=labels)
        for values, total in self._sums.items():
            family.add_metric(values, total.value)
        return family


class Example(NamedTuple):
    """What an exemplar points to: ``session_id`` and ``request_id`` may be empty."""

    request_id: str
    session_id: str
    at: float
    """Unix time in seconds."""

    def labels(self) -> dict[str, str]:
        """Return the labels of the exemplar."""
        return {
            name: text for name in ("request_id", "session_id") if (text := getattr(self, name))
        }


class Cell:
    """The counts of a histogram for one combination of label values."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * len(bounds)
        self.exemplars: list[tuple[Example, float] | None] = [None] * len(bounds)
        self.total = 0.0

    def observe(self, value: float, exemplar: Example | None = None) -> None:
        """Count a value, 0 or more; negative ones, of clocks set back, count as 0."""
        if value < 0:
            value = 0.0
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if exemplar is not None:
            self.exemplars[bucket] = exemplar, value


class Histogram:
    """Counts by upper bound per combination of label values, each with its latest exemplar."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self._family = (name, text, labels)
        self._bounds = (*bounds, float("inf"))
        self._texts = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        self._cells: dict[Labels, Cell] = {} if labels else {(): Cell(self._bounds)}

    def cell(self, labels: Labels = ()) -> Cell:
        """Return the counts of a combination, to be kept by whoever observes often."""
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = Cell(self._bounds)
        return found

    def observe(self, value: float, labels: Labels = (), exemplar: Example | None = None) -> None:
        """Count a value under labels; see `Cell.observe`."""
        self.cell(labels).observe(value, exemplar)

    def collect(self) -> Metric:
        """Return the present counts."""
        name, text, labels = self._family
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, cell in self._cells.items():
            family.add_metric(values, list(self._buckets(cell)), cell.total)
        return family

    def _buckets(self, cell: Cell) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
        below = 0
        for text, count, exemplar in zip(self._texts, cell.counts, cell.exemplars, strict=True):
            below += count
            if exemplar is None:
                yield text, below
            else:
                example, value = exemplar
                yield text, below, Exemplar(example.labels(), value, example.at)


def gauge(
    name: str, text: str, values: Mapping[Labels, float], labels: Labels = ()
) -> GaugeMetricFamily:
    """Return a gauge that was read just now."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


class Rate:
    """Events of the last 60 seconds."""

    def __init__(self, now: float) -> None:
        self._counts = [0] * 60
        self._second = int(now)

    def count(self, at: float) -> None:
        """Count one event of about now, in seconds that never go back."""
        second = int(at)
        if second > self._second:
            self._advance(second)
        self._counts[second % 60] += 1

    def per_minute(self, now: float) -> int:
        """Return the events of the last 60 seconds."""
        self._advance(int(now))
        return sum(self._counts)

    def _advance(self, now: int) -> None:
        for second in range(max(self._second + 1, now - 59), now + 1):
            self._counts[second % 60] = 0
        self._second = now


class Known:
    """Lets a limited number of values through as labels; the others become ``other``.

    A label with unlimited values is how a metrics server dies.  The first ``limit`` values win,
    and only if they are short and printable.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: set[str] = set()

    def label(self, value: str, admit: bool = True) -> str:
        """Return ``value`` or ``other``; with ``admit`` off, no new one is let through."""
        if value in self._values:
            return value
        if not admit or not value or len(value) > 64 or not value.isprintable():
            return "other"
        if len(self._values) >= self._limit:
            return "other"
        self._values.add(value)
        return value
