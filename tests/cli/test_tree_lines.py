"""The lines of an agent tree."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rich.text import Text

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.cli import tree_lines
from gateway_sessions.conversation import Media, Message
from gateway_sessions.conversation import Text as Words
from gateway_sessions.storage.trees import Member

USED = t.Usage(input=1200, output=300, cost_usd=0.25)
TURN = t.Turn(
    turn_id=t.TurnId(loop_id="l", turn_index=4),
    triggered_by="user",
    usage=USED,
    started_at=10.0,
    ended_at=11.5,
    attempts=(t.Attempt(request_id="r", started_at=10.0, ended_at=11.5),),
)
LOOP = t.LoopRecord(
    loop_id="l",
    session_id="s",
    agent_id="main",
    continuation_kind=t.Default(),
    started_at=36_000.0,
    ended_at=36_012.0,
    status="completed",
    turns=(TURN,),
    turn_count=7,
    usage=USED,
)


def changed(value: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)


def prompt(*texts: str) -> t.LoopRecord:
    parts = tuple(map(Words, texts))
    turn = changed(TURN, input_messages=(Message("user", (Media("x"), *parts)),))
    return t.LoopRecord(**{**msgspec.structs.asdict(LOOP), "turns": (turn,)})


def test_a_turn_with_its_tools() -> None:
    tools = (
        t.ToolOutcome(tool_call_id="c1", tool_name="read", size_bytes=1, duration_ms=12.0),
        t.ToolOutcome(tool_call_id="c2", tool_name="bash", size_bytes=0, is_error=True),
        t.ToolOutcome(tool_call_id="c3", tool_name="", duration_ms=None),
        t.ToolOutcome(tool_call_id="c4", tool_name="task", size_bytes=1),
    )
    line = tree_lines.turn(changed(TURN, tool_results=tools), elsewhere={"c4"})
    assert line.plain == "✓ turn 5 · 1.50 s · 1.5k tokens · $0.250  ✓ read 12 ms  ✗ bash  … –"
    assert (line.no_wrap, line.overflow) == (True, "ellipsis")


def test_of_many_tools_the_rest_is_counted() -> None:
    tools = tuple(t.ToolOutcome(tool_call_id=f"c{n}", tool_name="read") for n in range(11))
    assert tree_lines.turn(changed(TURN, tool_results=tools)).plain.endswith("  and 3 more")


def test_attempts_and_why_they_failed() -> None:
    attempts = tuple(
        t.Attempt(request_id="r", started_at=1.0, ended_at=2.0, error=error)
        for error in ("overloaded", "overloaded", None)
    )
    line = tree_lines.turn(changed(TURN, attempts=attempts)).plain
    assert line == "✓ turn 5 · 1.50 s · 1.5k tokens · $0.250 · 3 attempts · overloaded"
    failed = tree_lines.turn(changed(TURN, attempts=attempts[:1])).plain
    assert failed.startswith("✗ turn 5")
    assert tree_lines.turn(changed(TURN, ended_at=None)).plain.startswith("… turn 5 · –")


@pytest.mark.parametrize(
    ("loop", "line"),
    [
        (prompt("Repair\n  it", "."), "✓ 1 “Repair it.”  10:00:00 · 12.0 s · 7 turns"),
        (LOOP, "✓ 1 (not recorded)  10:00:00"),
        (changed(LOOP, turns=()), "✓ 1 (another answer)  10:00:00"),
        (prompt("x" * 200), f"✓ 1 “{'x' * 32}…”"),
        (changed(LOOP, status="running", ended_at=None), "… 1 (not recorded)  10:00:00 · –"),
    ],
)
def test_a_prompt(loop: t.LoopRecord, line: str) -> None:
    assert tree_lines.loop(loop, {"l": 1}).plain.startswith(line)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"continuation_kind": t.Branch(tag="1"), "parent_loop_id": "first"}, "  branch of 1 · "),
        ({"continuation_kind": t.Rerun(tag="1"), "parent_loop_id": "gone"}, "  rerun · "),
        ({"continuation_kind": t.Compaction()}, "  after a compaction · "),
        ({"status": "rejected", "rejection": "refusal"}, " · rejected: refusal"),
        ({"status": "aborted"}, " · aborted"),
    ],
)
def test_how_a_prompt_goes_on_and_ends(fields: dict[str, Any], words: str) -> None:
    line = tree_lines.loop(changed(LOOP, **fields), {"first": 1, "l": 2}).plain
    assert words in line
    assert line.endswith(("$0.250", words))


def member(**fields: Any) -> Member:
    session = t.Session(
        session_id="sess_a",
        agent_id="main",
        created_at=1.0,
        last_active_at=3.0,
        formation=t.FirstLoop(),
        scope="persistent",
        parent_spawn_ref=fields.pop("spawn", None),
    )
    values: dict[str, Any] = {
        "session": session,
        "parent_session_id": None,
        "model": "m",
        "is_live": False,
        "requests": 2,
        "in_flight": 0,
        "usage": USED,
        "usage_with_sub_agents": USED,
    }
    return Member(**values | fields)


def test_a_session() -> None:
    line = "sess_a  main · 2 requests · 1.5k tokens · $0.250 · 2.00 s · m"
    assert tree_lines.session(member()).plain == line
    whole = tree_lines.session(member(usage_with_sub_agents=USED + USED, is_live=True)).plain
    assert whole == line.replace(" · 2.00", " · in all 3k tokens, $0.500 · 2.00") + " · live"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "  (by its task, 0.95)"),
        ({"candidates": ("c1", "c2")}, "  (by its task, 0.95, one of 2 calls)"),
        ({"confirmed": True}, " · m"),
        ({"tool_call_id": ""}, " · m"),
    ],
)
def test_how_sure_a_link_is(fields: dict[str, Any], words: str) -> None:
    spawn = t.SpawnRef(
        parent_session_id="p",
        parent_loop_id="l",
        tool_call_id="c1",
        tool_name="task",
        confidence=0.95,
    )
    line = tree_lines.session(member(spawn=changed(spawn, **fields))).plain
    assert line.endswith(words)


def test_what_is_left_out_and_what_is_beside() -> None:
    lines: list[Text] = [
        tree_lines.folded(1200, "turn", USED),
        tree_lines.side_calls([t.SideCall(request_id="r", at=1.0, usage=USED)] * 2),
        tree_lines.in_flight(1),
    ]
    assert [line.plain for line in lines] == [
        "⋮ 1,200 more turns · 1.5k tokens · $0.250 (--all shows them)",
        "2 side calls · 3k tokens · $0.500",
        "… 1 request in flight",
    ]
