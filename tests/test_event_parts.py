"""What events are made of, as JSON: what is left out, and that it can be read again."""

from __future__ import annotations

import msgspec
import pytest

from gateway_sessions import event_parts, events
from gateway_sessions.event_parts import Part, ResponseStats, Tokens, ToolUse

TOKENS = Tokens(input_tokens=3, output_tokens=0, total_tokens=3)
CALL = ToolUse(
    tool_call_id="c1", tool_name="read", input_size_bytes=2, tool_arguments=msgspec.Raw(b"{}")
)
STATS = ResponseStats(
    provider_latency_ms=0.0,
    post_processing_ms=0.5,
    total_proxy_overhead_ms=1.0,
    tokens=TOKENS,
    tool_calls=(CALL,),
    response_size_bytes=0,
    content_blocks=1,
    has_refusal=False,
    is_streaming=False,
)


@pytest.mark.parametrize("part", [TOKENS, CALL, STATS])
def test_a_part_is_read_back_as_it_was(part: Part) -> None:
    assert msgspec.json.decode(msgspec.json.encode(part), type=type(part)) == part


def test_what_does_not_apply_is_left_out_and_what_is_false_or_zero_is_not() -> None:
    found = msgspec.json.decode(msgspec.json.encode(STATS))
    assert found["tokens"] == {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}
    assert (found["has_refusal"], found["response_size_bytes"]) == (False, 0)
    assert not {"chunk_count", "raw_usage", "cost_usd"} & found.keys()


def test_raw_json_that_is_missing_is_none() -> None:
    read = msgspec.json.decode(
        b'{"tool_call_id":"c","tool_name":"f","input_size_bytes":0}', type=ToolUse
    )
    assert read.tool_arguments is None


def test_all_parts_are_found_where_the_events_are() -> None:
    parts = [part for part in vars(event_parts).values() if isinstance(part, type(Part))]
    assert len(parts) == 1 + len(Part.__subclasses__())
    assert all(getattr(events, part.__name__) is part for part in parts)
