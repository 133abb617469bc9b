"""What a client that reports nothing is taken to have done, rule by rule."""

from __future__ import annotations

import pytest

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis.inference import Inference
from tests.analysis.agents import Wire, requests
from tests.analysis.exchanges import SESSION, assistant, result, user

CALL = assistant(None, c1="read")
CALLED = (user("fix it"), CALL)


def test_a_prompt_and_its_round_trips_with_tools_are_one_loop() -> None:
    wire = Wire()
    first = wire.turn("fix it", relation="first", answer=CALL)
    assert wire.loops()[0].status == "running"
    second = wire.turn(*CALLED, result("c1", "text"), answer="Fixed.")
    (loop,) = wire.loops()
    assert requests(loop) == [[first], [second]]
    assert loop.status == "completed"
    assert isinstance(loop.continuation_kind, t.Initial)
    assert [turn.triggered_by for turn in loop.turns] == ["user", "continuation"]
    assert loop.loop_id == f"{SESSION}.main.0"


def test_a_result_stands_with_the_turn_that_called_and_nowhere_else() -> None:
    wire = Wire()
    wire.turn("fix it", relation="first", answer=CALL)
    wire.turn(*CALLED, result("c1", "text"), answer="Fixed.")
    first, second = wire.loops()[0].turns
    (outcome,) = first.tool_results
    assert (outcome.tool_call_id, outcome.tool_name, outcome.content) == ("c1", "read", "text")
    assert (outcome.duration_ms, outcome.is_upper_bound) == (1000.0, True)
    assert first.has_tool_calls
    assert second.input_messages == ()
    assert not second.has_tool_calls


def test_text_beside_results_is_steering() -> None:
    wire = Wire()
    wire.turn("fix it", relation="first", answer=CALL)
    wire.turn(*CALLED, result("c1", "text"), user("quickly, please"), new=2)
    (loop,) = wire.loops()
    assert len(loop.turns) == 2
    (said,) = loop.turns[1].input_messages
    assert said.role == "user"


def test_the_next_prompt_opens_the_next_loop() -> None:
    wire = Wire()
    wire.turn("hi", relation="first", answer="Hello.")
    wire.turn("hi", assistant("Hello."), "how are you?")
    first, second = wire.loops()
    assert isinstance(second.continuation_kind, t.Default)
    assert second.parent_loop_id == first.loop_id
    assert first.children_loop_ids == (second.loop_id,)
    assert wire.session().root_loops() == (first,)


def test_a_prompt_while_tools_are_awaited_aborts_the_loop() -> None:
    wire = Wire()
    wire.turn("fix it", relation="first", answer=CALL)
    wire.turn(*CALLED, "stop, do something else")
    first, second = wire.loops()
    assert (first.status, second.status) == ("aborted", "completed")
    assert first.turns[0].tool_results[0].size_bytes is None


def test_the_same_request_after_a_failure_is_another_attempt() -> None:
    wire = Wire()
    first = wire.asks("hi", relation="first")
    wire.answers(first, error="overloaded")
    assert wire.loops()[0].status == "running", "it may be tried again"
    again = wire.turn("hi", relation="retry")
    (loop,) = wire.loops()
    assert requests(loop) == [[first, again]]
    assert [attempt.error for attempt in loop.turns[0].attempts] == ["overloaded", None]
    assert loop.status == "completed"
    assert loop.usage.total_tokens == 22, "what failed was paid for, too"


def test_a_failure_that_nobody_repeats_aborts_the_loop_when_it_happened() -> None:
    wire = Wire()
    first = wire.asks("hi", relation="first")
    wire.answers(first, error="client_closed")
    failed_at = wire.session().last_active_at
    wire.turn("hi", "are you there?", new=2)
    aborted, completed = wire.loops()
    assert (aborted.status, aborted.ended_at) == ("aborted", failed_at)
    assert completed.status == "completed"


def test_the_same_request_after_its_answer_is_a_rerun() -> None:
    wire = Wire()
    wire.turn("hi", relation="first")
    wire.turn("hi", relation="regenerate")
    first, second = wire.loops()
    assert second.continuation_kind == t.Rerun(tag="1")
    assert second.parent_loop_id == first.loop_id
    assert second.turns[0].triggered_by == "branch"


def test_a_branch_hangs_on_the_loop_where_its_history_ends() -> None:
    wire = Wire()
    wire.turn("one", relation="first", answer="1")
    wire.turn("one", assistant("1"), "two", answer="2")
    wire.turn("one", assistant("1"), "two", assistant("2"), "three", answer="3")
    wire.turn("one", assistant("1"), "two, but different", relation="fork")
    loops = wire.loops()
    assert loops[3].continuation_kind == t.Branch(tag="3")
    assert loops[3].parent_loop_id == loops[0].loop_id
    assert wire.session().loop_chain_to(loops[3]) == (loops[0], loops[3])
    assert wire.session().children_of(loops[0]) == (loops[1], loops[3])


def test_a_compaction_keeps_the_summary_that_it_goes_on_from() -> None:
    wire = Wire()
    wire.turn("one", relation="first", answer="1")
    wire.turn("Summary: the user said one.", "go on", new=2, relation="compaction")
    loop = wire.loops()[1]
    assert isinstance(loop.continuation_kind, t.Compaction)
    assert loop.compaction_block == "Summary: the user said one."


def test_a_side_call_is_no_turn_and_has_no_loop() -> None:
    wire = Wire()
    wire.turn("hi", relation="first")
    title = wire.turn("Give this chat a title: hi", relation="side_call")
    session = wire.session()
    assert len(session.loops) == 1
    (call,) = session.side_calls
    assert call.request_id == title
    assert session.total_usage().total_tokens == 22


def test_a_refusal_rejects_the_loop() -> None:
    wire = Wire()
    request = wire.asks("hi", relation="first")
    wire.answers(request, refused=True, finish="content_filter")
    (loop,) = wire.loops()
    assert (loop.status, loop.rejection) == ("rejected", "content_filter")


def test_a_pause_of_the_provider_keeps_the_loop_open() -> None:
    wire = Wire()
    request = wire.asks("search", relation="first")
    wire.answers(request, "Searching.", finish="pause_turn")
    assert wire.loops()[0].status == "running"
    wire.turn("search", assistant("Searching."), new=0)
    (loop,) = wire.loops()
    assert len(loop.turns) == 2
    assert loop.status == "completed"


def test_the_end_of_a_session_aborts_what_is_open() -> None:
    wire = Wire()
    wire.turn("fix it", relation="first", answer=CALL)
    wire.ends()
    assert wire.loops()[0].status == "aborted"
    assert [session.session_id for session in wire.recorder.drain_completed()] == [SESSION]


@pytest.mark.parametrize(
    ("verdict", "formation"),
    [
        ({"source": "explicit"}, t.Explicit()),
        ({"relation": "first"}, t.FirstLoop()),
        (
            {"previous_session_id": "sess_before"},
            t.InactivityTimeout(threshold_secs=60.0, previous_session_id="sess_before"),
        ),
    ],
)
def test_how_a_session_came_to_be(verdict: dict[str, str], formation: t.SessionFormation) -> None:
    wire = Wire()
    wire.inference = Inference(idle_seconds=60.0)
    wire.turn("hi", **{"relation": "first", **verdict})
    assert wire.session().formation == wire.loops()[0].formation == formation


def test_without_content_nothing_that_was_said_is_kept() -> None:
    wire = Wire()
    wire.inference = Inference(content=False)
    wire.turn("fix the secret", relation="first", answer=CALL)
    wire.turn(*CALLED, result("c1", "secret"), answer="The secret.")
    assert "secret" not in str(wire.session())
    assert wire.loops()[0].tool_calls == {"read": 1}


def test_sessions_beyond_the_limit_begin_anew() -> None:
    wire = Wire()
    wire.inference = Inference(threads_kept=1)
    wire.turn("one", relation="first", session="sess_a")
    wire.turn("two", relation="first", session="sess_b")
    assert len(wire.inference._threads) == 1


def test_a_refused_request_that_is_sent_again_is_a_rerun() -> None:
    wire = Wire()
    request = wire.asks("hi", relation="first")
    wire.answers(request, refused=True, error="guardrail")
    wire.turn("hi", relation="retry")
    first, second = wire.loops()
    assert (first.status, first.rejection, second.status) == ("rejected", "guardrail", "completed")
    assert second.continuation_kind == t.Rerun(tag="1")


def test_the_names_of_loops_say_which_agent_it_is() -> None:
    wire = Wire()
    wire.turn("hi", relation="first", headers=(("x-claude-code-agent-type", "Explore"),))
    (loop,) = wire.loops()
    assert (loop.agent_id, loop.loop_id) == ("Explore", f"{SESSION}.Explore.0")


def test_a_session_that_was_known_before_uses_no_name_of_a_loop_again() -> None:
    """The recorder was started again; what it recorded before must stay."""
    wire = Wire()
    wire.turn("hi", assistant("Hello."), "how are you?")
    wire.turn("hi", assistant("Hello."), "how are you?", assistant("Done."), "fine")
    first, second = (int(loop.loop_id.rpartition(".")[2]) for loop in wire.loops())
    assert second == first + 1
    assert first > 1_000_000_000, "the time in seconds: more than anybody counts loops"


def test_an_exchange_whose_request_nobody_saw_has_its_turn_all_the_same() -> None:
    wire = Wire()
    wire.answers("req_lost", CALL)
    wire.answers("req_lost_too", "Done.")
    (loop,) = wire.loops()
    assert requests(loop) == [["req_lost"], ["req_lost_too"]]
    assert (loop.status, loop.usage.total_tokens) == ("completed", 22)


def test_a_session_of_side_calls_alone_ends_too() -> None:
    wire = Wire()
    wire.turn("Give this chat a title: hi", relation="side_call")
    wire.ends()
    (session,) = wire.recorder.drain_completed()
    assert (session.loops, len(session.side_calls)) == ((), 1)
    assert wire.recorder.sessions() == []


def test_a_summary_is_left_out_where_texts_are_not_recorded() -> None:
    wire = Wire()
    wire.inference = Inference(content=False, summaries=False)
    wire.turn("one", relation="first", answer="1")
    wire.turn("Summary: the user said one.", "go on", new=2, relation="compaction")
    loop = wire.loops()[1]
    assert isinstance(loop.continuation_kind, t.Compaction)
    assert loop.compaction_block is None
