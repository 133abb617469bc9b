"""Time of one detection, beside the time that ``orjson.loads`` takes for the same body.

A detection is everything from the request's bytes to the committed verdict: parsing, hashing,
rules, index.  The request is one new turn on a history that is known; at two messages (system
and user) it is the first of its session.  Each body is timed once, as in life, and right
before or after `orjson.loads` of it, so that both see the same machine.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from bench import report
from bench.bodies import conversation, encode, plain_reply
from bench.core import Core

MESSAGES = (2, 10, 50, 200)
LIVE = (100, 10_000, 1_000_000)
SAMPLES = 400
BUDGET = "10 µs + 1.5 × orjson.loads"


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    live_counts, samples = (LIVE[:2], 100) if quick else (LIVE, SAMPLES)
    core = Core(live_counts[-1] + 2 * samples * len(MESSAGES) * len(live_counts))
    seeds = itertools.count()
    rows = []
    for live in live_counts:
        populate(core, live)
        for messages in MESSAGES:
            ours, theirs = measured(core, messages, samples, seeds)
            rows.append([f"{messages}", f"{live:,}", *_figures(ours, theirs)])
    heads = ["messages", "live sessions", "detection µs", "(best)", "orjson µs", "(best)"]
    heads += [f"{BUDGET} µs", "used of it"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


def _figures(ours: Sequence[float], theirs: Sequence[float]) -> list[str]:
    mine, other = statistics.median(ours), statistics.median(theirs)
    budget = 10 + 1.5 * other
    figures = [mine, min(ours), other, min(theirs), budget]
    return [*(f"{figure:.1f}" for figure in figures), f"{mine / budget:.2f}"]


def populate(core: Core, live: int) -> None:
    """Open sessions of one exchange until that many are live."""
    reply = core.dialect.read_reply(plain_reply())
    for number in range(core.live, live):
        body = b'{"model":"m","messages":[{"role":"user","content":"question %d"}]}' % number
        core.exchange(body, reply)


def measured(
    core: Core, messages: int, samples: int, seeds: Iterator[int]
) -> tuple[list[float], list[float]]:
    """Return the times of detection and of `orjson.loads`, in microseconds."""
    bodies = [_next_turn(core, conversation(messages, next(seeds))) for _ in range(samples)]
    ours: list[float] = []
    theirs: list[float] = []
    gc.collect()
    gc.disable()  # a collection in the midst of one of the two would be charged to it
    for number, body in enumerate(bodies):
        if number % 2:
            ours.append(_timed(core.request, body))
            theirs.append(_timed(orjson.loads, body))
        else:
            theirs.append(_timed(orjson.loads, body))
            ours.append(_timed(core.request, body))
    gc.enable()
    return ours, theirs


def _next_turn(core: Core, request: dict[str, Any]) -> bytes:
    """Hold the exchange before the last turn, where there was one; return the last turn's body."""
    *history, answer, _ = request["messages"]
    if answer["role"] == "assistant":
        reply = core.dialect.read_reply(plain_reply(answer["content"]))
        core.exchange(encode(request | {"messages": history}), reply)
    return encode(request)


def _timed(step: Callable[[bytes], object], body: bytes) -> float:
    began = time.perf_counter_ns()
    step(body)
    return (time.perf_counter_ns() - began) / 1000
