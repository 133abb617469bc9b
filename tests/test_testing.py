from __future__ import annotations

import doctest
import textwrap

import pytest

from gateway_sessions import testing
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.telemetry import SessionEnded
from gateway_sessions.testing import (
    Desk,
    ManualClock,
    assistant,
    tool_call,
    tool_result,
    user,
)


def test_the_documented_example() -> None:
    assert testing.__doc__ is not None
    _, _, indented = testing.__doc__.partition("::\n")
    names = vars(testing).copy()
    exec(textwrap.dedent(indented), names)  # noqa: S102 - it is our own documentation
    assert names["first"].relation == "first"
    assert doctest.testmod(testing).failed == 0


def test_a_clock_that_stands_still() -> None:
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    clock.advance(2.5)
    assert clock() == 7.5


class TestDesk:
    def test_ids_can_be_told_before(self) -> None:
        desk = Desk()
        assert [desk.client().ask("hi").session_id for _ in range(3)] == [
            "sess_1", "sess_2", "sess_3",
        ]  # fmt: skip

    def test_settings_clock_and_index_are_those_given(self) -> None:
        clock, index = ManualClock(), MemoryIndex(10, 60.0)
        settings = DetectionSettings(session_ttl_seconds=60)
        desk = Desk(settings, clock=clock, index=index)
        client = desk.client()
        first = client.ask("hi")
        assert index.active == 1
        clock.advance(100)
        assert client.ask("more").previous_session_id == first.session_id

    def test_telemetry(self) -> None:
        desk = Desk(DetectionSettings(max_sessions=1))
        ended: list[SessionEnded] = []
        desk.telemetry.listen(SessionEnded, ended.append)
        desk.client().ask("hi")
        desk.client().ask("hello")
        assert [event.session_id for event in ended] == ["sess_1"]

    def test_explain(self) -> None:
        assert Desk(explain=True).client().ask("hi").explain
        assert not Desk().client().ask("hi").explain


class TestChatClient:
    @pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
    def test_it_keeps_its_history(self, dialect: str) -> None:
        client = Desk().client(dialect=dialect, system="Be brief.")
        client.ask("hi", "Hello!")
        tag = client.ask("more", "Yes.")
        assert tag.relation == "continue"
        assert client.history == [
            user("hi"), assistant("Hello!"), user("more"), assistant("Yes."),
        ]  # fmt: skip

    def test_it_sends_what_it_is_told(self) -> None:
        desk = Desk()
        client = desk.client("a", fields={"user": "alice"}, headers={"x-session-id": "1"}, ip="::1")
        sent = client.send([user("hi")], temperature=1)
        conversation = sent.tracked.plan.conversation
        assert conversation.end_user == "alice"
        assert sent.tag.external_id == "1"
        assert client.history == []
        assert desk.client("b", headers={"x-session-id": "1"}).ask("hi") != sent.tag

    def test_prompts_of_any_shape(self) -> None:
        client = Desk().client()
        call = client.ask([user("a"), user("b")], tool_call("call_1", "f", {"x": 1}))
        result = client.ask(tool_result("call_1", "r"), assistant("Fine."))
        assert call.session_id == result.session_id
        assert [message["role"] for message in client.history] == [
            "user", "user", "assistant", "tool", "assistant",
        ]  # fmt: skip

    def test_time_passes_with_every_answer(self) -> None:
        desk = Desk()
        before = desk.clock()
        desk.client().ask("hi")
        assert desk.clock() == before + 1

    def test_a_request_that_fails(self) -> None:
        client = Desk().client()
        client.send([user("hi")]).fail()
        assert client.send([user("hi")]).tag.relation == "retry"

    def test_a_system_prompt_is_sent_where_the_dialect_has_it(self) -> None:
        desk = Desk()
        openai, anthropic = desk.client(system="S"), desk.client(dialect="anthropic", system="S")
        sent = openai.send([user("hi")]).tracked.plan.conversation
        assert b'"system"' in bytes(sent.messages[0])
        assert bytes(anthropic.send([user("hi")]).tracked.plan.conversation.system) == b'"S"'
