"""Turns while they are written."""

from __future__ import annotations

from typing import Any

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis.agent_tree import ToolOutcome, Usage
from gateway_sessions.analysis.turn_drafts import TurnDraft

IDS: dict[str, Any] = {"session_id": "s", "loop_id": "l"}


def test_an_end_without_a_request_id_ends_the_newest_attempt() -> None:
    turn = TurnDraft(0, "user", 1.0)
    turn.begin(a.TurnStart(**IDS, at=1.0, turn_index=0))
    turn.end(a.TurnEnd(**IDS, at=3.0, turn_index=0, usage=Usage(input=2)))
    (attempt,) = turn.record("l").attempts
    assert (attempt.started_at, attempt.ended_at, attempt.usage.input) == (1.0, 3.0, 2)


def test_an_end_before_its_beginning_makes_one_attempt() -> None:
    turn = TurnDraft(0, "user", 3.0)
    turn.end(a.TurnEnd(**IDS, at=3.0, turn_index=0, request_id="r"))
    turn.begin(a.TurnStart(**IDS, at=1.0, turn_index=0, request_id="r"))
    (attempt,) = turn.record("l").attempts
    assert (attempt.started_at, attempt.ended_at) == (1.0, 3.0)
    assert turn.record("l").duration == 2.0


def test_what_all_attempts_took_counts() -> None:
    turn = TurnDraft(0, "user", 1.0)
    for number in range(3):
        name = f"r{number}"
        turn.begin(a.TurnStart(**IDS, at=1.0, turn_index=0, request_id=name))
        usage = Usage(input=number, cost_usd=0.5)
        turn.end(a.TurnEnd(**IDS, at=2.0, turn_index=0, request_id=name, usage=usage))
    assert turn.usage() == Usage(input=3, cost_usd=1.5)


def test_a_turn_with_an_attempt_under_way_is_not_over() -> None:
    turn = TurnDraft(0, "user", 1.0)
    for name in ("r1", "r2"):
        turn.begin(a.TurnStart(**IDS, at=1.0, turn_index=0, request_id=name))
    turn.end(a.TurnEnd(**IDS, at=2.0, turn_index=0, request_id="r1"))
    assert not turn.is_over
    turn.end(a.TurnEnd(**IDS, at=3.0, turn_index=0, request_id="r2"))
    assert turn.is_over


def test_a_turn_is_settled_when_it_is_over_and_its_tools_are() -> None:
    turn = TurnDraft(0, "user", 1.0)
    assert not turn.is_settled
    turn.end(a.TurnEnd(**IDS, at=2.0, turn_index=0))
    assert turn.is_settled
    turn.tools["c"] = ToolOutcome(tool_call_id="c", tool_name="read")
    assert not turn.is_settled
    turn.tools["c"] = ToolOutcome(tool_call_id="c", tool_name="read", size_bytes=0)
    assert turn.is_settled
