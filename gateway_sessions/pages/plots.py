"""The plots of reports and of the dashboard: what figures are as columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from gateway_sessions.pages import amounts
from gateway_sessions.pages.charts import Mark, Plot, Series, stacked
from gateway_sessions.storage.reports import Bin, Report, Slot
from gateway_sessions.storage.results import Latency

_MODEL_COLOURS = (1, 3, 4, 5, 2)
"""Of the models that cost most; the others share one."""
_OTHERS = "others"
_ROOM = 76.0
"""Percent from which on a label stands to the left of its mark."""
_GREY, _RED = 6, 7
"""Colours: of the others, of failures."""


def slot_plots(report: Report) -> tuple[Plot, Plot, Plot]:
    """Return the plots of a report: cost, requests and tokens over time."""
    return plots_over_time(report.slots, [group.key for group in report.models])


def plots_over_time(
    slots: Sequence[Slot], models: Sequence[str], between: tuple[str, str] | None = None
) -> tuple[Plot, Plot, Plot]:
    """Return the plots of cost by model, of requests and of tokens over time.

    Args:
        slots: the models' shares of minutes, hours, days or months.
        models: the first ones get colours of their own; the others share one.
        between: the first and the last time to be shown, where that is more than has traffic.
    """
    times = list(_times([*(slot.at for slot in slots), *(between or ())]))
    labels = [_label(time) for time in times]
    names = [f"{time}:00" if len(time) == 13 else time for time in times]
    top = list(models[: len(_MODEL_COLOURS)])
    kinds = [*top, _OTHERS] if len(models) > len(_MODEL_COLOURS) else top

    def summed(what: Callable[[Slot], float], model: str | None = None) -> tuple[float, ...]:
        sums = dict.fromkeys(times, 0.0)
        for slot in slots:
            if model is None or (slot.model if slot.model in top else _OTHERS) == model:
                sums[slot.at] += what(slot)
        return tuple(sums.values())

    cost = [
        Series(kind, summed(lambda slot: slot.cost_usd or 0.0, kind), colour)
        for kind, colour in zip(kinds, [*_MODEL_COLOURS[: len(top)], _GREY], strict=False)
    ]
    requests = [
        Series("answered", summed(lambda slot: slot.requests - slot.errors), 1),
        Series("failed", summed(lambda slot: slot.errors), _RED),
    ]
    tokens = [
        Series("cached input", summed(lambda slot: slot.cache_read_tokens), 2),
        Series("input", summed(lambda slot: slot.input_tokens - slot.cache_read_tokens), 1),
        Series("output", summed(lambda slot: slot.output_tokens - slot.thinking_tokens), 3),
        Series("thinking", summed(lambda slot: slot.thinking_tokens), 4),
    ]
    return (
        stacked(names, labels, cost, amounts.dollars, tick=amounts.round_dollars),
        stacked(names, labels, requests, _counted, tick=amounts.short),
        stacked(names, labels, tokens, amounts.short),
    )


_FORMS = {
    16: ("%Y-%m-%d %H:%M", timedelta(minutes=1)),
    13: ("%Y-%m-%d %H", timedelta(hours=1)),
    10: ("%Y-%m-%d", timedelta(days=1)),
    7: ("%Y-%m", timedelta(days=32)),
}
"""How a slot's time is written, by its length, and the time to the next one or into it."""


def _times(found: Sequence[str]) -> Iterator[str]:
    """Yield every slot from the first to the last, those without traffic too."""
    if not found:
        return
    first, last = min(found), max(found)
    form, step = _FORMS[len(first)]
    time = datetime.strptime(first, form).replace(tzinfo=UTC)
    while (text := time.strftime(form)) <= last:
        yield text
        time += step
        if len(first) == 7:
            time = time.replace(day=1)


def _label(time: str) -> str:
    """Return a time as the axis shows it."""
    if len(time) == 16:
        return time[11:]
    if len(time) == 13:
        return f"{time[11:]}:00"
    if len(time) == 7:
        return time
    day = datetime.strptime(time, "%Y-%m-%d").replace(tzinfo=UTC)
    return f"{day.day} {day:%b}"


def latency_plot(bins: Sequence[Bin], latency: Latency) -> Plot:
    """Return how many exchanges took how long, percentiles marked."""
    names = [f"{_round(one.low_ms)} to {_round(one.high_ms)}" for one in bins]
    labels = [_round(one.low_ms) for one in bins]
    marks = []
    known = (("p50", latency.p50_ms), ("p95", latency.p95_ms), ("p99", latency.p99_ms))
    for row, (name, value) in enumerate(known):
        if value is not None and bins:
            x = _place(bins, value)
            text = f"{name} {amounts.milliseconds(value)}"
            marks.append(Mark(x=x, label=text, row=row, after=x < _ROOM))
    values = tuple(float(one.count) for one in bins)
    return stacked(
        names,
        labels,
        [Series("requests", values, 1)],
        _counted,
        tick=amounts.short,
        fill=0.94,
        widest=100.0,
        label_place=0.0,
        marks=marks,
    )


def _counted(number: float) -> str:
    return amounts.counted(round(number))


def _round(milliseconds: float) -> str:
    """Return the bound of a bin, which is a round number."""
    if milliseconds < 1000:
        return f"{milliseconds:g} ms" if milliseconds else "0"
    seconds = milliseconds / 1000
    return f"{seconds:g} s" if seconds < 60 else amounts.milliseconds(milliseconds)


def _place(bins: Sequence[Bin], value: float) -> float:
    """Return where a value stands, in percent; within a bin by its logarithm."""
    for number, one in enumerate(bins):
        if value < one.high_ms:
            low = max(one.low_ms, 1e-3)
            inside = math.log(max(value, low) / low) / math.log(one.high_ms / low)
            return 100 * (number + inside) / len(bins)
    return 100.0
