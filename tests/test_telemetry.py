"""Events reach who listens to exactly their type, and nobody's failure reaches the sender."""

from __future__ import annotations

import pytest

from gateway_sessions.telemetry import Dropped, Event, SessionStarted, Telemetry, Written


def test_listeners_get_the_events_of_their_type_in_order() -> None:
    telemetry = Telemetry()
    heard: list[Event] = []
    telemetry.listen(Written, heard.append)
    first, second = Written("trace", 1, 0.1), Written("trace", 2, 0.2)
    telemetry.emit(first)
    telemetry.emit(Dropped("trace", "error", 1))
    telemetry.emit(second)
    assert heard == [first, second]


def test_an_event_nobody_listens_to_is_no_error() -> None:
    Telemetry().emit(SessionStarted("sess_1", "first_request"))


def test_a_failing_listener_is_logged_and_the_next_one_still_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry = Telemetry()
    heard: list[Written] = []

    def fail(event: Written) -> None:
        raise RuntimeError("no")

    telemetry.listen(Written, fail)
    telemetry.listen(Written, heard.append)
    telemetry.emit(Written("trace", 1, 0.0))
    assert len(heard) == 1
    assert "Written" in caplog.text


def test_events_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Written("trace", 1, 0.0).count = 2  # type: ignore[misc]


def test_whether_anybody_listens() -> None:
    telemetry = Telemetry()
    telemetry.emit(Written("trace", 1, 0.1))
    assert not telemetry.hears(Written)
    telemetry.listen(Written, lambda event: None)
    assert telemetry.hears(Written)
    assert not telemetry.hears(Dropped)
