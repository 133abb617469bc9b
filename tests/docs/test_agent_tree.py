"""The page on agent trees says what the code does."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions.analysis import agent_events as a
from gateway_sessions.analysis.loop_states import next_status
from tests.docs.agent_trees import Example
from tests.docs.blocks import ROOT, blocks
from tests.storage.families import Agents, small_family

PAGE = ROOT / "docs" / "agent-tree.md"
TREES = [block for block in blocks(PAGE) if block.language == "tree"]
IDS = {"session_id": "s", "loop_id": "l", "at": 1.0}
EVENTS: dict[str, a.AgentEvent] = {
    "turn_start": a.TurnStart(**IDS, turn_index=0),  # type: ignore[arg-type]
    "input_rejected": a.InputRejected(**IDS, reason="x"),  # type: ignore[arg-type]
    "agent_end": a.AgentEnd(**IDS, outcome="aborted"),  # type: ignore[arg-type]
    "all others": a.MessageStart(**IDS),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("block", TREES, ids=str)
def test_the_worked_example_is_what_the_recorder_says(block: object) -> None:
    for line, said, wanted in Example(block.text).places():  # type: ignore[attr-defined]
        assert said == wanted, line


def test_the_worked_example_links_and_confirms_its_sub_agents() -> None:
    (block,) = TREES
    recorder = Example(block.text).wire.recorder
    for name in ("one", "two"):
        session = recorder.get_session(name)
        assert session is not None
        assert session.parent_spawn_ref is not None
        assert session.parent_spawn_ref.confirmed
        group = session.loops[0].parallel_group
        assert group is not None
        assert group.kind == "fanout"


def rows() -> list[list[str]]:
    """Return the table of a loop's states, without its head."""
    text = PAGE.read_text(encoding="utf-8").partition("## The life of a loop")[2]
    table = re.findall(r"^\|.*\|$", text.partition("\n## ")[0], re.MULTILINE)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table[2:]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_table_of_states_is_the_one_of_the_code(row: list[str]) -> None:
    name, pending, running, over = row
    if name not in EVENTS:
        assert (name, pending, running, over) == (
            "flush, or the session's end",
            "aborted",
            "aborted",
            "stays",
        )
        return
    event = EVENTS[name]
    for before, cell in (("pending", pending), ("running", running)):
        wanted = {"stays": before, "outcome": "aborted"}.get(cell, cell)
        assert next_status(before, event) == wanted  # type: ignore[arg-type]
    for before in ("completed", "rejected", "aborted"):
        assert over == "stays"
        assert next_status(before, event) == before  # type: ignore[arg-type]


def test_the_queries_find_something(tmp_path: Path) -> None:
    agents = Agents()
    small_family(agents)
    path = agents.write(tmp_path / "sessions.db")
    (block,) = [block for block in blocks(PAGE) if block.language == "sql"]
    with closing(sqlite3.connect(path)) as connection:
        agents_, statuses, roots = [
            connection.execute(query).fetchall() for query in block.text.strip().split("\n")
        ]
    assert sorted(row[:3] for row in agents_) == [("main", 1, 2), ("subagent", 3, 4)]
    assert [row[:2] for row in statuses] == [("completed", 4)]
    ((root, cost),) = roots
    assert root == "sess_lead"
    assert cost == pytest.approx(7 * 2e-5)
