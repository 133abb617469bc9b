"""Loops and sessions while they are written."""

from __future__ import annotations

from typing import Any

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis.agent_tree import Usage
from gateway_sessions.analysis.drafts import LoopDraft, SessionDraft

IDS: dict[str, Any] = {"session_id": "s", "loop_id": "l"}


def test_tools_before_any_turn_belong_to_the_first() -> None:
    loop = LoopDraft("l", "s", 1.0)
    loop.apply(a.ToolExecutionEnd(**IDS, at=2.0, tool_call_id="c", content="x"))
    loop.apply(a.ToolExecutionStart(**IDS, at=1.0, tool_call_id="c", tool_name="read"))
    loop.apply(a.TurnStart(**IDS, at=1.0, turn_index=0))
    (outcome,) = loop.record().turns[0].tool_results
    assert (outcome.tool_name, outcome.content, outcome.size_bytes) == ("read", "x", 0)


def test_what_was_handed_on_is_let_go_of_and_still_counts() -> None:
    loop = LoopDraft("l", "s", 1.0)
    for index in range(3):
        loop.apply(a.TurnStart(**IDS, at=1.0, turn_index=index))
        loop.apply(a.TurnEnd(**IDS, at=1.0, turn_index=index, usage=Usage(input=1)))
    assert len(loop.hand_on().turns) == 3
    assert list(loop.turns) == [2], "the newest may still change"
    record = loop.record()
    assert (record.turn_count, record.usage.input) == (3, 3)


def test_a_turn_that_goes_on_when_its_loop_is_over_is_kept() -> None:
    loop = LoopDraft("l", "s", 1.0)
    for index in range(2):
        loop.apply(a.TurnStart(**IDS, at=1.0, turn_index=index, request_id=f"r{index}"))
    loop.apply(a.TurnEnd(**IDS, at=2.0, turn_index=1, request_id="r1"))
    loop.take(a.AgentEnd(**IDS, at=2.0))
    loop.hand_on()
    assert list(loop.turns) == [0]
    loop.apply(a.TurnEnd(**IDS, at=3.0, turn_index=0, request_id="r0"))
    record = loop.hand_on()
    assert (record.turn_count, [turn.turn_id.turn_index for turn in record.turns]) == (2, [0])


def test_a_summary_is_handed_on_once() -> None:
    loop = LoopDraft("l", "s", 1.0)
    loop.apply(a.CompactionEnded(**IDS, at=1.0, block="They said hi."))
    assert [loop.hand_on().compaction_block for _ in range(3)] == ["They said hi.", None, None]
    assert loop.record().compaction_block == "They said hi."


def test_an_abort_never_ends_before_the_beginning() -> None:
    loop = LoopDraft("l", "s", 5.0)
    loop.abort(3.0)
    assert (loop.status, loop.ended_at) == ("aborted", 5.0)


def test_a_loop_that_is_over_can_not_be_aborted() -> None:
    loop = LoopDraft("l", "s", 1.0)
    loop.take(a.AgentEnd(**IDS, at=2.0))
    loop.abort(3.0)
    assert (loop.status, loop.ended_at) == ("completed", 2.0)


def test_a_session_is_open_while_a_loop_is() -> None:
    session = SessionDraft("s", 1.0)
    assert not session.is_open
    session.loop("l", 1.0)
    assert session.is_open
