"""A log a little out of the order of time, put right in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import count

from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange

AHEAD = 20_000
"""Exchanges that are read ahead: programs write a row when its exchange is over, so rows are
out of order by what goes on at the same time."""
AHEAD_BYTES = 64 * 1024 * 1024
"""Bytes of their bodies: what 20,000 small exchanges have."""


def in_order(
    exchanges: Iterable[LoggedExchange],
    name: str,
    *,
    ahead: int = AHEAD,
    ahead_bytes: int = AHEAD_BYTES,
) -> Iterator[LoggedExchange]:
    """Yield exchanges in the order of their time.

    Raises:
        UnreadableLog: one comes so late that later ones have been yielded already.
    """
    number, held = count(), 0
    heap: list[tuple[datetime, int, LoggedExchange]] = []
    newest: datetime | None = None
    for exchange in exchanges:
        if newest is not None and exchange.timestamp < newest:
            raise UnreadableLog(
                f"{name} is not in the order of time: what happened at {_shown(exchange.timestamp)}"
                f" comes long after what happened at {_shown(newest)}; sort it by its time of"
                " start."
            )
        heapq.heappush(heap, (exchange.timestamp, next(number), exchange))
        held += _size(exchange)
        while len(heap) > ahead or (held > ahead_bytes and len(heap) > 1):
            newest, _, first = heapq.heappop(heap)
            held -= _size(first)
            yield first
    while heap:
        yield heapq.heappop(heap)[2]


def _size(exchange: LoggedExchange) -> int:
    answered = memoryview(exchange.response.body).nbytes if exchange.response else 0
    return memoryview(exchange.request.body).nbytes + answered


def _shown(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")
