"""The delivery queue: things go in on the event loop, batches come out on threads.

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
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import msgspec

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.lane import STUCK_SECONDS, Lane, Writer
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.prepared import Prepare, Prepared, PreparedLane
from gateway_sessions.telemetry import Telemetry

OVERHEAD_BYTES = 2048
"""What an exchange is taken to occupy besides its bodies: headers, ids, numbers."""

GRACE_SECONDS = 10.0
"""How long a shutdown waits for writers that are slow; a disk that hangs must not hang the
process."""
LOOK_SECONDS = 0.1
"""How often it is looked whether those that are waited for are stuck."""

STUCK = f"it has not come back from a call for {STUCK_SECONDS:g} s or more"

L_ = TypeVar("L_", bound=Lane[Any])


class Lanes(Generic[L_]):
    """Several lanes, opened, flushed and shut down together.

    All methods belong to the event loop's thread.
    """

    def __init__(self, lanes: Sequence[L_]) -> None:
        self._lanes = list(lanes)
        self._open = False

    def open(self) -> None:
        """Start the writers' threads."""
        self._open = bool(self._lanes)
        for lane in self._lanes:
            lane.start()

    async def flush(self) -> None:
        """Return when everything accepted before the call is written, or given up as failed."""
        if self._open:
            await asyncio.gather(*map(asyncio.wrap_future, self.flushes()))

    def flushes(self) -> list[Future[None]]:
        """Begin a flush; return one future per writer that is done when its part is."""
        return [lane.flush() for lane in self._lanes]

    async def shutdown(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Write what is left and end the threads; what is not done in time is dropped.

        A writer that is stuck is not waited for, however early that is found.
        """
        if not self._open:
            return
        self._open = False
        for lane in self._lanes:
            lane.stop()
        ends = {asyncio.wrap_future(lane.ended): lane for lane in self._lanes}
        late = set(ends)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        while late and not all(ends[end].is_stuck for end in late):
            left = deadline - loop.time()
            _, late = await asyncio.wait(late, timeout=max(0.0, min(left, LOOK_SECONDS)))
            if left <= 0:
                break
        for end in late:
            ends[end].abandon()
            end.cancel()

    def problems(self) -> list[str]:
        """Return one sentence for each writer that fails at present."""
        return [f"{name}: {problem}" for name, problem in self.failing().items()]

    def failing(self) -> dict[str, str]:
        """Return why, by name, for each writer that fails at present."""
        found = {lane.name: STUCK for lane in self._lanes if lane.is_stuck}
        return found | {lane.name: lane.problem for lane in self._lanes if lane.problem is not None}

    def crowded(self) -> bool:
        """Tell whether a writer is behind by more than half of what may wait for it."""
        # A list, since this is asked for each item: a generator would take twice as long.
        return True in [lane.crowded for lane in self._lanes]

    def stands_still(self) -> bool:
        """Tell whether all writers are so far behind, and none of them because it fails.

        One that fails drops what it can not write in the end, and sooner if somebody flushes.
        """
        return all(lane.crowded and lane.problem is None for lane in self._lanes)

    def caught_up(self) -> bool:
        """Tell whether no more waits for any writer than its next batch takes.

        Not where what it is writing fills half of its room: it may be trying that again and again.
        """
        return not any(lane.behind or lane.crowded for lane in self._lanes)

    def places(self) -> tuple[int, ...]:
        """Return how far each writer has to come to have all that was accepted so far."""
        return tuple(lane.place for lane in self._lanes)

    def have_passed(self, places: Sequence[int]) -> bool:
        """Tell whether all writers have come as far as `places` once said."""
        return all(lane.has_passed(place) for lane, place in zip(self._lanes, places, strict=True))

    def queued(self) -> dict[str, int]:
        """Return how many items wait for each writer."""
        return {lane.name: lane.queued for lane in self._lanes}


def shared(limits: Limits, writers: int) -> Limits:
    """Return what each of several writers may let wait."""
    return msgspec.structs.replace(limits, max_bytes=limits.max_bytes // max(1, writers))


class Delivery(Lanes[Lane[Any]]):
    """Feeds finished exchanges to writers.

    ``prepare`` makes of each exchange what writers get, on the thread of the first of them that
    comes to it; where it gives None, the exchange is dropped.  `Written` and `Dropped` events are
    emitted on whatever thread notices, mostly the writers' own; their listeners must stand that.
    """

    def __init__(
        self,
        writers: Sequence[tuple[str, Writer[Exchange]]],
        telemetry: Telemetry,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        prepare: Prepare | None = None,
    ) -> None:
        share = shared(limits or Limits(), len(writers))
        lane: type[Lane[Any]] = Lane if prepare is None else PreparedLane
        super().__init__(
            [lane(name, writer, telemetry, share, monotonic) for name, writer in writers]
        )
        self._prepare = prepare

    def offer(self, exchange: Exchange) -> bool:
        """Hand an exchange to every writer; True if all accepted it.  Never blocks or raises."""
        size = OVERHEAD_BYTES + len(exchange.request.body)
        response = exchange.response
        if response is not None:
            size += len(response.body) + len(response.raw_stream)
        item = exchange if self._prepare is None else Prepared(exchange, self._prepare)
        accepted = True
        for lane in self._lanes:
            if not lane.offer(item, size):
                accepted = False
        return accepted
