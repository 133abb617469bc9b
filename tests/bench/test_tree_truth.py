"""What trees should be, told without asking what finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.tree_grown import grow
from bench.tree_truth import Transcripts, Truth, is_prompt, openings, read_truths
from gateway_sessions.prices import Prices
from tests.analysis.exchanges import assistant, result, user
from tests.bench import tree_logs

TOOL_RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
FUNCTION_RESPONSE = {"functionResponse": {"name": "f", "response": {}}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [user("hi")]}, True),
        ({"messages": [user("hi"), assistant("so")]}, False),
        ({"messages": [user("hi"), assistant(c1="f"), result("c1", "x")]}, False),
        ({"messages": [assistant(c1="f"), result("c1", "x"), user("steer")]}, False),
        ({"messages": [{"role": "system", "content": "be"}, user("hi")]}, True),
        ({"messages": [{"role": "user", "content": [TOOL_RESULT]}]}, False),
        ({"messages": [{"role": "user", "content": [TOOL_RESULT, {"text": "also"}]}]}, False),
        ({"messages": [user(" ")]}, False),
        ({"input": "hi"}, True),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}, True),
        ({"input": [user("hi"), {"type": "function_call_output", "output": "x"}]}, False),
        ({"input": [user("hi"), {"type": "function_call"}]}, False),
        ({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, True),
        ({"contents": [{"role": "user", "parts": [FUNCTION_RESPONSE]}]}, False),
    ],
)
def test_prompts_are_read_off_bodies(body: dict[str, Any], expected: bool) -> None:
    assert is_prompt(json.dumps(body).encode()) is expected


def test_loops_open_at_prompts_and_where_the_rules_say() -> None:
    going_on = [user("hi"), assistant(c1="f"), result("c1", "x")]
    prompt, later = (json.dumps({"messages": m}).encode() for m in ([user("hi")], going_on))
    cases = [
        ("r1", "s", "first", prompt),
        ("r2", "s", "continue", later),
        ("r3", "s", "retry", prompt),
        ("r4", "s", "side_call", prompt),
        ("r5", "s", "fork", later),
        ("r6", "t", "subagent", later),
    ]
    truths = {name: Truth(name, session, None, how, False) for name, session, how, _ in cases}
    bodies = {name: body for name, _, _, body in cases}
    assert openings(bodies, truths) == ({"r1"}, {"r5", "r6"})


def transcripts(folder: Path, **how: Any) -> Transcripts:
    tree_logs.write(folder, **how)
    found = Transcripts(read_truths(folder / "small.truth.jsonl"))
    grow(folder / "small.exchanges.jsonl", Prices(), found)
    return found


def test_calls_are_told_by_their_results(tmp_path: Path) -> None:
    found = transcripts(tmp_path)
    assert found.spawns() == {"one": ("lead", "c1"), "two": ("lead", "c2")}
    assert found.fans() == {frozenset({"one", "two"})}


def test_calls_with_equal_results_are_told_by_their_tasks(tmp_path: Path) -> None:
    found = transcripts(tmp_path, answers=("Done it.", "Done it."))
    assert found.spawns() == {"one": ("lead", "c1"), "two": ("lead", "c2")}
