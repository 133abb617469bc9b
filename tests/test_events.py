"""Recorded events as JSON: what is fixed for readers, and that it can be read again."""

from __future__ import annotations

import msgspec
import pytest

from gateway_sessions import events

CASES = [
    events.Gap(session_id="sess_a", request_id="", timestamp="t", dropped={"stream_event": 2}),
    events.StreamStarted(
        session_id="sess_a", request_id="req_1", timestamp="t", time_to_first_token_ms=12.5
    ),
    events.RequestCompleted(
        session_id="sess_a", request_id="req_1", timestamp="t", success=False, total_duration_ms=0
    ),
]


@pytest.mark.parametrize("event", CASES)
def test_an_event_is_read_back_as_it_was(event: events.SessionEvent) -> None:
    decoder = msgspec.json.Decoder(events.AnyEvent)
    assert decoder.decode(msgspec.json.encode(event)) == event


def test_the_type_is_the_name_in_snake_case() -> None:
    types = {kind.__struct_config__.tag for kind in events.SessionEvent.__subclasses__()}
    assert types == {
        "started",
        "request_recorded",
        "stream_started",
        "stream_event",
        "response_recorded",
        "tool_call_recorded",
        "request_completed",
        "stats_snapshot",
        "loop_recorded",
        "session_reported",
        "message_recorded",
        "message_removed",
        "completed",
        "error",
        "gap",
    }


def test_what_does_not_apply_is_left_out_and_what_is_false_or_zero_is_not() -> None:
    document = msgspec.to_builtins(CASES[2])
    assert document == {
        "type": "request_completed",
        "session_id": "sess_a",
        "request_id": "req_1",
        "timestamp": "t",
        "success": False,
        "total_duration_ms": 0,
    }


def test_the_garbage_collector_need_not_look_through_events() -> None:
    assert not any(kind.__struct_config__.gc for kind in events.SessionEvent.__subclasses__())
