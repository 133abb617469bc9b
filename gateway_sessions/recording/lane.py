"""One writer's share of a queue: its backlog, its thread, its retries.

One thread offers, the writer's thread takes; each counter below is written by one of the two
only, so that neither ever waits for a lock.  The writer's thread sleeps until the other wakes
it, which it does when there is a first item or a full batch, not for every one: waking a thread
costs more than everything else in `Lane.offer`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.troubles import Troubles
from gateway_sessions.telemetry import Telemetry, Written

T_ = TypeVar("T_")
Taken_contra = TypeVar("Taken_contra", contravariant=True)

FLUSH_ATTEMPTS = 5
"""How often a failing batch is tried while somebody waits for a flush: he must not wait for the
whole of a long back-off."""

BATCH_BYTES = 8 * 1024 * 1024
"""A batch of so many bytes is given to the writer, however few items it has."""

STUCK_SECONDS = 12.0
"""A writer that has not come back from one call for so long is stuck: nobody waits for it when
everything ends, and until then it is told as a problem.  A database that another program holds
comes back after ten seconds at most, and says so."""


OUT: tuple[Any, int] = (None, 0)
"""Stands in a queue for an item that was taken out again: nothing has to be moved for that."""


class PartlyWritten(Exception):
    """Raised by a ``write`` that took only the first ``written`` items of its batch.

    Raise it ``from`` the error that stopped it.  The others are given again; any other
    exception means that nothing of the batch was taken.  A writer that takes items out of
    order names those that it did not take in ``rest``; ``written`` is then how many it took.
    """

    def __init__(self, written: int, rest: Sequence[Any] | None = None) -> None:
        super().__init__(f"only {written} were written")
        self.written = written
        self.rest = rest


class Writer(Protocol[Taken_contra]):
    """What a lane needs of a writer; ``flush`` may be missing."""

    def write(self, batch: Sequence[Taken_contra]) -> None:
        """Write the batch down; see `gateway_sessions.hooks.Interceptor`.

        An `OSError` says that the system is at fault, so that the whole batch is tried again
        later; any other error may be the fault of one item, so that each is tried alone.
        """


class Lane(Generic[T_]):
    """The way of items to one writer.  `offer`, `flush` and `stop` belong to one thread."""

    what = "exchanges"
    """What log lines call the items."""
    full = "%(name)s: buffer full, dropping %(what)s (%(count)d so far)"
    """The log line of a full buffer."""

    def __init__(
        self,
        name: str,
        writer: Writer[T_],
        telemetry: Telemetry,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.ended: Future[None] = Future()
        """Done when the thread has written everything and is gone."""
        self._writer = writer
        self._telemetry = telemetry
        self._limits = limits
        # Two attributes of their own: they are read for every item.
        self._max_count, self._max_bytes = limits.max_count, limits.max_bytes
        self._at_once = limits.batch_size * getattr(writer, "batches_at_once", 1)
        self._enough = min(self._at_once, max(limits.batch_size, limits.max_count // 4))
        """Items that wait for no more."""
        self._closed = False
        self._queue: deque[tuple[T_, int]] = deque()  # item, bytes
        self._taking = threading.Lock()
        """Held by whoever takes items out of the queue."""
        self._flushes: deque[tuple[int, Future[None]]] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._idle = False
        self._accepted = self._accepted_bytes = 0  # written by the offering thread
        self._evicted = self._gone = 0  # items taken out again; of those, passed by the thread
        self._taken = 0  # entries that have left the queue; guarded by `_taking`
        self._done = self._done_bytes = 0  # written by the lane's thread
        self._called: float | None = None  # since when the writer is at work, if it is
        self._abandoned = False
        self._monotonic = monotonic
        self._troubles = Troubles(name, telemetry, self.what, self.full, monotonic)
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why the last write failed, until one succeeds."""
        return self._troubles.problem

    @property
    def queued(self) -> int:
        """Items accepted and neither written nor dropped yet."""
        return self._accepted - self._done - (self._evicted - self._gone)

    @property
    def crowded(self) -> bool:
        """Whether more than half of the room is taken."""
        # In full, since it is asked for each item.
        queued = self._accepted - self._done - (self._evicted - self._gone)
        return (
            queued * 2 > self._max_count
            or (self._accepted_bytes - self._done_bytes) * 2 > self._max_bytes
        )

    @property
    def is_stuck(self) -> bool:
        """Whether the writer has not come back from a call for `STUCK_SECONDS`."""
        called = self._called  # once: the lane's thread sets it
        return called is not None and self._monotonic() - called >= STUCK_SECONDS

    @property
    def behind(self) -> bool:
        """Whether more waits than the next batch takes."""
        return len(self._queue) > self._enough

    @property
    def place(self) -> int:
        """The number that the next item accepted will have."""
        return self._accepted

    def has_passed(self, place: int) -> bool:
        """Tell whether nothing waits any more of what was accepted before a place."""
        return self._done >= place

    def offer(self, item: T_, size: int) -> bool:
        """Accept an item of about ``size`` bytes, or count it as dropped; never blocks."""
        if (
            self._accepted - self._done >= self._max_count
            or self._accepted_bytes + size - self._done_bytes > self._max_bytes
            or self._closed
        ):
            return self._overflow(item, size)
        self._accept(item, size)
        return True

    def flush(self) -> Future[None]:
        """Return a future that is done when all accepted so far is written or given up."""
        done: Future[None] = Future()
        if self.ended.done():
            done.set_result(None)
            return done
        self._flushes.append((self._accepted, done))
        self._wake.set()
        if self.ended.done():  # the thread may have left in between
            _resolve(done)
        return done

    def stop(self) -> None:
        """Let the thread write what is left, without pauses between attempts, and end."""
        self._closed = True
        self._stop.set()
        self._wake.set()

    def abandon(self) -> None:
        """Drop what is not written yet, because the writer does not come back in time."""
        with self._taking:
            self._abandoned = True
            count = len(self._queue) - self._queue.count(OUT)
            self._queue.clear()
        self._troubles.abandoned(count + self._in_hand(count))

    def _in_hand(self, waiting: int) -> int:
        """Return how many items the writer has: nobody will know what became of them."""
        return self.queued - waiting

    def _accept(self, item: T_, size: int) -> None:
        self._queue.append((item, size))
        self._accepted += 1
        self._accepted_bytes += size
        if self._idle or len(self._queue) == self._enough:
            self._idle = False
            self._wake.set()

    def _overflow(self, item: T_, size: int) -> bool:
        """Find out what to do with an item for which there is no room; tell if it was taken."""
        del item, size
        self._refuse()
        return False

    def _refuse(self) -> None:
        """Count an item as dropped at the entrance."""
        self._troubles.refused(closed=self._closed)

    # From here on everything runs on the lane's own thread.

    def _run(self) -> None:
        try:
            if not self._begin():
                return
            while not (self._stop.is_set() and not self._queue):
                self._sleep()
                taken = self._take()
                self._deliver(taken, self._items(taken))
                self._answer_flushes()
        finally:
            self._finish()
            _resolve(self.ended)
            for _, done in self._flushes:
                _resolve(done)

    def _begin(self) -> bool:
        """Get ready, before the first batch; False ends the thread."""
        return True

    def _finish(self) -> None:
        """Leave, after the last batch."""
        self._flush_writer()

    def _sleep(self) -> None:
        """Return when there is something to do and either a batch is full or time is up."""
        self._wake.clear()
        self._idle = True
        if not (self._queue or self._flushes or self._stop.is_set()):
            self._wait_idle(self._wake)
        self._idle = False
        self._wake.clear()
        hurry = self._flushes or self._stop.is_set()
        if not hurry and 0 < len(self._queue) < self._enough:
            self._wake.wait(self._limits.batch_seconds)

    def _wait_idle(self, wake: threading.Event) -> None:
        """Wait for work while there is none."""
        wake.wait()

    def _take(self) -> list[tuple[T_, int]]:
        taken: list[tuple[T_, int]] = []
        size = 0
        with self._taking:
            queue = self._queue
            for _ in range(min(len(queue), self._at_once)):
                entry = queue.popleft()
                taken.append(entry)
                size += entry[1]
                if size >= BATCH_BYTES:
                    break
            self._taken += len(taken)
        return taken

    def _items(self, taken: list[tuple[T_, int]]) -> list[T_]:
        """Return what to write for what was taken."""
        return [item for item, _ in taken]

    def _deliver(self, taken: list[tuple[T_, int]], rest: list[T_]) -> None:
        """Write a batch, with pauses and new attempts while that fails; then forget it."""
        pauses = self._limits.pauses
        for attempt in range(len(pauses) + 1):
            if not rest:
                break
            rest, error = self._attempt(rest)
            if error is None:
                self._troubles.works()
                break
            self._troubles.fails(error)
            hurried = self._flushes and attempt + 1 >= FLUSH_ATTEMPTS
            if attempt == len(pauses) or hurried:
                self._drop(rest, error)
                break
            self._stop.wait(pauses[attempt])
        if taken:
            self._done_bytes += sum(size for _, size in taken)
            self._done += len(taken)

    def _attempt(self, batch: list[T_]) -> tuple[list[T_], BaseException | None]:
        """Write a batch; return what is to be tried again, and why.

        An error that is not the system's may be the fault of one item, so each is then tried
        alone.  If that helps some, the others are dropped; if it helps none, the writer itself
        is at fault and gets the whole batch again.
        """
        written, error = self._write(batch)
        rest = batch[written:]
        if error is None or isinstance(error, OSError) or len(batch) == 1:
            return rest, error
        spoilt = [item for item in rest if self._write([item])[1] is not None]
        if len(spoilt) == len(batch):
            return spoilt, error
        if spoilt:
            self._drop(spoilt, error)
        return [], None

    def _write(self, batch: list[T_]) -> tuple[int, BaseException | None]:
        """Call the writer once; return how many items it took, and what stopped it."""
        started = time.perf_counter()
        written, error = len(batch), None
        self._called = self._monotonic()
        try:
            self._writer.write(batch)
        except PartlyWritten as partly:
            written, error = partly.written, partly.__cause__ or partly
            if partly.rest is not None:
                left = {id(item) for item in partly.rest}
                batch[:] = [*(item for item in batch if id(item) not in left), *partly.rest]
        except BaseException as exc:  # noqa: BLE001 - nothing a plug-in raises may end the thread
            written, error = 0, exc
        finally:
            self._called = None
        if written and not self._abandoned:
            self._wrote(batch, written, time.perf_counter() - started)
        return written, error

    def _wrote(self, batch: list[T_], written: int, seconds: float) -> None:
        """Count the first ``written`` of a batch."""
        del batch
        self._telemetry.emit(Written(self.name, written, seconds))

    def _drop(self, items: list[T_], error: BaseException) -> None:
        if not self._abandoned:  # else they are counted
            self._troubles.dropped(len(items), error)

    def _answer_flushes(self) -> None:
        asked = len(self._flushes)  # before looking: what later ones wait for may come after it
        if not asked:
            return
        with self._taking:
            empty = not self._queue
        while asked and (empty or self._flushes[0][0] <= self._done):
            self._flush_writer()
            _resolve(self._flushes.popleft()[1])
            asked -= 1

    def _flush_writer(self) -> None:
        flush = getattr(self._writer, "flush", None)
        if flush is None:
            return
        self._called = self._monotonic()
        try:
            flush()
        except BaseException as exc:  # noqa: BLE001 - as in _write
            self._troubles.fails(exc)
        finally:
            self._called = None


def _resolve(future: Future[None]) -> None:
    with suppress(InvalidStateError):
        future.set_result(None)
