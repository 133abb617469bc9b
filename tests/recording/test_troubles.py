"""What goes wrong with a writer is counted each time and logged now and then."""

from __future__ import annotations

import pytest

from gateway_sessions.recording.troubles import Troubles
from gateway_sessions.telemetry import Dropped, Telemetry

FULL = "%(name)s is full of %(what)s, %(count)d lost"


class Noted:
    """Troubles, and what they announce."""

    def __init__(self) -> None:
        self.dropped: list[tuple[str, str, int]] = []
        self.now = 0.0
        telemetry = Telemetry()
        telemetry.listen(Dropped, lambda e: self.dropped.append((e.interceptor, e.reason, e.count)))
        self.troubles = Troubles("w", telemetry, "events", FULL, lambda: self.now)


def test_every_refusal_is_counted_and_some_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    noted = Noted()
    for _ in range(3):
        noted.troubles.refused(closed=False)
    assert caplog.messages == ["w is full of events, 1 lost"]
    noted.now = 3600.0
    noted.troubles.refused(closed=False)
    assert caplog.messages[1:] == ["w is full of events, 3 lost"]
    assert noted.dropped == [("w", "queue_full", 1)] * 4


def test_after_the_end_refusals_are_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    noted = Noted()
    noted.troubles.refused(closed=True)
    assert noted.dropped == [("w", "shutdown", 1)]
    assert not caplog.messages


def test_a_fault_of_items_has_a_traceback_and_one_of_the_system_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    noted = Noted()
    noted.troubles.dropped(2, ValueError("odd"))
    noted.now = 3600.0
    noted.troubles.dropped(3, OSError(28, "No space left on device"))
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]
    assert caplog.messages[0] == "w: could not write 2 events: ValueError: odd"
    assert noted.dropped == [("w", "error", 2), ("w", "error", 3)]


def test_a_problem_lasts_until_a_write_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Noted().troubles
    troubles.works()
    assert troubles.problem is None
    for text in ("a", "b"):
        troubles.fails(OSError(text))
    assert troubles.problem is not None
    assert troubles.problem.endswith("b")
    troubles.dropped(4, OSError("b"))
    troubles.works()
    assert troubles.problem is None
    assert len(caplog.messages) == 3, "the second failure is no news"
    assert caplog.messages[-1] == "w: writing works again, 4 events lost"
    troubles.fails(OSError("c"))
    troubles.works()
    assert caplog.messages[-1] == "w: writing works again, 0 events lost"


def test_giving_a_writer_up_is_told_only_where_something_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    noted = Noted()
    noted.troubles.abandoned(0)
    assert not noted.dropped
    noted.troubles.abandoned(5)
    assert noted.dropped == [("w", "shutdown", 5)]
    assert caplog.messages == ["w: still busy at shutdown, dropping 5 events"]
