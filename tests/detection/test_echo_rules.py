"""Sub-agents: what the rule says of requests that open with a pending task."""

from __future__ import annotations

import pytest

from gateway_sessions.detection.echo_rules import START_SECONDS
from gateway_sessions.detection.side_calls import MOMENT_SECONDS, SHORT
from gateway_sessions.testing import (
    Desk,
    Json,
    tool_call,
    tool_result,
    user,
)
from tests.detection.agents import CHILD, OTHER_TASK, TASK, agent, child, giving, offered, results

pytestmark = pytest.mark.usefixtures("both_ways")


class TestSubagent:
    def test_it_opens_with_the_task(self) -> None:
        desk = Desk(explain=True)
        parent = agent(desk).ask("Tidy up the project.", giving(TASK))
        found = child(desk).send([user(TASK)]).tag
        assert (found.relation, found.source) == ("subagent", "echo")
        assert found.session_id != parent.session_id
        assert found.parent_session_id == found.root_session_id == parent.session_id
        assert found.explain[-1]["rule"] == "subagent"
        assert found.confidence == 0.95

    def test_the_task_is_wrapped(self) -> None:
        desk = Desk()
        parent = agent(desk).ask("Tidy up the project.", giving(TASK))
        wrapped = f"<context>\nToday is Monday.\n</context>\n\n{TASK}\n\nReport in three sentences."
        found = child(desk).send([user(wrapped)]).tag
        assert (found.relation, found.parent_session_id) == ("subagent", parent.session_id)
        assert 0.6 < found.confidence < 0.9

    def test_a_short_task_in_much_other_text_is_none(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        around = "This is about something else, which happens to be long. " * 4
        found = child(desk).send([user(f"{around}{TASK} {around}")]).tag
        assert (found.relation, found.parent_session_id) == ("first", None)

    def test_a_long_task_is_known_in_any_text(self) -> None:
        desk = Desk()
        task = f"{TASK} {OTHER_TASK} {TASK.upper()}"
        parent = agent(desk).ask("Tidy up the project.", giving(task))
        rules = "Rules of the house are many and they go on and on and on. " * 30
        found = child(desk).send([user(rules + task)]).tag
        assert found.parent_session_id == parent.session_id

    def test_half_a_task_is_none(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        assert child(desk).send([user(TASK[: len(TASK) // 2])]).tag.relation == "first"

    def test_most_of_a_long_task_is_none(self) -> None:
        desk = Desk()
        task = " ".join([TASK, OTHER_TASK, CHILD, TASK[::-1], OTHER_TASK[::-1]])
        agent(desk).ask("Tidy up the project.", giving(task))
        assert child(desk).send([user(task[:-40])]).tag.relation == "first"

    def test_tiny_arguments_are_no_tasks(self) -> None:
        desk = Desk()
        agent(desk).ask("Where is it?", giving("main.py"))
        assert child(desk).send([user("main.py")]).tag.relation == "first"

    @pytest.mark.parametrize(("size", "relation"), [(SHORT - 1, "first"), (SHORT, "subagent")])
    def test_a_short_argument_may_be_anybodys_words(self, size: int, relation: str) -> None:
        desk = Desk()
        task = TASK.replace(" ", "")[:size]
        agent(desk).ask("Is it up to date?", giving(task))
        assert child(desk, ip="192.0.2.9").send([user(task)]).tag.relation == relation

    @pytest.mark.parametrize("opening", ["Run the tests.", "Your task:\nRun the tests.\n\nGo!"])
    def test_a_short_task_at_once(self, opening: str) -> None:
        desk = Desk()
        parent = agent(desk).ask("Is it up to date?", giving("Run the tests."))
        found = child(desk).send([user(opening)]).tag
        assert (found.relation, found.parent_session_id) == ("subagent", parent.session_id)

    @pytest.mark.parametrize("opening", ["Run the tests. Then rest.", "Please run the tests."])
    def test_a_short_task_among_others_words(self, opening: str) -> None:
        desk = Desk()
        agent(desk).ask("Is it up to date?", giving("Run the tests."))
        assert child(desk).send([user(opening)]).tag.relation == "first"

    def test_a_short_task_later(self) -> None:
        desk = Desk()
        agent(desk).ask("Is it up to date?", giving("Run the tests."))
        desk.clock.advance(MOMENT_SECONDS + 1)
        assert child(desk).send([user("Run the tests.")]).tag.relation == "first"

    def test_a_short_task_for_an_heir(self) -> None:
        desk = Desk()
        lead = agent(desk)
        parent = lead.ask("Tidy up the project.", "Gladly.")
        lead.ask("Is it up to date?", giving("Run the tests."))
        desk.clock.advance(60)
        heir = child(desk)
        copy = [*lead.history[:3], user("Run the tests.")]
        found = heir.send(copy).tag
        assert (found.relation, found.parent_session_id) == ("subagent", parent.session_id)

    def test_an_heir_beside_a_child_that_was_told_the_same(self) -> None:
        desk = Desk()
        other, lead = agent(desk), agent(desk)
        other.ask("Work on it.", giving(OTHER_TASK))
        elder = child(desk).ask(OTHER_TASK, "It is done.")
        parent = lead.ask(OTHER_TASK, "It is done.")
        lead.ask("And now?", giving(TASK))
        found = child(desk).send([*lead.history[:2], user("And now?"), user(TASK)]).tag
        assert (elder.relation, found.relation) == ("subagent", "subagent")
        assert found.parent_session_id == parent.session_id

    def test_another_user_of_the_same_application_types_a_task(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        tag = agent(desk).send([user(TASK)]).tag
        assert (tag.relation, tag.parent_session_id) == ("first", None)

    def test_children_of_children_share_their_parents_instructions(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        middle = child(desk).ask(TASK, giving(OTHER_TASK))
        leaf = child(desk).send([user(OTHER_TASK)]).tag
        assert (leaf.relation, leaf.parent_session_id) == ("subagent", middle.session_id)

    def test_children_of_children_with_a_copy_of_the_history(self) -> None:
        desk = Desk()
        lead, middle, leaf = agent(desk), child(desk), child(desk)
        lead.ask("Tidy up the project.", "Shall I begin with the parser?")
        lead.ask("Yes.", giving(TASK))
        middle.history = lead.history[:3]
        parent = middle.ask(TASK, giving(OTHER_TASK))
        found = leaf.send([*middle.history[:-1], user(OTHER_TASK)]).tag
        assert (found.relation, found.parent_session_id) == ("subagent", parent.session_id)

    @pytest.mark.parametrize(
        ("system", "seconds", "relation"),
        [("You chat.", MOMENT_SECONDS + 1, "first"), ("You chat.", 1, "subagent"),
         (CHILD, MOMENT_SECONDS + 1, "subagent")],
        ids=["of another kind", "of another kind, at once", "of the same kind"],
    )  # fmt: skip
    def test_another_that_opens_with_a_task_that_was_taken(
        self, system: str, seconds: float, relation: str
    ) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        assert child(desk).ask(TASK, "Two places.").relation == "subagent"
        desk.clock.advance(seconds)
        assert child(desk, system=system).send([user(TASK)]).tag.relation == relation

    @pytest.mark.parametrize(
        ("tools", "relation"), [(["task"], "first"), (["search"], "subagent"), ([], "subagent")]
    )
    def test_a_users_own_words_under_instructions_that_name_the_user(
        self, tools: list[str], relation: str
    ) -> None:
        desk = Desk()
        lead = agent(desk, fields={"tools": offered("task")})
        lead.ask(TASK, giving(TASK))
        other = agent(desk, system="You are the lead. Ben asks you.")
        assert other.send([user(TASK)], tools=offered(*tools)).tag.relation == relation

    def test_others_that_have_the_parents_tools_too(self) -> None:
        desk = Desk()
        lead = agent(desk, fields={"tools": offered("task")})
        lead.ask("Tidy up the project.", giving(TASK))
        assert child(desk).send([user(TASK)], tools=offered("task")).tag.relation == "subagent"

    def test_another_dialect(self) -> None:
        desk = Desk()
        parent = agent(desk).ask("Tidy up the project.", giving(TASK))
        found = child(desk, dialect="anthropic").send([user(TASK)]).tag
        assert found.parent_session_id == parent.session_id

    def test_an_heir_with_a_copy_of_the_history(self) -> None:
        desk = Desk()
        lead = agent(desk)
        first = lead.ask("Tidy up the project.", "Shall I begin with the parser?")
        lead.ask("Yes.", giving(TASK))
        heir = child(desk)
        heir.history = lead.history[:3]
        found = heir.ask(TASK, "I found two places.")
        assert (found.relation, found.parent_session_id) == ("subagent", first.session_id)
        assert found.session_id != first.session_id
        assert heir.ask("Anything else?").session_id == found.session_id
        assert lead.ask(results(lead.history[-1])).session_id == first.session_id

    def test_the_parents_own_way_on_is_no_child(self) -> None:
        desk = Desk()
        lead = agent(desk)
        first = lead.ask("Tidy up the project.", giving(TASK))
        for said in ([*results(lead.history[-1]), user(TASK)], [user(TASK)]):
            tag = lead.send([*lead.history, *said]).tag
            assert tag.session_id == first.session_id
            assert tag.relation != "subagent"

    def test_the_parent_types_the_task_under_instructions_with_a_clock(self) -> None:
        desk = Desk()
        lead = agent(desk)
        first = lead.ask("Tidy up the project.", giving(TASK))
        lead.system = "You are the lead. Give work away. It is 10:01."
        tag = lead.send([*lead.history, user(TASK)]).tag
        assert (tag.session_id, tag.relation) == (first.session_id, "continue")

    def test_the_parent_repeats_the_task_on_a_shortened_history(self) -> None:
        desk = Desk()
        lead = agent(desk)
        lead.ask("Hello, who are you and what can you do for me?", "I am the lead of this project.")
        first = lead.ask("Tidy up the project.", giving(TASK))
        tag = lead.send([*lead.history[2:], *results(lead.history[-1]), user(TASK)]).tag
        assert (tag.session_id, tag.relation) == (first.session_id, "continue")

    def test_twins_take_one_call_each(self) -> None:
        desk = Desk()
        leads = [agent(desk).ask(f"Tidy up project {n}.", giving(TASK)) for n in range(2)]
        found = [child(desk).send([user(TASK)]).tag for _ in leads]
        assert [tag.parent_session_id for tag in found] == [lead.session_id for lead in leads]
        assert len({tag.session_id for tag in found}) == 2

    def test_of_calls_made_a_while_ago_the_newest(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        desk.clock.advance(60)
        newer = agent(desk).ask("Tidy up the other one.", giving(TASK))
        desk.clock.advance(2 * START_SECONDS)
        assert child(desk).send([user(TASK)]).tag.parent_session_id == newer.session_id

    def test_of_calls_made_at_once_that_of_the_same_client(self) -> None:
        desk = Desk()
        agent(desk, ip="192.0.2.8").ask("Tidy up the project.", giving(TASK))
        near = agent(desk, ip="192.0.2.9").ask("Tidy up the project.", giving(TASK))
        found = child(desk, ip="192.0.2.9").send([user(TASK)]).tag
        assert found.parent_session_id == near.session_id

    @pytest.mark.parametrize("tasks", [1, 2, 3])
    def test_heirs_with_one_task_at_once(self, tasks: int) -> None:
        desk = Desk()
        lead = agent(desk)
        first = lead.ask("Tidy up the project.", "Shall I begin with the parser?")
        lead.ask("Yes.", giving(*[TASK] * tasks))
        asked = [*lead.history[:3], user(TASK)]
        found = [child(desk).send(asked).tag for _ in range(tasks)]
        assert {tag.parent_session_id for tag in found} == {first.session_id}
        assert len({tag.session_id for tag in found}) == tasks
        again = child(desk).send(asked).tag
        assert again.relation == "retry"
        assert again.session_id in {tag.session_id for tag in found}

    def test_two_calls_of_one_session(self) -> None:
        desk = Desk()
        parent = agent(desk).ask("Tidy up the project.", giving(TASK, OTHER_TASK))
        found = [child(desk).send([user(text)]).tag for text in (OTHER_TASK, TASK)]
        assert {tag.parent_session_id for tag in found} == {parent.session_id}
        assert len({tag.session_id for tag in found}) == 2

    def test_the_closest_of_two_tasks(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        closer = agent(desk).ask("Tidy it up well.", giving(f"{TASK} {OTHER_TASK}"))
        found = child(desk).send([user(f"{TASK} {OTHER_TASK}")]).tag
        assert found.parent_session_id == closer.session_id

    def test_nested(self) -> None:
        desk = Desk()
        root = agent(desk).ask("Tidy up the project.", giving(TASK))
        middle = child(desk).ask(TASK, giving(OTHER_TASK))
        leaf = child(desk).ask(OTHER_TASK)
        assert middle.parent_session_id == root.session_id
        assert leaf.parent_session_id == middle.session_id
        assert leaf.root_session_id == middle.root_session_id == root.session_id

    def test_the_child_goes_on_as_itself(self) -> None:
        desk = Desk()
        lead, worker = agent(desk), child(desk)
        parent = lead.ask("Tidy up the project.", giving(TASK))
        first = worker.ask(TASK, tool_call("call_9", "read", {"path": "a.py"}))
        then = worker.ask(tool_result("call_9", "text"))
        assert (then.session_id, then.relation) == (first.session_id, "continue")
        assert then.parent_session_id == parent.session_id
        back = lead.ask(results(lead.history[-1], "Two places."))
        assert (back.session_id, back.relation) == (parent.session_id, "continue")
        assert back.parent_session_id is None

    @pytest.mark.parametrize("outcome", ["failed", "in flight", "answered"])
    def test_a_retry_stays_the_child(self, outcome: str) -> None:
        desk = Desk()
        lead = agent(desk).ask("Tidy up the project.", giving(TASK))
        worker = child(desk)
        first = worker.send([user(TASK)])
        if outcome == "failed":
            first.fail()
        else:
            worker.headers["x-stainless-retry-count"] = "1"
        if outcome == "answered":
            first.answer("Done.")
        again = worker.send([user(TASK)]).tag
        assert (again.session_id, again.relation) == (first.tag.session_id, "retry")
        assert again.parent_session_id == lead.session_id

    @pytest.mark.parametrize("other", [{"key": "b"}, {"fields": {"user": "bob"}}])
    def test_no_parent_in_another_scope(self, other: Json) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        found = child(desk, **other).send([user(TASK)]).tag
        assert (found.relation, found.parent_session_id) == ("first", None)

    def test_no_children_once_the_result_is_there(self) -> None:
        desk = Desk()
        lead = agent(desk)
        lead.ask("Tidy up the project.", giving(TASK))
        lead.send([*lead.history, *results(lead.history[-1])])
        found = child(desk).send([user(TASK)]).tag
        assert (found.relation, found.parent_session_id) == ("first", None)

    def test_results_of_another_session_settle_nothing(self) -> None:
        desk = Desk()
        parent = agent(desk).ask("Tidy up the project.", giving(TASK))
        other = agent(desk)
        other.ask("Tidy up another project.", tool_call("call_7", "read", {"path": "a.py"}))
        other.ask(tool_result("call_7", "text"))
        assert child(desk).send([user(TASK)]).tag.parent_session_id == parent.session_id

    def test_a_result_that_quotes_a_task_is_no_child(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        other = agent(desk)
        first = other.ask("Read the notes.", tool_call("call_7", "read", {"path": "a.py"}))
        assert other.ask(tool_result("call_7", TASK)).session_id == first.session_id

    def test_a_fork_of_the_parent_at_which_the_task_is_typed(self) -> None:
        desk = Desk()
        lead = agent(desk)
        first = lead.ask("Tidy up the project.", "Shall I begin with the parser?")
        lead.ask("Yes.", giving(TASK))
        tag = lead.send([*lead.history[:2], user(TASK)]).tag
        assert (tag.session_id, tag.relation) == (first.session_id, "fork")

    def test_a_known_conversation_that_quotes_a_task_is_no_child(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        other = desk.client()
        first = other.ask("hi", "Hello!")
        tag = other.ask(TASK)
        assert (tag.session_id, tag.relation) == (first.session_id, "continue")

    def test_an_explicit_id_comes_first(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", giving(TASK))
        found = child(desk, headers={"x-session-id": "1"}).send([user(TASK)]).tag
        assert (found.relation, found.source) == ("first", "explicit")

    def test_text_that_is_no_argument_makes_no_child(self) -> None:
        desk = Desk()
        agent(desk).ask("Tidy up the project.", f"I shall do this: {TASK}")
        assert child(desk).send([user(TASK)]).tag.relation == "first"
