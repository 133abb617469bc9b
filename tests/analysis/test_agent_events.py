"""Agent events travel as JSON."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.conversation import Message, Text

IDS: dict[str, Any] = {"session_id": "s", "loop_id": "l", "at": 1.5}
CASES: list[a.AgentEvent] = [
    a.AgentStart(**IDS, agent_id="main", continuation=t.Rerun(tag="1"), formation=t.Explicit()),
    a.TurnEnd(
        **IDS, turn_index=2, output_message=Message("assistant", (Text("hi"),)), error="late"
    ),
    a.ToolExecutionEnd(**IDS, tool_call_id="c", is_error=True, duration_ms=2.5),
    a.SessionEnd(**IDS),
]


@pytest.mark.parametrize("event", CASES, ids=lambda event: type(event).__name__)
def test_an_event_is_read_back_as_it_was(event: a.AgentEvent) -> None:
    raw = msgspec.json.encode(event)
    assert msgspec.json.decode(raw, type=a.AnyAgentEvent) == event


def test_every_event_is_in_the_union() -> None:
    assert set(get_args(a.AnyAgentEvent)) == set(a.AgentEvent.__subclasses__())
