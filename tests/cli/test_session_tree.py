"""``sessions tree``, as users run it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.cli.root import run as run_here
from tests.storage.families import LEAD, Agents, large_family, small_family


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    agents = Agents()
    small_family(agents)
    return str(agents.write(tmp_path_factory.mktemp("tree") / "sessions.db"))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], database: str) -> Any:
    def run(*arguments: str, code: int = 0) -> str:
        assert run_here(["sessions", "tree", *arguments, "--database", database]) == code
        done = capsys.readouterr()
        return done.out if code == 0 else done.err

    return run


def test_a_tree_is_drawn_by_the_beginning_of_an_id(said: Any) -> None:
    lines = said("sess_l").splitlines()
    assert lines[0].startswith("sess_lead  main · 3 requests · 45 tokens · $0.00006 · in all ")
    assert [line.count("→ sess_") for line in lines].count(1) == 3


def test_a_part_of_a_tree_can_be_drawn(said: Any) -> None:
    assert said("sess_one").splitlines()[0].startswith("sess_one  subagent · 1 request ")


def test_as_json_it_is_the_whole_family(said: Any) -> None:
    found = json.loads(said(LEAD, "--json"))
    names = [member["session"]["session_id"] for member in found["members"]]
    assert names == [LEAD, "sess_one", "sess_two", "sess_deep"]
    assert found["members"][0]["session"]["loops"][0]["status"] == "completed"
    assert found["members"][0]["usage_with_sub_agents"]["total_tokens"] == 105


def test_an_id_that_is_not_there_is_wrong_usage(said: Any) -> None:
    assert "No recorded session has the id" in said("sess_none", code=2)


def test_show_as_json_holds_the_tree(capsys: pytest.CaptureFixture[str], database: str) -> None:
    assert run_here(["sessions", "show", "sess_two", "--json", "--database", database]) == 0
    tree = json.loads(capsys.readouterr().out)["tree"]
    assert tree["agent_id"] == "subagent"
    assert [len(loop["turns"]) for loop in tree["loops"]] == [2]
    assert tree["loops"][0]["turns"][1]["output_message"]["role"] == "assistant"


def test_a_large_family_is_short_and_drawn_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    agents = Agents()
    large_family(agents)
    path = str(agents.write(tmp_path / "sessions.db"))
    began = time.process_time()
    assert run_here(["sessions", "tree", LEAD, "--database", path]) == 0
    spent = time.process_time() - began
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "→ sess_" in line]) == 30
    assert len(lines) < 150
    assert spent < 1, "it takes a tenth of that"
    assert run_here(["sessions", "tree", LEAD, "--all", "--database", path]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert len([line for line in whole if " turn " in line]) == 501 + 30 * 5
