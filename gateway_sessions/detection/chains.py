"""Chains: what was said, run after run, each with the state after it.

The state after run *i* is ``h_i = xxh3_64(links_i, seed=h_{i-1} ^ side)``, starting from the
scope's secret seed, so a state stands for everything said so far, and means nothing in another
scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from xxhash import xxh3_64_intdigest

from gateway_sessions.detection.runs import Said

MODEL_SIDE = 0x9E3779B97F4A7C15
"""Told apart from the client's side by this constant in the seed (2^64 / golden ratio)."""

AS_SENT = 0xC2B2AE3D27D4EB4F
"""Mixed into the seed for messages that were not read (a prime of xxHash)."""

RUNS_KEPT = 1024
"""Runs of a long history that can be looked at one by one, the newest; rules ask for 512."""
PRECISE = 2048
"""Messages of a history that nobody has seen before, from the newest, that are read: five
milliseconds' work if they run tools.  What is older counts as sent, byte for byte.  No real
history comes to us for the first time with so many; if one does, and is then written otherwise,
it is still known by its replies."""
PRECISE_STEP = 256
"""Messages by which that bound is moved at a time."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """One side's turn to speak: the client's prompt or one answer."""

    before: Run | None
    model_side: bool
    links: bytes
    weight: int
    """Bytes of canonical text."""
    call_ids: tuple[str, ...]
    state: int
    """The state after it."""


def next_state(state: int, model_side: bool, links: bytes) -> int:
    """Return the state after one more run."""
    return xxh3_64_intdigest(links, state ^ MODEL_SIDE if model_side else state)


def chained(said: Iterable[Said], before: Run | None, seed: int) -> Run | None:
    """Append runs to a chain; return its last run."""
    last = before
    state = before.state if before else seed
    for model_side, links, weight, call_ids in said:
        state = next_state(state, model_side, links)
        last = Run(last, model_side, links, weight, call_ids, state)
    return last


def apart(
    raws: Sequence[msgspec.Raw], most: int
) -> tuple[Sequence[msgspec.Raw], Sequence[msgspec.Raw]]:
    """Return the oldest messages, which are too many to be read, and the others.

    The place of the cut stays the same while a history grows by up to `PRECISE_STEP` messages.
    """
    steps = max(0, len(raws) - max(0, most)) // PRECISE_STEP
    return raws[: steps * PRECISE_STEP], raws[steps * PRECISE_STEP :]


def as_sent(raws: Sequence[msgspec.Raw], seed: int, said: Sequence[Said]) -> Run:
    """Return one run in the place of messages that count as they were sent, byte for byte."""
    sent = b"".join(raws)
    model_side = bool(said) and not said[0][0]
    return Run(None, model_side, b"", len(sent), (), xxh3_64_intdigest(sent, seed ^ AS_SENT))


def summed_up(said: Sequence[Said], before: Run | None, seed: int) -> Run | None:
    """Return one run in the place of many."""
    if not said:
        return before
    state, weight = (before.state, before.weight) if before else (seed, 0)
    for model_side, links, more, _ in said:
        # As `next_state`, without the price of thousands of calls.
        state = xxh3_64_intdigest(links, state ^ MODEL_SIDE if model_side else state)
        weight += more
    return Run(None, said[-1][0], b"", weight, (), state)


def runs_backwards(tail: Run | None) -> Iterator[Run]:
    """Yield the runs of a complete chain, newest first.

    Of a long history the oldest is what came before `RUNS_KEPT` others, summed up.
    """
    while tail is not None:
        yield tail
        tail = tail.before
