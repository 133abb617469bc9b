"""One writer's share of the delivery queue: its backlog, its thread, its retries.

The event loop appends, the writer's thread takes; each counter below is written by one of the
two only, so that neither ever waits for a lock.  The thread sleeps until the loop wakes it,
which the loop does when there is a first exchange or a full batch, not for every one: waking
a thread costs more than everything else in `Lane.offer`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Protocol

import msgspec

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.quiet import Quiet, summary, trimmed
from gateway_sessions.telemetry import Dropped, Telemetry, Written

logger = logging.getLogger(__name__)


class PartlyWritten(Exception):
    """Raised by a ``write`` that took only the first ``written`` exchanges of its batch.

    Raise it ``from`` the error that stopped it.  The others are given again; any other
    exception means that nothing of the batch was taken.
    """

    def __init__(self, written: int) -> None:
        super().__init__(f"only the first {written} were written")
        self.written = written


class Writer(Protocol):
    """The part of an interceptor that this module needs; ``flush`` may be missing."""

    def write(self, batch: Sequence[Exchange]) -> None:
        """Write the batch down; see `gateway_sessions.hooks.Interceptor`."""


class Limits(msgspec.Struct, frozen=True):
    """How much waits, for how long, and how often a failed write is tried again."""

    batch_size: int = 100
    batch_seconds: float = 0.1
    """How long the first exchange of a batch waits for company."""
    max_count: int = 10_000
    """Exchanges that may wait for one writer."""
    max_bytes: int = 256 * 1024 * 1024
    """Bytes that may wait for all writers of the process; each has an equal share."""
    pauses: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    """Seconds before each new attempt; after the last one the batch is dropped."""


class Lane:
    """The way of exchanges to one writer.  `offer`, `flush` and `stop` belong to one thread."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        telemetry: Telemetry,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.problem: str | None = None
        """Why the last write failed, until one succeeds."""
        self.ended: Future[None] = Future()
        """Done when the thread has written everything and is gone."""
        self._writer = writer
        self._telemetry = telemetry
        self._limits = limits
        self._queue: deque[tuple[Exchange, int]] = deque()
        self._flushes: deque[tuple[int, Future[None]]] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._idle = False
        self._accepted = self._accepted_bytes = 0  # written by the offering thread
        self._done = self._done_bytes = 0  # written by the lane's thread
        self._lost = 0  # exchanges dropped since the last success
        self._full = Quiet(monotonic=monotonic)
        self._spoilt = Quiet(monotonic=monotonic)
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def queued(self) -> int:
        """Exchanges accepted and neither written nor dropped yet."""
        return self._accepted - self._done

    def offer(self, exchange: Exchange, size: int) -> bool:
        """Accept an exchange of about ``size`` bytes, or count it as dropped; never blocks."""
        accepted = self._accepted
        if (
            accepted - self._done >= self._limits.max_count
            or self._accepted_bytes + size - self._done_bytes > self._limits.max_bytes
            or self._stop.is_set()
        ):
            self._refuse()
            return False
        self._queue.append((exchange, size))
        self._accepted = accepted + 1
        self._accepted_bytes += size
        if self._idle or len(self._queue) == self._limits.batch_size:
            self._idle = False
            self._wake.set()
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
        self._stop.set()
        self._wake.set()

    def abandon(self) -> None:
        """Drop what is still queued, because the writer does not come back in time."""
        count = 0
        while self._queue:
            self._queue.pop()
            count += 1
        if count:
            logger.error("%s: still busy at shutdown, dropping %d exchanges", self.name, count)
            self._telemetry.emit(Dropped(self.name, "shutdown", count))

    def _refuse(self) -> None:
        if self._stop.is_set():
            self._telemetry.emit(Dropped(self.name, "shutdown", 1))
            return
        self._telemetry.emit(Dropped(self.name, "queue_full", 1))
        if count := self._full.count():
            logger.warning("%s: buffer full, dropping exchanges (%d so far)", self.name, count)

    # From here on everything runs on the lane's own thread.

    def _run(self) -> None:
        try:
            while not (self._stop.is_set() and not self._queue):
                self._sleep()
                self._deliver(self._take())
                self._answer_flushes()
        finally:
            self._flush_writer()
            _resolve(self.ended)
            for _, done in self._flushes:
                _resolve(done)

    def _sleep(self) -> None:
        """Return when there is something to do and either a batch is full or time is up."""
        self._wake.clear()
        self._idle = True
        if not (self._queue or self._flushes or self._stop.is_set()):
            self._wake.wait()
        self._idle = False
        self._wake.clear()
        hurry = self._flushes or self._stop.is_set()
        if not hurry and len(self._queue) < self._limits.batch_size:
            self._wake.wait(self._limits.batch_seconds)

    def _take(self) -> list[tuple[Exchange, int]]:
        taken: list[tuple[Exchange, int]] = []
        while len(taken) < self._limits.batch_size:
            try:
                taken.append(self._queue.popleft())
            except IndexError:
                break
        return taken

    def _deliver(self, taken: list[tuple[Exchange, int]]) -> None:
        """Write a batch, with pauses and new attempts while that fails; then forget it."""
        if not taken:
            return
        rest = [exchange for exchange, _ in taken]
        for pause in (*self._limits.pauses, None):
            rest, error = self._attempt(rest)
            if error is None:
                self._works()
                break
            self._fails(error)
            if pause is None:
                self._drop(len(rest), error)
            else:
                self._stop.wait(pause)
        self._done_bytes += sum(size for _, size in taken)
        self._done += len(taken)

    def _attempt(self, batch: list[Exchange]) -> tuple[list[Exchange], BaseException | None]:
        """Write a batch; return what is to be tried again, and why.

        An error that is not the system's may be the fault of one exchange, so each is then
        tried alone.  If that helps some, the others are dropped; if it helps none, the writer
        itself is at fault and gets the whole batch again.
        """
        written, error = self._write(batch)
        rest = batch[written:]
        if error is None or isinstance(error, OSError) or len(batch) == 1:
            return rest, error
        spoilt = [exchange for exchange in rest if self._write([exchange])[1] is not None]
        if len(spoilt) == len(batch):
            return spoilt, error
        if spoilt:
            self._drop(len(spoilt), error)
        return [], None

    def _write(self, batch: list[Exchange]) -> tuple[int, BaseException | None]:
        """Call the writer once; return how many exchanges it took, and what stopped it."""
        started = time.perf_counter()
        written, error = len(batch), None
        try:
            self._writer.write(batch)
        except PartlyWritten as partly:
            written, error = partly.written, partly.__cause__ or partly
        except BaseException as exc:  # noqa: BLE001 - nothing a plug-in raises may end the thread
            written, error = 0, exc
        if written:
            self._telemetry.emit(Written(self.name, written, time.perf_counter() - started))
        return written, error

    def _drop(self, count: int, error: BaseException) -> None:
        self._lost += count
        self._telemetry.emit(Dropped(self.name, "error", count))
        if count := self._spoilt.count(count):
            logger.error(
                "%s: could not write %d exchanges: %s",
                self.name,
                count,
                summary(error),
                exc_info=None if isinstance(error, OSError) else trimmed(error),
            )

    def _fails(self, error: BaseException) -> None:
        if self.problem is None:
            logger.error("%s: writing fails and is tried again: %s", self.name, summary(error))
        self.problem = summary(error)

    def _works(self) -> None:
        if self.problem is not None:
            self.problem = None
            logger.warning("%s: writing works again, %d exchanges lost", self.name, self._lost)
        self._lost = 0

    def _answer_flushes(self) -> None:
        while self._flushes and self._flushes[0][0] <= self._done:
            self._flush_writer()
            _resolve(self._flushes.popleft()[1])

    def _flush_writer(self) -> None:
        flush = getattr(self._writer, "flush", None)
        if flush is None:
            return
        try:
            flush()
        except BaseException as exc:  # noqa: BLE001 - as in _write
            self._fails(exc)


def _resolve(future: Future[None]) -> None:
    with suppress(InvalidStateError):
        future.set_result(None)
