"""Several answers to one request, and which of them counts."""

from __future__ import annotations

from gateway_sessions.analysis import agent_tree as t
from tests.analysis.agents import Wire, requests
from tests.analysis.exchanges import assistant, result, user

CALL = assistant(None, c1="read")


def test_equal_requests_at_the_same_time_are_judged_by_what_goes_on() -> None:
    wire = Wire()
    one = wire.asks("hi", relation="first")
    other = wire.asks("hi", relation="retry")
    wire.answers(one, "Hello.")
    wire.answers(other, "Good day.")
    wire.turn("hi", assistant("Good day."), "thanks")
    first, second, _ = wire.loops()
    assert requests(first) == [[one]]
    assert requests(second) == [[other]]
    assert first.parallel_group is not None
    assert second.parallel_group is not None
    assert first.parallel_group.kind == "evaluation"
    assert first.parallel_group.all_loop_ids == (first.loop_id, second.loop_id)
    assert (first.parallel_group.is_selected, second.parallel_group.is_selected) == (False, True)
    assert wire.session().parallel_siblings(first) == (second,)


def test_other_answers_to_one_request_are_loops_without_turns() -> None:
    wire = Wire()
    request = wire.asks("hi", relation="first")
    wire.answers(request, "Hello.", others=["Good day.", "Howdy."])
    wire.turn("hi", assistant("Good day."), "thanks")
    first, second, third, last = wire.loops()
    assert [requests(loop) for loop in (first, second, third)] == [[[request]], [], []]
    assert [loop.status for loop in (first, second, third)] == 3 * ["completed"]
    group = second.parallel_group
    assert group is not None
    assert (group.kind, group.is_selected, group.selected_config_index) == ("evaluation", True, 1)
    assert group.all_loop_ids == (first.loop_id, second.loop_id, third.loop_id)
    assert group.evaluation_usage == t.Usage(input=10, output=1)
    assert last.parent_loop_id == second.loop_id


def test_another_answer_with_calls_goes_on_where_their_results_come() -> None:
    wire = Wire()
    request = wire.asks("fix it", relation="first")
    wire.answers(request, "I can not.", others=[assistant(None, c9="read")])
    again = wire.turn(user("fix it"), assistant(None, c9="read"), result("c9", "text"))
    first, second = wire.loops()
    assert (requests(first), requests(second)) == ([[request]], [[again]])
    assert second.parallel_group is not None
    assert second.parallel_group.is_selected
    assert second.status == "completed"


def test_rivals_that_are_not_gone_on_with_are_given_up() -> None:
    wire = Wire()
    one = wire.asks("fix it", relation="first")
    other = wire.asks("fix it", relation="retry")
    wire.answers(one, CALL)
    wire.answers(other, assistant(None, c2="read"))
    wire.turn(user("fix it"), assistant(None, c2="read"), result("c2", "text"), answer="Fixed.")
    first, second = wire.loops()
    assert (first.status, second.status) == ("aborted", "completed")
    assert second.turns[0].tool_results[0].content == "text"
    assert len(second.turns) == 2


def test_a_rival_that_fails_is_aborted_and_the_other_goes_on() -> None:
    wire = Wire()
    one = wire.asks("hi", relation="first")
    other = wire.asks("hi", relation="retry")
    wire.answers(other, error="overloaded")
    wire.answers(one, "Hello.")
    first, second = wire.loops()
    assert (first.status, second.status) == ("completed", "aborted")


def test_one_of_several_answers_may_itself_be_asked_for_again() -> None:
    wire = Wire()
    one = wire.asks("hi", relation="first")
    other = wire.asks("hi", relation="retry")
    wire.answers(one, "Hello.", others=["Good day."])
    wire.answers(other, "Howdy.")
    wire.turn("hi", assistant("Howdy."), "thanks")
    groups = [loop.parallel_group for loop in wire.loops()[:3]]
    assert all(group is not None and len(group.all_loop_ids) == 3 for group in groups)
    assert [group.is_selected for group in groups if group] == [False, True, False]


def test_an_answer_that_nobody_gave_chooses_none() -> None:
    wire = Wire()
    wire.answers(wire.asks("hi", relation="first"), "Hello.", others=["Good day."])
    wire.turn("hi", assistant("Edited."), "thanks")
    group = wire.loops()[0].parallel_group
    assert group is not None
    assert (group.selected_loop_id, group.selected_config_index) == (None, None)
    assert [loop.status for loop in wire.loops()] == ["completed", "completed", "completed"]
