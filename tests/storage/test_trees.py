"""Agent trees read back from a database."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.conversation import Message, Text
from gateway_sessions.errors import WrongQuery
from gateway_sessions.events import LoopRecorded, ResponseRecorded
from gateway_sessions.storage import trees
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.trees import Family, family
from tests.storage.families import LEAD, TASKS, Agents, small_family
from tests.storage.recorded import Talk, record


@pytest.fixture(scope="module")
def agents() -> Agents:
    made = Agents(idle_seconds=3600)
    small_family(made)
    return made


@pytest.fixture(scope="module")
def path(agents: Agents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agents.write(tmp_path_factory.mktemp("trees") / "sessions.db")


def of(path: Path, session_id: str = LEAD) -> Family:
    with reading(path) as connection:
        return family(connection, session_id)


def test_a_family_is_a_session_and_all_that_worked_for_it(path: Path) -> None:
    found = of(path)
    names = [member.session.session_id for member in found.members]
    assert names == [LEAD, "sess_one", "sess_two", "sess_deep"]
    assert [m.session.session_id for m in found.children_of(LEAD)] == ["sess_one", "sess_two"]
    assert found.head.parent_session_id is None
    assert [member.session.scope for member in found.members] == ["persistent"] + 3 * ["ephemeral"]


def test_a_sub_agents_family_is_what_is_below_it(path: Path) -> None:
    found = of(path, "sess_two")
    assert [member.session.session_id for member in found.members] == ["sess_two", "sess_deep"]
    assert found.head.parent_session_id == LEAD


def test_loops_and_turns_are_read_as_they_were_recorded(path: Path, agents: Agents) -> None:
    loops: dict[str, t.LoopRecord] = {}
    turns: dict[t.TurnId, t.Turn] = {}
    for event in agents.events:
        if isinstance(event, LoopRecorded):
            loop = msgspec.json.decode(event.loop, type=t.LoopRecord)
            loops[loop.loop_id] = msgspec.structs.replace(loop, turns=())
            turns |= {turn.turn_id: turn for turn in loop.turns}
    read = [loop for member in of(path).members for loop in member.session.loops]
    assert {loop.loop_id: msgspec.structs.replace(loop, turns=()) for loop in read} == loops
    bare = {
        turn.turn_id: msgspec.structs.replace(turn, input_messages=())
        for loop in read
        for turn in loop.turns
    }
    assert bare == turns


def test_links_show_which_call_a_sub_agent_worked_for(path: Path) -> None:
    lead, one, two, deep = (member.session for member in of(path).members)
    assert one.parent_spawn_ref is not None
    assert (one.parent_spawn_ref.tool_call_id, one.parent_spawn_ref.confirmed) == ("c1", True)
    assert deep.parent_spawn_ref is not None
    assert deep.parent_spawn_ref.parent_session_id == two.session_id
    assert one.formation == t.FirstLoop()
    group = two.loops[0].parallel_group
    assert group is not None
    assert group.all_loop_ids == (one.loops[0].loop_id, two.loops[0].loop_id)
    assert lead.loops[0].children_loop_ids == group.all_loop_ids


def test_costs_are_rolled_up_and_nothing_counts_twice(path: Path, agents: Agents) -> None:
    costs = {}
    for event in agents.events:
        if isinstance(event, ResponseRecorded):
            assert event.stats.cost_usd is not None
            costs[event.request_id] = event.stats.cost_usd
    lead, one, two, deep = of(path).members
    assert lead.usage_with_sub_agents.cost_usd == pytest.approx(sum(costs.values()))
    assert lead.usage_with_sub_agents.total_tokens == 15 * len(costs)
    assert two.usage_with_sub_agents == two.usage + deep.usage
    assert one.usage_with_sub_agents == one.usage


def test_side_calls_hang_off_the_session(path: Path) -> None:
    (call,) = of(path).head.session.side_calls
    assert call.usage.total_tokens == 15
    whole, own = of(path).head.session.total_usage(), of(path).head.usage
    assert whole.total_tokens == own.total_tokens == 45
    assert whole.cost_usd == pytest.approx(own.cost_usd)


def test_prompts_are_read_up_to_a_length(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "PROMPT", 8)
    first = of(path, "sess_one").head.session.loops[0].turns[0]
    assert first.input_messages == (Message("user", (Text(TASKS[0][:8]),)),)
    assert first.output_message is None


def test_one_session_can_be_read_with_all_that_was_said(path: Path) -> None:
    with reading(path) as connection:
        session = trees.tree(connection, "sess_two")
    first, second = session.loops[0].turns
    assert first.input_messages == (Message("user", (Text(TASKS[1]),)),)
    assert second.output_message == Message("assistant", (Text("It is written."),))
    assert second.input_messages == ()


def test_what_is_in_flight_is_counted(tmp_path: Path) -> None:
    agents = Agents()
    agents.exchange("sess_a", ["hi"], None, relation="first")
    (member,) = of(agents.write(tmp_path / "sessions.db"), "sess_a").members
    assert (member.in_flight, member.is_live, member.session.loops) == (1, True, ())


def test_a_compaction_is_read_with_its_summary(tmp_path: Path) -> None:
    agents = Agents()
    agents.exchange("sess_a", ["hi"], "Hello.", relation="first")
    agents.exchange("sess_a", ["Summary: hi", "go on"], "So.", relation="compaction", new=2)
    agents.exchange("sess_a", ["Summary: hi", "go on", "and"], "So.")
    loops = of(agents.write(tmp_path / "sessions.db"), "sess_a").head.session.loops
    assert [loop.compaction_block for loop in loops] == [None, "Summary: hi", None]


def test_sessions_without_loops_and_those_that_point_in_circles_are_shown(tmp_path: Path) -> None:
    talks = [
        Talk("sess_a", parent="sess_b", root="sess_a").ask(),
        Talk("sess_b", parent="sess_a", root="sess_a").ask(),
    ]
    found = of(record(tmp_path / "sessions.db", talks), "sess_a")
    assert [member.session.session_id for member in found.members] == ["sess_a", "sess_b"]
    assert found.head.usage_with_sub_agents.total_tokens == 300
    assert found.head.session.agent_id == ""


def test_a_session_that_is_not_there_is_an_error(path: Path) -> None:
    with reading(path) as connection:
        for read in (family, trees.tree):
            with pytest.raises(WrongQuery, match="No such session is recorded"):
                read(connection, "sess_none")


def test_queries_use_indexes_and_do_not_grow_with_the_family(path: Path) -> None:
    asked: list[str] = []
    with reading(path) as connection:
        connection.set_trace_callback(asked.append)
        family(connection, LEAD)
        connection.set_trace_callback(None)
        plans = [
            row[3]
            for sql in asked
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        ]
    assert len(asked) == 7
    assert not [plan for plan in plans if plan.startswith("SCAN")]
