"""What the recorder process tells the gateway, and when."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import wire
from gateway_sessions.recording.following import Outbox
from gateway_sessions.telemetry import Dropped, Telemetry, Written

REPORT_SECONDS = 0.1
"""Between two reports.  Until it is reported as settled, the gateway keeps what it has sent."""
FOLLOW_SECONDS = 0.01
"""How long an event waits for others before those who follow are told."""
LOGS = 1000
"""Log lines that wait to be reported."""

T_ = TypeVar("T_")
Follow = Callable[[], tuple[int, dict[str, wire.WriterState]]]
"""Returns below which number everything is settled, and how each writer is."""


class Reporter:
    """Tells the gateway what happens here.  Everything but `start` and `stop` is thread-safe."""

    def __init__(self, outgoing: socket.socket, telemetry: Telemetry) -> None:
        self._outgoing = outgoing
        self._written: deque[tuple[str, int, float]] = deque()
        self._dropped: deque[tuple[str, str, int]] = deque()
        self._logs: deque[tuple[int, str, str]] = deque(maxlen=LOGS)
        self._flushed = self._flushed_told = 0
        self._states: dict[str, wire.WriterState] = {}
        self._settled = 0
        self._outbox = Outbox()
        self._wake = threading.Event()
        self._following = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._follow: Follow = lambda: (0, {})
        telemetry.listen(
            Written, lambda e: self._written.append((e.interceptor, e.count, e.seconds))
        )
        telemetry.listen(
            Dropped, lambda e: self._dropped.append((e.interceptor, e.reason, e.count))
        )

    def start(self, follow: Follow) -> None:
        """Say that the writers are open, and report from now on what ``follow`` returns."""
        self._follow = follow
        self.send(wire.Report(ready=True))
        self._thread.start()

    def stop(self) -> None:
        """Send the last report."""
        self._ending = True
        self._wake.set()
        self._thread.join()

    def flushed(self, number: int) -> None:
        """Report at once that a flush is done."""
        self._flushed = max(number, self._flushed)
        self._wake.set()

    def followed(self, event: SessionEvent) -> None:
        """Send an event to those who follow, unless too many wait."""
        self._outbox.put(event)
        self._following.set()
        self._wake.set()

    def log(self, record: logging.LogRecord, text: str) -> None:
        """Report a log line."""
        self._logs.append((record.levelno, record.name, text))

    def send(self, report: wire.Report) -> None:
        """Send a report; nothing happens where nobody listens any more."""
        try:
            self._outgoing.sendall(wire.report_bytes(report))
        except OSError:
            self._ending = True

    def _run(self) -> None:
        while True:
            ending = self._ending
            self._report()
            if ending:
                return
            self._wake.wait(REPORT_SECONDS)
            self._wake.clear()
            if self._following.is_set():
                self._following.clear()
                time.sleep(FOLLOW_SECONDS)

    def _report(self) -> None:
        flushed = self._flushed  # read first: what it stands for is in the rest
        followed, left_out = self._outbox.take()
        settled, states = self._follow()
        report = wire.Report(
            settled=settled,
            flushed=flushed,
            writers=states,
            written=_drained(self._written),
            dropped=_drained(self._dropped),
            logs=_drained(self._logs),
            followed=followed,
            left_out=left_out,
        )
        news = (
            report.written
            or report.dropped
            or report.logs
            or followed
            or flushed > self._flushed_told
        )
        if news or settled != self._settled or states != self._states:
            self._settled, self._states, self._flushed_told = settled, states, flushed
            self.send(report)


def _drained(queue: deque[T_]) -> list[T_]:
    return [queue.popleft() for _ in range(len(queue))]


class LogReports(logging.Handler):
    """Sends what is logged here to where the gateway logs."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log line on."""
        self._reporter.log(record, self.format(record))
