"""What a request says of the loop that it begins."""

from __future__ import annotations

import pytest

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import facts, readings
from gateway_sessions.exchange import Headers
from gateway_sessions.testing import Desk
from tests.analysis.exchanges import arrived, assistant, chat, result, tag


@pytest.mark.parametrize(
    ("headers", "parent", "name"),
    [
        ((), None, "main"),
        ((), "sess_parent", "subagent"),
        ((("X-Claude-Code-Agent-Type", "Explore"),), "sess_parent", "Explore"),
        ((("x-openai-subagent", "review"),), None, "review"),
        ((("x-claude-code-agent-id", "a1"), ("x-claude-code-agent-type", "Plan")), None, "Plan"),
        ((("x-claude-code-agent-id", "a1"),), None, "a1"),
        ((("x-openai-subagent", "  "),), None, "main"),
        ((("x-openai-subagent", "x" * 999),), None, "x" * 64),
        ((("x-openai-subagent", "a\udcffb"),), None, "a?b"),
    ],
)
def test_who_works(headers: Headers, parent: str | None, name: str) -> None:
    session = tag(parent_session_id=parent)
    assert readings.agent(arrived("r", 0, chat("hi"), 1, session=session, headers=headers)) == name


@pytest.mark.parametrize(
    ("session", "formation"),
    [
        (tag(source="explicit"), t.Explicit()),
        (tag(), t.FirstLoop()),
        (
            tag(previous_session_id="sess_before"),
            t.InactivityTimeout(threshold_secs=3600.0, previous_session_id="sess_before"),
        ),
        (tag(previous_session_id="sess_before", relation="fork"), t.FirstLoop()),
        (tag(relation="reset", reason="of its own"), t.Reset(phrase="of its own")),
    ],
)
def test_how_a_session_came_to_be(session: object, formation: t.SessionFormation) -> None:
    assert readings.formation(session, 3600.0) == formation  # type: ignore[arg-type]


def test_a_reset_tells_the_phrase_that_detection_found() -> None:
    client = Desk().client()
    client.ask("Help me to name a cat.")
    tag_of_reset = client.ask("Start over: now it is a dog.")
    assert readings.formation(tag_of_reset, 0.0) == t.Reset(phrase="start over")


def test_what_the_model_is_asked_with() -> None:
    body = chat("hi", max_tokens=9, temperature=0.5, tools=[{"type": "function"}])
    request = arrived("r", 0, body, 1)
    asked = facts.asked("openai_chat", "/", request.request.body, 1)
    assert readings.config(request, asked) == t.LoopConfigSnapshot(
        model="m", provider="openai", max_tokens=9, temperature=0.5, tools=1
    )


@pytest.mark.parametrize(("length", "shared"), [(64, True), (65, False)])
def test_loops_that_are_asked_alike_hold_one_value(length: int, shared: bool) -> None:
    request = arrived("r", 0, chat("hi"), 1, model="m" * length)
    first, second = (readings.config(request, asked("hi", new=1)) for _ in range(2))
    assert first == second
    assert (first is second) == shared


def asked(*messages: object, new: int) -> facts.Asked:
    request = arrived("r", 0, chat(*messages), new)
    return facts.asked("openai_chat", "/", request.request.body, new)


def test_texts_around_what_is_new() -> None:
    one = asked("hi", assistant("so"), result("c1", "42"), "go on", "really", new=3)
    assert readings.asks_anew(one)
    assert readings.first_text(one) == "go on"
    assert readings.answer_before(one) == "so"
    assert [message.role for message in readings.without_results(one.delta)] == ["user", "user"]


@pytest.mark.parametrize("new", [0, 1])
def test_of_what_has_no_text_nothing_is_said(new: int) -> None:
    one = asked(result("c1", "42"), new=new)
    assert not readings.asks_anew(one)
    assert readings.first_text(one) == readings.answer_before(facts.Asked()) == ""
    assert readings.without_results(one.delta) == ()


def test_an_answer_before_that_can_not_be_read_is_none() -> None:
    assert readings.answer_before(asked({"role": 5}, "hi", new=1)) == ""
