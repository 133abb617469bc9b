"""Counters and histograms as plain numbers, handed to prometheus_client at scrape time.

Its own counters cost microseconds each, a lock and a method call per label; with twenty of them
per exchange they would be the dearest thing on the event loop.  These are a dictionary entry.
None of them is locked: see `interceptors.prometheus.metrics`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

Labels: TypeAlias = tuple[str, ...]
"""Label values, in the order of the label names."""


class Counter:
    """A sum per combination of label values; ``name`` ends in ``_total``."""

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self._family = (name, text, labels)
        self._sums: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Add to one sum."""
        self._sums[labels] = self._sums.get(labels, 0) + amount

    def collect(self) -> Metric:
        """Return the present sums."""
        name, text, labels = self._family
        family = CounterMetricFamily(name, text, labels=labels)
        for values, total in self._sums.items():
            family.add_metric(values, total)
        return family


class _Cell:
    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.exemplars: list[tuple[Mapping[str, str], float, float] | None] = [None] * size
        self.total = 0.0


class Histogram:
    """Counts by upper bound per combination of label values, each with its latest exemplar."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self._family = (name, text, labels)
        self._bounds = (*bounds, float("inf"))
        self._texts = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        self._cells: dict[Labels, _Cell] = {} if labels else {(): _Cell(len(self._bounds))}

    def observe(
        self,
        value: float,
        labels: Labels = (),
        exemplar: Mapping[str, str] | None = None,
        at: float | None = None,
    ) -> None:
        """Count a value, 0 or more; negative ones, of clocks set back, count as 0.

        ``at`` is the time of the exemplar in unix seconds, by default now.
        """
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = _Cell(len(self._bounds))
        value = max(value, 0.0)
        bucket = bisect_left(self._bounds, value)
        cell.counts[bucket] += 1
        cell.total += value
        if exemplar is not None:
            cell.exemplars[bucket] = (exemplar, value, time.time() if at is None else at)

    def collect(self) -> Metric:
        """Return the present counts."""
        name, text, labels = self._family
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, cell in self._cells.items():
            family.add_metric(values, list(self._buckets(cell)), cell.total)
        return family

    def _buckets(self, cell: _Cell) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
        below = 0
        for text, count, exemplar in zip(self._texts, cell.counts, cell.exemplars, strict=True):
            below += count
            if exemplar is None:
                yield text, below
            else:
                labels, value, at = exemplar
                yield text, below, Exemplar(dict(labels), value, at)


def gauge(
    name: str, text: str, values: Mapping[Labels, float], labels: Labels = ()
) -> GaugeMetricFamily:
    """Return a gauge that was read just now."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


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
