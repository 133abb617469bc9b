"""The delivery queue: finished exchanges go in on the event loop, batches come out on threads.

Every writer has a `Lane` of its own with its own thread, so that one that is slow or failing
delays neither the others nor traffic.  Lanes hold references: an exchange that waits for three
writers is in memory once.  What does not fit is dropped at the entrance, never later, so that
accepted means: will be written, unless the writer itself fails.  Nothing is lost silently: for
each writer, offered = written + dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.lane import Lane, Limits, Writer
from gateway_sessions.telemetry import Telemetry

OVERHEAD_BYTES = 2048
"""What an exchange is taken to occupy besides its bodies: headers, ids, numbers."""

GRACE_SECONDS = 10.0
"""How long a shutdown waits for writers; a disk that hangs must not hang the process."""


class Delivery:
    """Feeds finished exchanges to writers.

    All methods belong to the event loop's thread.  `Written` and `Dropped` events are emitted
    on whatever thread notices, mostly the writers' own; their listeners must stand that.
    """

    def __init__(
        self,
        writers: Sequence[tuple[str, Writer]],
        telemetry: Telemetry,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = limits or Limits()
        share = msgspec.structs.replace(limits, max_bytes=limits.max_bytes // max(1, len(writers)))
        self._lanes = [Lane(name, writer, telemetry, share, monotonic) for name, writer in writers]
        self._open = False

    def open(self) -> None:
        """Start the writers' threads."""
        self._open = bool(self._lanes)
        for lane in self._lanes:
            lane.start()

    def offer(self, exchange: Exchange) -> bool:
        """Hand an exchange to every writer; True if all accepted it.  Never blocks or raises."""
        size = OVERHEAD_BYTES + len(exchange.request.body)
        response = exchange.response
        if response is not None:
            size += len(response.body) + len(response.raw_stream)
        accepted = True
        for lane in self._lanes:
            if not lane.offer(exchange, size):
                accepted = False
        return accepted

    async def flush(self) -> None:
        """Return when everything accepted before the call is written, or given up as failed."""
        if self._open:
            await asyncio.gather(*(asyncio.wrap_future(lane.flush()) for lane in self._lanes))

    async def shutdown(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Write what is left and end the threads; what is not done in time is dropped."""
        if not self._open:
            return
        self._open = False
        for lane in self._lanes:
            lane.stop()
        ends = {asyncio.wrap_future(lane.ended): lane for lane in self._lanes}
        _, late = await asyncio.wait(ends, timeout=grace_seconds)
        for end in late:
            ends[end].abandon()
            end.cancel()

    def problems(self) -> list[str]:
        """Return one sentence for each writer that fails at present."""
        return [f"{lane.name}: {lane.problem}" for lane in self._lanes if lane.problem is not None]

    def queued(self) -> dict[str, int]:
        """Return how many exchanges wait for each writer."""
        return {lane.name: lane.queued for lane in self._lanes}
