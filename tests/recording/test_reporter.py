"""Reports of the recorder process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from gateway_sessions.recording import wire
from gateway_sessions.recording.reporter import LogReports, Reporter
from gateway_sessions.telemetry import Dropped, Telemetry, Written
from tests.recording.writers import PATIENCE


class Line:
    """A socket with somebody who reads the reports."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(PATIENCE)
        self.incoming = self.ours.makefile("rb")

    def next(self) -> wire.Report:
        report = wire.read_report(self.incoming)
        assert report is not None
        return report

    def until(self, wanted: Callable[[wire.Report], bool]) -> list[wire.Report]:
        """Return reports up to the first that is wanted."""
        reports = [self.next()]
        while not wanted(reports[-1]):
            reports.append(self.next())
        return reports

    def close(self) -> None:
        self.incoming.close()
        self.ours.close()
        self.theirs.close()


def test_everything_that_is_announced_arrives() -> None:
    line, telemetry = Line(), Telemetry()
    reporter = Reporter(line.theirs, telemetry)
    states = {"w": wire.WriterState(3, "no")}
    reporter.start(lambda: (9, states))
    assert line.next() == wire.Report(ready=True)
    telemetry.emit(Written("w", 2, 0.5))
    telemetry.emit(Dropped("w", "error", 1))
    record = logging.LogRecord("a.b", logging.WARNING, "", 0, "said %s", ("this",), None)
    LogReports(reporter).emit(record)
    reporter.flushed(1)
    reports = line.until(lambda report: report.flushed == 1)
    reporter.stop()
    line.theirs.close()
    while (report := wire.read_report(line.incoming)) is not None:
        reports.append(report)
    assert [each for report in reports for each in report.written] == [("w", 2, 0.5)]
    assert [each for report in reports for each in report.dropped] == [("w", "error", 1)]
    assert [each for report in reports for each in report.logs] == [(30, "a.b", "said this")]
    assert (reports[-1].settled, reports[-1].writers) == (9, states)
    line.close()


def test_where_nothing_happens_nothing_is_said() -> None:
    line = Line()
    reporter = Reporter(line.theirs, Telemetry())
    asked = iter(range(10**9))
    reporter.start(lambda: (int(next(asked) > 1000), {}))
    assert line.next().ready
    for _ in range(3):
        reporter.flushed(0)
    reporter.stop()
    line.theirs.close()
    assert wire.read_report(line.incoming) is None
    line.close()


def test_nobody_listens_any_more() -> None:
    line = Line()
    reporter = Reporter(line.theirs, Telemetry())
    line.incoming.close()
    line.ours.close()
    reporter.start(lambda: (1, {}))
    reporter.flushed(1)
    reporter.stop()
    line.theirs.close()
