"""The straight way leads where the ladder does, and is taken by conversations that go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user

TASK = "Look for the needle in the haystack over there, and do not come back without it."


def test_a_conversation_that_goes_on(both_ways: Counter[str]) -> None:
    client = Desk().client()
    tags = [client.ask(f"question {turn}", f"answer {turn}") for turn in range(5)]
    assert both_ways["straight"] == 4
    assert [tag.relation for tag in tags] == ["first", *["continue"] * 4]
    assert {(tag.source, tag.confidence) for tag in tags[1:]} == {("prefix", 1.0)}
    assert len({tag.session_id for tag in tags}) == 1


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
def test_with_instructions(both_ways: Counter[str], dialect: str) -> None:
    client = Desk().client(dialect=dialect, system="Be brief.")
    for turn in range(3):
        client.ask(f"question {turn}", f"answer {turn}")
    assert both_ways["straight"] == 2


def test_an_agent_that_runs_tools(both_ways: Counter[str]) -> None:
    client = Desk().client()
    client.ask("Weather in Ulm?", tool_call("call_1", "weather"))
    client.ask(tool_result("call_1", "rain"), "It rains.")
    assert client.ask("Thanks!").relation == "continue"
    assert both_ways["straight"] == 2


def _names_its_session(client: ChatClient) -> None:
    client.headers["x-session-id"] = "1"
    client.ask("more")


def _has_fields(client: ChatClient) -> None:
    client.fields["metadata"] = {"topic": "cats"}
    client.ask("more")


def _starts_over(client: ChatClient) -> None:
    client.ask("Start over, please.")


def _sends_an_idempotency_key(client: ChatClient) -> None:
    client.headers["idempotency-key"] = "k"
    client.ask("more")


def _repeats_itself(client: ChatClient) -> None:
    sent = [client.send([*client.history, user("more")]) for _ in range(2)]
    assert {each.tag.session_id for each in sent} == {sent[0].tag.session_id}


def _begins_its_answer(client: ChatClient) -> None:
    client.send([*client.history, user("more"), assistant("Well,")])


def _comes_after_a_failure(client: ChatClient) -> None:
    client.send([*client.history, user("more")]).fail()
    client.send([*client.history, user("something else")])


def _comes_too_late(client: ChatClient) -> None:
    client.desk.clock.advance(4000.0)
    client.ask("more")


def _goes_back(client: ChatClient) -> None:
    client.ask("more", "Something else.")
    client.send([*client.history[:2], user("or rather")])


def _has_a_twin(client: ChatClient) -> None:
    twin = client.desk.client()
    twin.ask("hi", "Hello!")
    twin.ask("more")


def _has_anothers_call(client: ChatClient) -> None:
    twin = client.desk.client()
    twin.ask("Go!", tool_call("call_1", "look"))
    altered = [user("Go!"), tool_call("call_2", "look"), tool_result("call_2", "found")]
    twin.send(altered)


def _is_given_a_task(client: ChatClient) -> None:
    client.ask("Find it.", tool_call("call_1", "agent", {"task": TASK}))
    client.system = "You are another agent."
    client.send([*client.history[:2], user(TASK)])


@pytest.mark.parametrize(
    "happens",
    [
        _names_its_session, _has_fields, _starts_over, _sends_an_idempotency_key, _repeats_itself,
        _begins_its_answer, _comes_after_a_failure, _comes_too_late, _goes_back, _has_a_twin,
        _has_anothers_call, _is_given_a_task,
    ],
)  # fmt: skip
def test_what_is_not_straight_is_climbed(
    both_ways: Counter[str], happens: Callable[[ChatClient], None]
) -> None:
    client = Desk(DetectionSettings(session_ttl_seconds=3600.0)).client()
    client.ask("hi", "Hello!")
    happens(client)
    # What goes before in each of them goes straight at most once.
    assert both_ways["straight"] <= 1
