"""A lane for what belongs to sessions: it drops by class, and says where something is missing.

When there is no room, pieces of streams go first, then what is neither piece nor end, the ends
last; the newest of a class before older ones, so that what was begun is kept whole.  A `Gap`
event stands where the first of the missing events of a session would have stood.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from gateway_sessions.events import Gap, SessionEvent
from gateway_sessions.recording.lane import OUT, Lane, Writer
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.quiet import summary
from gateway_sessions.recording.recordable import (
    TERMINAL,
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


class EventWriter(Protocol):
    """What records events.  All methods are called on one thread, the writer's own.

    Optionally it has ``tick(now: float)``, called about once a minute between batches or while
    there are none: the place for retention and other upkeep.  ``now`` is unix time in seconds.
    With an attribute ``batches_at_once``, a number, it gets up to so many batches as one.
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
    """What a session lacks from a place in the queue on.

    It holds no item: those may be large, and many sessions may lack one.
    """

    __slots__ = ("after", "kinds", "request_id", "timestamp")

    def __init__(self, after: int, first: Recordable) -> None:
        self.kinds: Counter[str] = Counter()
        self.stand_before(after, first)

    def stand_before(self, place: int, first: Recordable) -> None:
        """Begin at a place, with an item that is missing there."""
        self.after = place
        self.request_id = first.request_id
        self.timestamp = timestamp_of(first)


class EventLane(Lane[R_], Generic[R_]):
    """The way of events to one writer.

    `start` opens the writer on the lane's thread; `opened` tells how that went.
    """

    what = "events"
    full = "Session recording buffer full, dropping event (%(name)s, %(count)d so far)"

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
        self._newest: tuple[deque[int], deque[int]] = (
            deque(maxlen=limits.max_count),
            deque(maxlen=limits.max_count),
        )
        """The numbers of pieces, and of what is neither piece nor end, as they were accepted."""
        self._gaps: set[int] = set()  # `id`s of our own events in the batch at hand

    def _accept(self, item: R_, size: int) -> None:
        rank = class_of(item)
        if rank < TERMINAL:
            self._newest[rank].append(self._accepted)
        super()._accept(item, size)

    def _overflow(self, item: R_, size: int) -> bool:
        """Take an item if others can make room for it; tell if it was taken."""
        wanted = class_of(item)
        evicted = 0
        with self._taking:
            room = self._has_room(size)
            if size <= self._max_bytes and not self._closed:
                while not room and self._evict(wanted):
                    evicted += 1
                    room = self._has_room(size)
            if not room or self._closed:
                room = False
                self._note(item, self._accepted)
        for _ in range(evicted):
            self._refuse()
        if room:
            self._accept(item, size)
        else:
            self._refuse()
        return room

    def _has_room(self, size: int) -> bool:
        waiting = self._accepted_bytes - self._done_bytes
        return self.queued < self._max_count and waiting + size <= self._max_bytes

    def _evict(self, below: int) -> bool:
        """Take out the newest item of the lowest class under ``below``; tell if there was one.

        It is found by its number, however long the queue is: that is when time is short.
        """
        for numbers in self._newest[:below]:
            while numbers:
                place = numbers.pop() - self._taken
                if place < 0:
                    numbers.clear()  # it has left, and so have all before it
                    break
                item, size = self._queue[place]
                self._queue[place] = OUT
                self._evicted += 1
                self._accepted_bytes -= size
                self._note(item, place + self._taken)
                return True
        return False

    def _note(self, item: Recordable, number: int) -> None:
        """Take down that a session lacks an item, whose place was before ``number``."""
        missing = self._missing.get(item.session_id)
        if missing is None:
            if len(self._missing) >= SESSIONS_WITH_GAPS:
                return
            missing = self._missing[item.session_id] = _Missing(number, item)
        elif number < missing.after:
            missing.stand_before(number, item)
        if isinstance(item, Gap):
            missing.kinds.update(item.dropped)
        else:
            missing.kinds[kind_of(item)] += 1

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

    def _take(self) -> list[tuple[R_, int]]:
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

    def _items(self, taken: list[tuple[R_, int]]) -> list[R_]:
        self._gaps.clear()
        if not self._missing and self._evicted == self._gone:
            return super()._items(taken)
        items: list[Any] = []
        with self._taking:
            for number, (item, _) in enumerate(taken, self._done):
                if item is None:
                    continue
                missing = self._missing.get(item.session_id)
                if missing is not None and missing.after <= number:
                    del self._missing[item.session_id]
                    items.append(self._gap(item.session_id, missing))
                items.append(item)
            if not self._queue:
                items += [self._gap(name, missing) for name, missing in self._missing.items()]
                self._missing.clear()
        return items

    def _answer_flushes(self) -> None:
        if self._missing and not self._queue and self.problem is None:
            # What was dropped while the last batch was written: nothing else may come for long.
            self._deliver([], self._items([]))
        super()._answer_flushes()

    def _deliver(self, taken: list[tuple[R_, int]], rest: list[R_]) -> None:
        super()._deliver(taken, rest)
        if self._evicted > self._gone:
            self._gone += taken.count(OUT)

    def _gap(self, session_id: str, missing: _Missing) -> Gap:
        gap = Gap(
            session_id=session_id,
            request_id=missing.request_id,
            timestamp=missing.timestamp,
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
                self._note(item, self._done)
        lost = [item for item in items if id(item) not in self._gaps]
        if lost:
            super()._drop(lost, error)

    def _own(self, items: list[R_]) -> int:
        return sum(1 for item in items if id(item) in self._gaps) if self._gaps else 0
