"""The table of a loop's life, entry by entry."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis import loop_states
from gateway_sessions.analysis.agent_tree import LoopStatus
from gateway_sessions.analysis.loop_states import OPEN, next_status

IDS: dict[str, Any] = {"session_id": "s", "loop_id": "l", "at": 1.0}
OVER: list[LoopStatus] = ["completed", "rejected", "aborted"]
OUTCOMES: list[a.Outcome] = ["completed", "rejected", "aborted"]


@pytest.mark.parametrize("status", sorted(OPEN))
def test_what_moves_an_open_loop(status: LoopStatus) -> None:
    assert next_status(status, a.TurnStart(**IDS, turn_index=0)) == "running"
    assert next_status(status, a.InputRejected(**IDS, reason="no")) == "rejected"
    for outcome in OUTCOMES:
        assert next_status(status, a.AgentEnd(**IDS, outcome=outcome)) == outcome


@pytest.mark.parametrize("status", OVER)
def test_nothing_moves_a_loop_that_is_over(status: LoopStatus) -> None:
    for event in (
        a.TurnStart(**IDS, turn_index=0),
        a.InputRejected(**IDS, reason="no"),
        a.AgentEnd(**IDS),
        a.ToolExecutionEnd(**IDS, tool_call_id="c"),
    ):
        assert next_status(status, event) == status


def test_other_events_move_nothing() -> None:
    for status in get_args(LoopStatus):
        assert next_status(status, a.ProgressMessage(**IDS, text="…")) == status


def test_every_status_is_reached() -> None:
    reached = {next_status(status, a.TurnStart(**IDS, turn_index=0)) for status in OPEN}
    reached |= {next_status("running", a.AgentEnd(**IDS, outcome=o)) for o in OUTCOMES}
    assert reached | {"pending"} == set(get_args(LoopStatus))


def test_the_table_in_words_names_every_event_of_the_table_in_code() -> None:
    for _, event in loop_states._NEXT:
        assert event.__name__ in (loop_states.__doc__ or "")
