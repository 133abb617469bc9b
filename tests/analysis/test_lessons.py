"""What recorders of agents get wrong; the rows that have no place of their own elsewhere."""

from __future__ import annotations

from typing import Any, get_args

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis.agent_events import AgentStart
from tests.analysis.agents import Wire
from tests.analysis.exchanges import assistant, result, user

CALL = assistant(None, c1="read")


def busy_wire() -> list[t.Session]:
    """Return how sessions look, step by step, in which everything happens."""
    wire = Wire()
    seen: list[t.Session] = []
    original = wire.recorder.on_event

    def watched(event: Any) -> bool:
        answer = original(event)
        seen.extend(wire.recorder.sessions())
        return answer

    wire.recorder.on_event = watched  # type: ignore[method-assign]
    wire.turn("fix it", relation="first", answer=CALL, source="explicit")
    wire.turn(
        "look for it", relation="subagent", session="sess_b", parent="sess_0123456789abcdefghjk"
    )
    wire.turn(user("fix it"), CALL, result("c1", "text"))
    wire.turn("fix it", relation="regenerate")
    wire.turn("fix that", relation="fork")
    wire.turn("Summary", "go on", new=2, relation="compaction")
    one = wire.asks("and now?", relation="continue")
    two = wire.asks("and now?", relation="retry")
    wire.answers(one, "This.")
    wire.answers(two, refused=True, finish="refusal")
    wire.turn("hi", relation="first", session="sess_c", previous_session_id="sess_0")
    wire.turn("start over", relation="reset", session="sess_d", reason="“start over”")
    wire.answers(wire.asks("x", relation="first", session="sess_e"), error="client_closed")
    wire.recorder.flush()
    return seen + wire.recorder.drain_completed()


def test_there_is_no_state_that_nothing_ever_sets() -> None:
    seen = busy_wire()
    loops = [loop for session in seen for loop in session.loops]
    turns = [turn for loop in loops for turn in loop.turns]
    assert {loop.status for loop in loops} == set(get_args(t.LoopStatus))
    assert {type(loop.continuation_kind) for loop in loops} == set(get_args(t.ContinuationKind))
    assert {type(session.formation) for session in seen} == set(get_args(t.SessionFormation))
    assert {session.scope for session in seen} == set(get_args(t.SessionScope))
    assert {turn.triggered_by for turn in turns} == set(get_args(t.TurnTrigger))


def test_dots_in_ids_are_harmless() -> None:
    wire = Wire()
    agent = (("x-openai-subagent", "code.review.2"),)
    wire.turn("hi", relation="first", session="s.1", headers=agent, answer="Hello.")
    wire.turn("hi", assistant("Hello."), "bye", session="s.1")
    first, second = wire.loops("s.1")
    assert (second.session_id, second.agent_id) == ("s.1", "code.review.2")
    assert second.parent_loop_id == first.loop_id == "s.1.code.review.2.0"
    assert wire.session("s.1").loop_chain_to(second) == (first, second)


def test_what_an_event_does_not_say_stays_as_it_was() -> None:
    wire = Wire()
    wire.turn("hi", relation="first", session="s")
    before = wire.session("s")
    loop = before.loops[0]
    wire.recorder.on_event(
        AgentStart(
            session_id="s",
            loop_id=loop.loop_id,
            at=loop.started_at + 99,
            agent_id=loop.agent_id,
            config=loop.config,
        )
    )
    after = wire.session("s").loops[0]
    assert (after.status, after.started_at, after.usage) == (
        loop.status,
        loop.started_at,
        loop.usage,
    )
