"""Events made by hand, files read strictly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions import events as e
from gateway_sessions.recording.session_lines import event_line, first_line

DAY = "2026-01-31"
NOON = f"{DAY}T12:00:00.000000Z"
NOON_UNIX = 1_769_860_800.0
A_DAY = 86_400.0


def started(
    session_id: str = "sess_a",
    at: str = NOON,
    *,
    relation: str = "first",
    request_id: str = "req_1",
) -> e.Started:
    return e.Started(
        session_id=session_id,
        request_id=request_id,
        timestamp=at,
        model_requested="m",
        provider="openai",
        listener="openai_chat",
        is_streaming=False,
        root_session_id=session_id,
        relation=relation,
        source="new",
        confidence=1.0,
        metadata=e.Metadata(request_headers={"user-agent": "test"}),
    )


def failed(
    session_id: str = "sess_a", at: str = NOON, *, message: str = "no", **more: Any
) -> e.Error:
    """Return the smallest event that holds any text and any value."""
    return e.Error(
        session_id=session_id,
        request_id="req_1",
        timestamp=at,
        error_type="t",
        error_message=message,
        error_details=more or None,
    )


def requested(session_id: str = "sess_a", at: str = NOON, body: bytes = b"{}") -> e.RequestRecorded:
    return e.RequestRecorded(
        session_id=session_id,
        request_id="req_1",
        timestamp=at,
        model_requested="m",
        relation="first",
        source="new",
        confidence=1.0,
        estimated_tokens=1,
        pre_processing_ms=0.1,
        request_size_bytes=len(body),
        message_count=1,
        history_messages=0,
        has_system_prompt=False,
        has_tools=False,
        tool_count=0,
        is_streaming=False,
        request_json=msgspec.Raw(body),
    )


def completed(session_id: str = "sess_a", at: str = NOON) -> e.Completed:
    zeros: dict[str, Any] = dict.fromkeys(e.Performance.__struct_fields__, 0.0)
    tokens: dict[str, Any] = dict.fromkeys(e.TotalTokens.__struct_fields__, 0) | {"by_model": {}}
    return e.Completed(
        session_id=session_id,
        request_id="req_1",
        timestamp=at,
        success=True,
        reason="expired",
        final_stats=e.FinalStats(
            total_duration_ms=1.0,
            provider_time_ms=1.0,
            proxy_overhead_ms=0.0,
            request_count=1,
            total_tokens=e.TotalTokens(**tokens),
            tool_summary=e.ToolSummary(
                total_tool_calls=0,
                unique_tool_count=0,
                by_tool={},
                total_tool_time_ms=0.0,
                tool_error_count=0,
            ),
            performance=e.Performance(**zeros),
            estimated_cost=e.EstimatedCost(
                provider="openai",
                model="m",
                input_cost_usd=None,
                output_cost_usd=None,
                total_cost_usd=None,
                cost_per_1k_tokens=None,
            ),
        ),
        total_input=0,
        total_output=0,
        total_thinking=0,
        total_reasoning=0,
        grand_total=0,
    )


def put(
    root: Path,
    *events: e.SessionEvent,
    day: str = DAY,
    stem: str | None = None,
    changed: float = NOON_UNIX,
) -> Path:
    """Write a session's file as the writer does, last changed at a time."""
    path = root / day / f"{stem or events[0].session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [event_line(event) for event in events]
    path.write_bytes(first_line(lines[0]) + b"".join(lines[1:]))
    os.utime(path, (changed, changed))
    return path


def strictly(text: bytes) -> list[dict[str, Any]]:
    """Return the lines of a file; fails on whatever a strict reader would not take."""
    assert text.endswith(b"\n")
    lines = text.decode("utf-8").splitlines()
    assert len(lines) == text.count(b"\n"), "a character that some take for a line's end"
    return [_strict(line) for line in lines]


def _strict(line: str) -> dict[str, Any]:
    def no_constant(name: str) -> None:
        raise AssertionError(name)

    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    found = json.loads(line, parse_constant=no_constant, object_pairs_hook=no_repeats)
    assert isinstance(found, dict)
    return found
