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


def rebased(newest: Run, whole: Run) -> Run:
    """Return a chain with all that ``whole`` has, but with the states of the ``newest`` runs.

    They may differ where a history is so long that it is not read to its beginning: then the states
    that it was known by when it was shorter are those that count.
    """
    if newest.state == whole.state:
        return whole  # The usual case.
    runs = []
    while newest.before is not None and whole.before is not None:
        runs.append(newest)
        newest, whole = newest.before, whole.before
    chain = msgspec.structs.replace(whole, state=newest.state)
    for run in reversed(runs):
        chain = msgspec.structs.replace(run, before=chain)
    return chain


def runs_backwards(tail: Run | None) -> Iterator[Run]:
    """Yield the runs of a complete chain, newest first.

    Of a long history the oldest is what came before `RUNS_KEPT` others, summed up.
    """
    while tail is not None:
        yield tail
        tail = tail.before
