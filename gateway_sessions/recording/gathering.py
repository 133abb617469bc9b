"""Taking in what several gateway processes send, each session in the order of the wire.

Two exchanges of one session may pass through two workers.  Each worker's milestones come in
order, those of two workers do not: a sender lets them gather for a twentieth of a second.  So a
milestone waits here until every worker has sent something later, or for `HOLD_SECONDS`, and
whatever waits is taken by the clock of the machine, which all of its processes share.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from gateway_sessions.milestones import Arrived
from gateway_sessions.recording.reporter import REPORT_SECONDS
from gateway_sessions.recording.sources import (
    READ_BYTES,
    Intake,
    Source,
    Told,
    Waiting,
    WorkerSource,
)

HOLD_SECONDS = 0.2
"""How long a milestone waits for earlier ones of other workers: four times as long as a sender
lets its own gather, which leaves time for a full batch on a busy machine.  If it takes longer
still, events are recorded in the order in which they come."""
BURST = 64
"""Items taken in before the sockets are looked at again."""


class Gathering:
    """All sources, and what of theirs waits.  Everything belongs to one thread.

    Args:
        main: the connection of the main process; when that has ended, and all workers have, so
            has the work.
        intake: of the main process.
        listener: where workers connect.
        new_intake: makes an intake for one worker, from whoever hears what becomes of its frames
            and its connection.
        hold_seconds: how long a milestone waits for earlier ones.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        main: socket.socket,
        intake: Intake,
        listener: socket.socket,
        new_intake: Callable[[Told, socket.socket], Intake],
        *,
        hold_seconds: float = HOLD_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._main = Source(main)
        self._intake = intake
        self._listener = listener
        self._new_intake = new_intake
        self._hold = hold_seconds
        self._monotonic = monotonic
        self._workers: list[WorkerSource] = []
        self._reported = 0.0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector = selectors.DefaultSelector()

    def serve(self, first: int) -> None:
        """Take in everything until the main process and all workers have ended.

        ``first`` is the number of the main process's first item.
        """
        self._intake.begin(first)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._main.connection, selectors.EVENT_READ, self._main)
        pause = 0.0
        while not self._main.ended or self._main.queue or self._workers:
            self._read(pause)
            pause = self._take()
            self._report()
        for each in (self._selector, self._woken, self._waker):
            each.close()

    def _read(self, pause: float) -> None:
        """Wait for sources to send something, no longer than ``pause`` seconds, and read it."""
        for key, _ in self._selector.select(pause):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._woken:
                with suppress(BlockingIOError):
                    self._woken.recv(READ_BYTES)
                self._reported = 0.0
            else:
                source: Source = key.data
                source.read(self._monotonic())
                if source.ended or source.full:
                    self._selector.unregister(source.connection)

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            worker = WorkerSource(connection, self._wake)
            self._workers.append(worker)
            self._selector.register(connection, selectors.EVENT_READ, worker)

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b"!")

    def _take(self) -> float:
        """Take in what may be taken; return the seconds until it pays to look again."""
        while self._main.queue:
            waiting = self._main.take()
            if waiting.milestone is None:
                self._intake.handle(waiting.kind, waiting.content)
            else:
                self._intake.take(waiting.milestone)
        now = self._monotonic()
        for _ in range(BURST):
            worker = self._next(now)
            if worker is None:
                lefts = [self._left(each, now) for each in self._workers if each.queue]
                return min(max(0.0, min(lefts, default=1.0)), REPORT_SECONDS)
            was_full, waiting = worker.full, worker.take()
            if was_full and not worker.full and not worker.ended:
                self._selector.register(worker.connection, selectors.EVENT_READ, worker)
            self._handle(worker, waiting)
        return 0.0

    def _next(self, now: float) -> WorkerSource | None:
        """Return the worker whose first frame comes before all others, if that may be taken."""
        found, earliest = None, 0.0
        complete = all(each.queue for each in self._workers if not each.ended)
        for worker in self._workers:
            if not worker.queue:
                continue
            at = worker.queue[0].at
            if at is None:
                return worker
            if (found is None or at < earliest) and not self._waits(worker, complete, now):
                found, earliest = worker, at
        return found

    def _waits(self, worker: WorkerSource, complete: bool, now: float) -> bool:
        """Tell whether a worker's first milestone may have to come after another's.

        ``complete`` tells that all workers have sent something since.  Even then a request waits
        for the end of an exchange of its session elsewhere: that worker may notice later than its
        client that it is over.
        """
        if self._left(worker, now) <= 0:
            return False
        milestone = worker.queue[0].milestone
        return not complete or (
            isinstance(milestone, Arrived)
            and any(
                each is not worker and each.carries(milestone.session_id) for each in self._workers
            )
        )

    def _left(self, worker: WorkerSource, now: float) -> float:
        """Return the seconds for which a worker's first milestone may still wait."""
        return worker.queue[0].since + self._hold - now

    def _handle(self, worker: WorkerSource, waiting: Waiting) -> None:
        if worker.intake is None:
            worker.begin(waiting.content, self._new_intake(worker, worker.connection))
        else:
            worker.handle(waiting)

    def _report(self) -> None:
        """Tell workers what is settled, now and then, and take leave of those that have ended."""
        now = self._monotonic()
        if now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        for worker in list(self._workers):
            worker.report()
            if worker.ended and not worker.queue and worker.leave(now, self._main.ended):
                self._workers.remove(worker)
                worker.connection.close()
