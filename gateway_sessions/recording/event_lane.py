"""A lane for what belongs to sessions: it drops by class, and says where something is missing.

When there is no room, pieces of streams go first, then what is neither piece nor end, the ends
last; the newest of a class before older ones, so that what was begun is kept whole.  A `Gap`
event stands where the first of the missing events of a session would have stood.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from gateway_sessions.events import Gap, SessionEvent
from gateway_sessions.recording.lane import Lane, Limits, Writer
from gateway_sessions.recording.quiet import summary
from gateway_sessions.recording.recordable import (
    Recordable,
    class_of,
    kind_of,
    timestamp_of,
)
from gateway_sessions.telemetry import Telemetry, Written

logger = logging.getLogger(__name__)

R_ = TypeVar("R_", bound=Recordable)

TICK_SECONDS = 60.0
"""How often a writer may look after what it has written."""

SESSIONS_WITH_GAPS = 10_000
"""Sessions whose missing events are listed; beyond it they are only counted."""

EVICTED_AT_ONCE = 64
"""The part of a full queue, one in so many, that is cleared in one go: looking for what can be
dropped takes time, and who finds the queue full once will find it so again."""


class EventWriter(Protocol):
    """What records events.  All methods are called on one thread, the writer's own.

    Optionally it has ``tick(now: float)``, called about once a minute between batches or while
    there are none: the place for retention and other upkeep.  ``now`` is unix time in seconds.
    With an attribute ``batches_at_once``, a number, it gets up to so many batches as one when it
    is behind.
    """

    def open(self) -> None:
        """Get ready.  Raise `StartError` or `ConfigError`, one sentence with the cure."""

    def write(self, batch: Sequence[SessionEvent]) -> None:
        """Write events down, in this order.

        Raise `PartlyWritten` where only the first of them were taken.  Any other error means
        that none was: after an `OSError` the batch is tried again later, after any other one
        each of its events alone, since one of them may be at fault.
        """

    def flush(self) -> None:
        """Make durable what was written."""

    def close(self) -> None:
        """Release everything; called once, after the last ``write`` and ``flush``."""


class _Missing:
    """What a session lacks from a place in the queue on."""

    __slots__ = ("after", "first", "kinds")

    def __init__(self, after: int, first: Recordable) -> None:
        self.after = after
        self.first = first
        self.kinds: Counter[str] = Counter()


class EventLane(Lane[R_], Generic[R_]):
    """The way of events to one writer.

    `start` opens the writer on the lane's thread; `opened` tells how that went.
    """

    what = "events"

    def __init__(
        self,
        name: str,
        writer: Writer[Any],
        telemetry: Telemetry,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        super().__init__(name, writer, telemetry, limits, monotonic)
        self.opened: Future[None] = Future()
        self._clock = clock
        self._tick_seconds = tick_seconds
        self._next_tick = monotonic() + tick_seconds
        self._missing: dict[str, _Missing] = {}  # guarded by `_taking`
        self._fruitless = -1, 0  # where an eviction found nothing: `_done` and class
        self._gaps: set[int] = set()  # `id`s of our own events in the batch at hand

    def _overflow(self, item: R_, size: int) -> bool:
        wanted = class_of(item)
        hopeless = self._closed or size > self._max_bytes
        if not hopeless and self._fruitless < (self._done, wanted):
            with self._taking:
                count = self._evict(wanted, size)
            if count:
                self._refuse(count)
                self._wake.set()  # the lane may have looked while the queue was taken apart
            else:
                self._fruitless = self._done, wanted
            if self._has_room(size):
                self._accept(item, size, self._accepted)
                return True
        with self._taking:
            self._note(item, self._accepted)
        self._refuse()
        return False

    def _has_room(self, size: int) -> bool:
        waiting = self._accepted_bytes - self._evicted_bytes - self._done_bytes
        return self.queued < self._max_count and waiting + size <= self._max_bytes

    def _evict(self, below: int, size: int) -> int:
        """Take out the newest items of the lowest classes; return how many.

        Args:
            below: only classes under this one.
            size: the bytes that are needed.
        """
        enough = max(1, self._max_count // EVICTED_AT_ONCE)
        for rank in range(below):
            kept: list[tuple[R_, int, int]] = []
            count = freed = 0
            while self._queue and (count < enough or freed < size):
                entry = self._queue.pop()
                if class_of(entry[0]) == rank:
                    count += 1
                    freed += entry[1]
                    self._note(entry[0], entry[2])
                else:
                    kept.append(entry)
            self._queue.extend(reversed(kept))
            if count:
                self._evicted += count
                self._evicted_bytes += freed
                return count
        return 0

    def _note(self, item: Recordable, number: int) -> None:
        """Take down that a session lacks an item, whose place was before ``number``."""
        missing = self._missing.get(item.session_id)
        if missing is None:
            if len(self._missing) >= SESSIONS_WITH_GAPS:
                return
            missing = self._missing[item.session_id] = _Missing(number, item)
        elif number < missing.after:
            missing.after, missing.first = number, item
        if isinstance(item, Gap):
            missing.kinds.update(item.dropped)
        else:
            missing.kinds[kind_of(item)] += 1

    def _tell_full(self, count: int) -> None:
        logger.warning(
            "Session recording buffer full, dropping event (%s, %d so far)", self.name, count
        )

    # From here on everything runs on the lane's own thread.

    def _begin(self) -> bool:
        opening = getattr(self._writer, "open", None)
        try:
            if opening is not None:
                opening()
        except BaseException as exc:  # noqa: BLE001 - whoever started the lane wants to know
            self.opened.set_exception(exc)
            return False
        self.opened.set_result(None)
        return True

    def _finish(self) -> None:
        if self.opened.exception() is not None:
            return
        self._deliver([], self._items([]))
        super()._finish()
        close = getattr(self._writer, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as exc:  # noqa: BLE001 - the others must be closed too
            logger.error("%s: closing failed: %s", self.name, summary(exc))  # noqa: TRY400

    def _wait_idle(self, wake: threading.Event) -> None:
        wake.wait(max(0.0, self._next_tick - self._monotonic()))

    def _take(self) -> list[tuple[R_, int, int]]:
        if self._monotonic() >= self._next_tick:
            self._tick()
        return super()._take()

    def _tick(self) -> None:
        tick = getattr(self._writer, "tick", None)
        try:
            if tick is not None:
                tick(self._clock())
        except BaseException as exc:  # noqa: BLE001 - as in Lane._write
            logger.error("%s: upkeep failed: %s", self.name, summary(exc))  # noqa: TRY400
        self._next_tick = self._monotonic() + self._tick_seconds

    def _items(self, taken: list[tuple[R_, int, int]]) -> list[R_]:
        self._gaps.clear()
        if not self._missing:
            return super()._items(taken)
        items: list[Any] = []
        with self._taking:
            for item, _, number in taken:
                missing = self._missing.get(item.session_id)
                if missing is not None and missing.after <= number:
                    del self._missing[item.session_id]
                    items.append(self._gap(missing))
                items.append(item)
            if not self._queue:
                items += [self._gap(missing) for missing in self._missing.values()]
                self._missing.clear()
        return items

    def _gap(self, missing: _Missing) -> Gap:
        first = missing.first
        gap = Gap(
            session_id=first.session_id,
            request_id=first.request_id,
            timestamp=timestamp_of(first),
            dropped=dict(missing.kinds),
        )
        self._gaps.add(id(gap))
        return gap

    def _wrote(self, batch: list[R_], written: int, seconds: float) -> None:
        count = written - self._own(batch[:written])
        if count:
            self._telemetry.emit(Written(self.name, count, seconds))

    def _drop(self, items: list[R_], error: BaseException) -> None:
        with self._taking:
            for item in items:
                self._note(item, self._passed)
        lost = [item for item in items if id(item) not in self._gaps]
        if lost:
            super()._drop(lost, error)

    def _own(self, items: list[R_]) -> int:
        return sum(1 for item in items if id(item) in self._gaps) if self._gaps else 0
