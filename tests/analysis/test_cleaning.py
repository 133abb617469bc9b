"""Personal data leaves recorded events; what records are found by stays."""

from __future__ import annotations

import msgspec

from gateway_sessions.analysis.cleaning import cleaned
from gateway_sessions.events import (
    Error,
    Gap,
    LoopRecorded,
    Metadata,
    RequestRecorded,
    ResponseRecorded,
    ResponseStats,
    SessionEvent,
    Started,
    StreamEvent,
    ToolUse,
)
from gateway_sessions.personal_data import Personal

MASK = Personal()
SECRET = "j@x.org"


def request(**changes: object) -> RequestRecorded:
    values = {
        "session_id": "sess_a",
        "request_id": "req_a",
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "model_requested": "m",
        "relation": "first",
        "source": "new",
        "confidence": 1.0,
        "estimated_tokens": 1,
        "pre_processing_ms": 0.1,
        "request_size_bytes": 10,
        "message_count": 1,
        "history_messages": 0,
        "has_system_prompt": False,
        "has_tools": False,
        "tool_count": 0,
        "is_streaming": False,
    }
    return RequestRecorded(**(values | changes))  # type: ignore[arg-type]


def test_texts_bodies_and_messages_are_cleaned() -> None:
    event = request(
        request_text=f"write to {SECRET}",
        request_json=msgspec.Raw(b'{"messages": [{"content": "write to j@x.org"}]}'),
        delta_messages=(msgspec.Raw(b'{"content": "hi"}'), msgspec.Raw(b'{"content":"j@x.org"}')),
    )
    assert (
        msgspec.to_builtins(cleaned(event, MASK), builtin_types=(msgspec.Raw,)).items()
        >= {
            "request_text": "write to [EMAIL]",
        }.items()
    )
    text = msgspec.json.encode(cleaned(event, MASK))
    assert SECRET.encode() not in text
    assert b'{"content": "hi"}' in text


def test_nested_values_are_cleaned() -> None:
    stats = ResponseStats(
        provider_latency_ms=1,
        post_processing_ms=1,
        total_proxy_overhead_ms=1,
        tokens=None,
        tool_calls=(
            ToolUse(
                tool_call_id="call_j@x.org",
                tool_name="send",
                input_size_bytes=3,
                tool_arguments=msgspec.Raw(b'{"to": "j@x.org"}'),
            ),
        ),
        response_size_bytes=1,
        content_blocks=1,
        has_refusal=False,
        is_streaming=False,
    )
    event = ResponseRecorded(
        session_id="sess_a",
        request_id="req_a",
        timestamp="t",
        model_used="m",
        status=200,
        stats=stats,
        tokens=None,
        response_headers={"x-user": SECRET, "x-other": "1"},
    )
    clean = cleaned(event, MASK)
    assert clean.response_headers == {"x-user": "[EMAIL]", "x-other": "1"}
    assert bytes(clean.stats.tool_calls[0].tool_arguments or b"") == b'{"to":"[EMAIL]"}'
    assert clean.stats.tool_calls[0].tool_call_id == "call_j@x.org", "ids join records"


def test_who_asked_is_personal_and_what_the_record_is_called_is_not() -> None:
    event = Started(
        session_id="sess_10.0.0.1",
        request_id="req_a",
        timestamp="t",
        model_requested="m",
        provider="p",
        listener="openai_chat",
        is_streaming=False,
        root_session_id="sess_10.0.0.1",
        relation="first",
        source="new",
        confidence=1.0,
        metadata=Metadata(
            request_headers={"from": SECRET}, client_ip="10.0.0.1", user_agent="curl"
        ),
    )
    clean = cleaned(event, MASK)
    assert clean.metadata == Metadata(
        request_headers={"from": "[EMAIL]"}, client_ip="[IP]", user_agent="curl"
    )
    assert clean.session_id == clean.root_session_id == "sess_10.0.0.1"


def test_details_of_errors_are_cleaned_at_any_depth() -> None:
    event = Error(
        session_id="sess_a",
        request_id="req_a",
        timestamp="t",
        error_type="invalid_request",
        error_message=f"no such user {SECRET}",
        error_details={"user": [{"mail": SECRET, "n": 3}]},
    )
    clean = cleaned(event, MASK)
    assert clean.error_message == "no such user [EMAIL]"
    assert clean.error_details == {"user": [{"mail": "[EMAIL]", "n": 3}]}


def test_an_event_without_personal_data_is_not_copied() -> None:
    events: list[SessionEvent] = [
        request(request_text="hello", delta_messages=(msgspec.Raw(b"{}"),)),
        Gap(session_id="sess_a", request_id="", timestamp="t", dropped={"stream_event": 1}),
    ]
    for event in events:
        assert cleaned(event, MASK) is event


def test_of_a_loop_only_what_was_said_is_cleaned() -> None:
    loop = {
        "loop_id": "10.0.0.1.main.0",
        "started_at": 1.0,
        "compaction_block": f"They wrote to {SECRET}.",
        "turns": [{"turn_id": {"loop_id": "10.0.0.1.main.0"}, "attempts": [{"error": "x"}]}],
        "events": [{"sequence": 0, "event": {"content": SECRET, "tool_name": "read"}}],
    }
    raw = msgspec.Raw(msgspec.json.encode(loop))
    event = LoopRecorded(session_id="10.0.0.1", request_id="r", timestamp="t", loop=raw)
    clean = cleaned(event, MASK)
    assert msgspec.json.decode(clean.loop) == loop | {
        "compaction_block": "They wrote to [EMAIL].",
        "events": [{"sequence": 0, "event": {"content": "[EMAIL]", "tool_name": "read"}}],
    }
    raw = msgspec.Raw(msgspec.json.encode({"loop_id": SECRET, "turns": [{}]}))
    harmless = LoopRecorded(session_id="s", request_id="r", timestamp="t", loop=raw)
    assert cleaned(harmless, MASK) is harmless


def test_the_pieces_of_a_stream_are_left_out_since_nothing_is_found_in_them() -> None:
    piece = StreamEvent(
        session_id="sess_a",
        request_id="req_a",
        timestamp="t",
        sequence=3,
        elapsed_ms=1.5,
        size_bytes=2,
        data="j@",
    )
    assert cleaned(piece, MASK) == msgspec.structs.replace(piece, data=None)
