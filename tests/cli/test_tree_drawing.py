"""What an agent tree looks like: nesting, folding, marks."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.tree_drawing import ENDS, MOST_LOOPS, MOST_TURNS, draw
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.trees import family
from tests.analysis.exchanges import assistant, result
from tests.cli.shown import EVIL, printed
from tests.storage.families import LEAD, Agents, call, large_family, small_family
from tests.storage.recorded import Talk, record


def drawn(agents: Agents, path: Path, session_id: str = "sess_a", **how: Any) -> list[str]:
    return lines_of(agents.write(path / "sessions.db"), session_id, **how)


def lines_of(path: Path, session_id: str, **how: Any) -> list[str]:
    with reading(path) as connection:
        found = family(connection, session_id)
    return [line for line in printed([draw(found, **how)]).splitlines() if line]


def working(turns: int, failing: int = -1) -> Agents:
    """Return an agent that calls a tool in each turn but the last."""
    agents = Agents()
    history: list[Any] = ["fix it"]
    for turn in range(turns):
        answer = call(f"c{turn}", "read", path="a") if turn < turns - 1 else "Fixed."
        relation = "first" if not turn else "continue"
        if turn == failing:
            agents.exchange("sess_a", history, answer, relation=relation, status=529)
            relation = "retry"
        agents.exchange("sess_a", history, answer, relation=relation)
        history += [answer, result(f"c{turn}", "ok")]
    return agents


def test_sub_agents_stand_below_the_call_that_they_work_for(tmp_path: Path) -> None:
    agents = Agents()
    small_family(agents)
    lines = drawn(agents, tmp_path, LEAD)
    marks = [line.strip("│├└─ ").partition("  ")[0] for line in lines]
    assert [mark.partition(" · ")[0] for mark in marks] == [
        "sess_lead",
        "✓ 1 “refactor”",
        "✓ turn 1",
        "✓ task ≤ 7.40 s → sess_one",
        "✓ 1 “Find all callers of the function…”",
        "✓ turn 1",
        "✓ task ≤ 7.40 s → sess_two",
        "✓ 1 “Write a test for the parser of f…”",
        "✓ turn 1",
        "✓ task ≤ 2.00 s → sess_deep",
        "✓ 1 “Look into the folder of old file…”",
        "✓ turn 1",
        "✓ turn 2",
        "✓ turn 2",
        "1 side call",
    ]
    assert "∥ 1 of 2" in lines[4]
    assert "∥ 2 of 2" in lines[7]


def test_sub_agents_whose_call_is_not_known_stand_below_their_parent(tmp_path: Path) -> None:
    agents = Agents()
    agents.exchange(LEAD, ["refactor"], "Done.", relation="first")
    agents.exchange("sess_one", ["Something else."], "Yes.", relation="subagent", parent=LEAD)
    lines = drawn(agents, tmp_path, LEAD)
    assert lines[-3].startswith("└── sess_one  subagent")
    path = tmp_path / "sessions.db"
    with sqlite3.connect(path) as connection:
        (record,) = connection.execute(
            "SELECT record FROM loops WHERE session_id = 'sess_one'"
        ).fetchone()
        loop = json.loads(record)
        loop["spawn_ref"]["parent_loop_id"] = f"{LEAD}.main.0"
        connection.execute(
            "UPDATE loops SET record = ? WHERE session_id = 'sess_one'", (json.dumps(loop),)
        )
    connection.close()
    assert lines_of(path, LEAD)[-3].startswith("    └── sess_one  subagent")


def test_sub_agents_of_a_large_family_are_brief(tmp_path: Path) -> None:
    agents = Agents()
    large_family(agents, turns=60, members=10)
    lines = drawn(agents, tmp_path, LEAD)
    assert not [line for line in lines if "grep" in line]
    whole = lines_of(tmp_path / "sessions.db", LEAD, everything=True)
    assert len([line for line in whole if "grep" in line]) == 40


@pytest.mark.parametrize("turns", [MOST_TURNS, MOST_TURNS + 1, 500])
def test_long_prompts_are_folded_to_their_ends(turns: int, tmp_path: Path) -> None:
    agents = working(turns)
    lines = drawn(agents, tmp_path)[2:]
    if turns <= MOST_TURNS:
        assert len(lines) == turns
        return
    assert len(lines) == 2 * ENDS + 1
    assert f"⋮ {turns - 2 * ENDS} more turns" in lines[ENDS]
    assert "--all" in lines[ENDS]
    assert len(lines_of(tmp_path / "sessions.db", "sess_a", everything=True)) == turns + 2


def test_turns_in_which_something_failed_are_always_shown(tmp_path: Path) -> None:
    lines = drawn(working(40, failing=20), tmp_path)
    (shown,) = [line for line in lines if "2 attempts" in line]
    assert "✓ turn 21" in shown
    assert len([line for line in lines if "⋮" in line]) == 2


def test_long_sessions_are_folded_too(tmp_path: Path) -> None:
    agents = Agents()
    history: list[Any] = []
    for number in range(MOST_LOOPS + 8):
        history.append(f"question {number}")
        agents.exchange("sess_a", history, "so", relation="first" if not number else "continue")
        history.append(assistant("so"))
    lines = drawn(agents, tmp_path)
    assert [line for line in lines if "more prompts" in line] == [lines[1 + 2 * ENDS]]
    assert f"⋮ {MOST_LOOPS + 8 - 2 * ENDS} more prompts" in lines[1 + 2 * ENDS]


def test_one_line_is_never_folded_into_one(tmp_path: Path) -> None:
    lines = drawn(working(2 * ENDS + 3, failing=3), tmp_path)
    assert not [line for line in lines if "1 more turn" in line]


def test_what_goes_on_and_what_failed_have_marks(tmp_path: Path) -> None:
    agents = Agents()
    agents.exchange("sess_a", ["one"], "no", relation="first", status=529)
    agents.exchange("sess_a", ["one", "two"], call("c1", "read", path="a"), new=1)
    agents.exchange("sess_a", ["one", "two", "three"], None)
    lines = drawn(agents, tmp_path)
    assert "✗ 1 “one”" in lines[1]
    assert "aborted" in lines[1]
    assert "✗ turn 1" in lines[2]
    assert "http_529" in lines[2]
    assert "✓ turn 1" in lines[4]
    assert "… read" in lines[4]
    assert lines[-1].endswith("… 1 request in flight")


def test_answers_that_were_compared_are_marked(tmp_path: Path) -> None:
    agents = Agents()
    agents.exchange("sess_a", ["So?"], "Yes.", relation="first", others=["No."])
    agents.exchange("sess_a", ["So?", assistant("No."), "Sure?"], "Yes.")
    lines = drawn(agents, tmp_path)
    assert "∥ 1 of 2 ·" in lines[1]
    assert "✓ 2 (another answer)  rerun · ∥ 2 of 2, chosen" in lines[3]


def test_nothing_that_was_said_acts_on_a_terminal(tmp_path: Path) -> None:
    agents = Agents()
    agents.exchange("sess_a", [EVIL], call("c1", EVIL, path=EVIL), relation="first")
    text = "\n".join(drawn(agents, tmp_path))
    assert "owned" in text
    assert not any(character in text for character in "\x1b\x07\x9b\u202e\r")


def test_a_session_without_a_tree_is_one_line(tmp_path: Path) -> None:
    path = record(tmp_path / "sessions.db", [Talk("sess_a").ask()])
    assert lines_of(path, "sess_a") == [
        "sess_a  – · 1 request · 150 tokens · $0.00100 · 0 ms · gpt-5-mini"
    ]
