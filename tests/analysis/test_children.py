"""Which sub-agent works for which call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import children
from gateway_sessions.analysis.children import CONFIRMED
from tests.analysis.agents import Wire
from tests.analysis.exchanges import SESSION, assistant, result, user

TASK = "Find all callers of the function load in the package."
OTHER = "Write a test for the parser of configuration files."


def spawning(**tasks: str) -> dict[str, Any]:
    message = assistant(None, **dict.fromkeys(tasks, "task"))
    for call in message["tool_calls"]:
        arguments = {"description": "x", "prompt": tasks[call["id"]]}
        call["function"]["arguments"] = json.dumps(arguments)
    return message


def ref(wire: Wire, session: str) -> t.SpawnRef:
    found = wire.session(session).parent_spawn_ref
    assert found is not None
    return found


def child(wire: Wire, session: str, task: str, answer: str = "There are three.") -> None:
    wire.turn(task, relation="subagent", session=session, parent=SESSION, answer=answer)


def test_a_sub_agent_is_linked_with_the_call_and_confirmed_by_its_result() -> None:
    wire = Wire()
    call = spawning(c1=TASK)
    wire.turn("refactor", relation="first", answer=call)
    child(wire, "sess_child", TASK)
    assert ref(wire, "sess_child") == t.SpawnRef(
        parent_session_id=SESSION,
        parent_loop_id=f"{SESSION}.main.0",
        tool_call_id="c1",
        tool_name="task",
        confidence=0.95,
    )
    wire.turn(user("refactor"), call, result("c1", "Report: There are three."))
    assert ref(wire, "sess_child").confirmed
    assert ref(wire, "sess_child").confidence == CONFIRMED
    (link,) = wire.loops()[0].child_loop_refs
    assert (link.tool_call_id, link.child_session_id) == ("c1", "sess_child")
    assert link.child_loop_id == wire.loops("sess_child")[0].loop_id
    assert wire.loops()[0].children_loop_ids == (link.child_loop_id,)


def test_what_a_sub_agent_is() -> None:
    wire = Wire()
    wire.turn("refactor", relation="first", answer=spawning(c1=TASK))
    child(wire, "sess_child", TASK)
    session = wire.session("sess_child")
    assert (session.scope, session.agent_id) == ("ephemeral", "subagent")
    assert session.loops[0].turns[0].triggered_by == "sub_agent"
    assert session.loops[0].spawn_ref == session.parent_spawn_ref


def test_a_result_without_the_answer_confirms_nothing() -> None:
    wire = Wire()
    call = spawning(c1=TASK)
    wire.turn("refactor", relation="first", answer=call)
    child(wire, "sess_child", TASK)
    wire.turn(user("refactor"), call, result("c1", "error: timed out"))
    assert not ref(wire, "sess_child").confirmed


def test_sub_agents_of_one_answer_are_a_fan() -> None:
    wire = Wire()
    call = spawning(c1=TASK, c2=OTHER)
    wire.turn("refactor", relation="first", answer=call)
    child(wire, "sess_one", TASK)
    assert wire.loops("sess_one")[0].parallel_group is None, "one is no fan"
    child(wire, "sess_two", OTHER)
    one, two = wire.loops("sess_one")[0], wire.loops("sess_two")[0]
    assert one.parallel_group is not None
    assert one.parallel_group == two.parallel_group
    assert one.parallel_group.kind == "fanout"
    assert one.parallel_group.all_loop_ids == (one.loop_id, two.loop_id)


def test_sub_agents_of_two_answers_are_none() -> None:
    wire = Wire()
    wire.turn("refactor", relation="first", answer=(call := spawning(c1=TASK)))
    child(wire, "sess_one", TASK)
    more = spawning(c2=OTHER)
    wire.turn(user("refactor"), call, result("c1", "There are three."), answer=more)
    child(wire, "sess_two", OTHER)
    assert wire.loops("sess_two")[0].parallel_group is None


def test_twins_stay_ambiguous_until_a_result_tells() -> None:
    wire = Wire()
    call = spawning(c1=TASK, c2=TASK)
    wire.turn("refactor", relation="first", answer=call)
    child(wire, "sess_one", TASK, answer="Three, says the first.")
    child(wire, "sess_two", TASK, answer="Four, says the second.")
    one, two = ref(wire, "sess_one"), ref(wire, "sess_two")
    assert (one.tool_call_id, two.tool_call_id) == ("c1", "c2")
    assert one.candidates == two.candidates == ("c1", "c2")
    assert one.confidence == two.confidence == 0.475
    wire.turn(
        user("refactor"),
        call,
        result("c1", "Four, says the second."),
        result("c2", "Three, says the first."),
        new=2,
    )
    one, two = ref(wire, "sess_one"), ref(wire, "sess_two")
    assert (one.tool_call_id, two.tool_call_id) == ("c2", "c1")
    assert one.confirmed
    assert two.confirmed
    refs = {link.tool_call_id: link.child_session_id for link in wire.loops()[0].child_loop_refs}
    assert refs == {"c1": "sess_two", "c2": "sess_one"}


def test_a_sub_agent_that_fits_no_call_is_the_child_of_its_parent_all_the_same() -> None:
    wire = Wire()
    wire.turn("refactor", relation="first", answer=spawning(c1=TASK))
    child(wire, "sess_child", "Something else altogether, from a template.")
    spawn = ref(wire, "sess_child")
    assert (spawn.parent_session_id, spawn.tool_call_id) == (SESSION, "")
    child(wire, "sess_lost", TASK)
    assert ref(wire, "sess_lost").tool_call_id == "c1"


def test_the_parent_may_be_unknown() -> None:
    wire = Wire()
    child(wire, "sess_child", TASK)
    assert ref(wire, "sess_child").parent_session_id == SESSION


def test_links_and_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LINKS_KEPT", 3)
    wire = Wire()
    for number in range(8):
        lead = f"sess_lead{number}"
        wire.turn("refactor", relation="first", session=lead, answer=spawning(c1=TASK))
        wire.turn(TASK, relation="subagent", session=f"sess_{number}", parent=lead)
    known = wire.inference._children
    assert list(known._links) == ["sess_5", "sess_6", "sess_7"]
    assert list(known._by_parent) == ["sess_lead5", "sess_lead6", "sess_lead7"]
    assert len(known._fans) == 3


def test_a_sub_agent_that_is_forgotten_leaves_its_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LINKS_KEPT", 1)
    wire = Wire()
    wire.turn("refactor", relation="first", answer=spawning(c1=TASK, c2=OTHER))
    child(wire, "sess_one", TASK)
    child(wire, "sess_two", OTHER)
    siblings = wire.inference._children._by_parent[SESSION]
    assert [link.child_session_id for link in siblings] == ["sess_two"]


def test_a_group_is_over_when_all_calls_have_results() -> None:
    wire = Wire()
    call = spawning(c1=TASK, c2=OTHER)
    wire.turn("refactor", relation="first", answer=call)
    child(wire, "sess_one", TASK)
    child(wire, "sess_two", OTHER)
    results = (result("c1", "There are three."), result("c2", "There are three."))
    wire.turn(user("refactor"), call, *results, new=2)
    assert not wire.inference._children._fans
    group = wire.loops("sess_one")[0].parallel_group
    assert group is not None
    assert (group.kind, group.selected_loop_id, group.evaluation_usage) == ("fanout", None, None)
