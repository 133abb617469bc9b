"""Applications by their instructions and tools, in whatever dialect they speak."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.conversation import Conversation
from gateway_sessions.detection import instructions
from gateway_sessions.detection.instructions import AGENTS_KEPT, LONGEST, MOST_MESSAGES, AgentMemo
from gateway_sessions.detection.walk import Walker
from gateway_sessions.dialects.gemini import Gemini
from gateway_sessions.testing import user
from tests.detection.talk import SEED, chat, claude

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Say how the weather is.", "parameters": SCHEMA}
CLAUDES = {"name": "weather", "description": "Say how the weather is.", "input_schema": SCHEMA}


def agent(conversation: Conversation) -> int:
    return Walker().walk(conversation, SEED).agent()


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def gemini(text: str, *tools: Any) -> Conversation:
    body = {
        "systemInstruction": {"parts": [{"text": text}]},
        "tools": [{"functionDeclarations": tools}],
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
    }
    return Gemini().read_request(json.dumps(body).encode(), "/v1beta/models/m:generateContent")


class TestEqual:
    def test_in_every_dialect(self) -> None:
        function = {"type": "function", "function": WEATHER}
        blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
        assert (
            agent(chat(system("Be brief."), user("hi"), tools=[function]))
            == agent(claude(user("hi"), system="Be brief.", tools=[CLAUDES]))
            == agent(claude(user("hi"), system=blocks, tools=[CLAUDES]))
            == agent(gemini("Be brief.", WEATHER))
        )

    def test_tools_without_instructions(self) -> None:
        function = {"type": "function", "function": WEATHER}
        assert agent(chat(user("hi"), tools=[function])) == agent(
            claude(user("hi"), tools=[CLAUDES])
        )

    def test_nothing_at_all(self) -> None:
        assert agent(chat(user("hi"))) == agent(claude(user("ho")))

    def test_blocks_of_a_message(self) -> None:
        blocks = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
        named = system("Be brief. ") | {"name": "rules"}
        assert (
            agent(chat(system(blocks), user("hi")))
            == agent(chat(system("Be brief."), user("hi")))
            == agent(chat(named, user("hi")))
        )


class TestOther:
    @pytest.mark.parametrize(
        "tools",
        [
            [],
            [WEATHER | {"name": "climate"}],
            [WEATHER | {"description": "Say how the weather was."}],
            [WEATHER, WEATHER | {"name": "climate"}],
            [{"type": "web_search"}],
            [[[[[[[WEATHER]]]]]]],
        ],
    )
    def test_tools(self, tools: list[Any]) -> None:
        usual = agent(chat(system("Be brief."), user("hi"), tools=[WEATHER]))
        assert agent(chat(system("Be brief."), user("hi"), tools=tools)) != usual

    def test_instructions(self) -> None:
        assert agent(chat(system("Be brief."), user("hi"))) != agent(
            chat(system("Be kind."), user("hi"))
        )

    def test_tools_of_the_provider(self) -> None:
        found = {agent(chat(user("hi"), tools=[{"type": kind}])) for kind in ("search", "shell")}
        assert len(found) == 2


class TestAsSent:
    def test_instructions_without_text(self) -> None:
        found = {agent(claude(user("hi"), system=[{"id": name}])) for name in "ab"}
        assert len(found) == 2

    def test_too_long_ones(self) -> None:
        long = "a" * LONGEST
        inside, outside = chat(system(long), user("hi")), claude(user("hi"), system=long)
        assert agent(inside) == agent(chat(system(long), user("ho")))
        assert agent(inside) != agent(outside)
        tools = [WEATHER | {"description": long}]
        assert agent(chat(user("hi"), tools=tools)) != agent(chat(user("hi"), tools=[WEATHER]))

    def test_too_many_messages(self) -> None:
        many = [system("a")] * (MOST_MESSAGES + 1)
        assert agent(chat(*many, user("hi"))) != agent(chat(system("a" * len(many)), user("hi")))

    def test_what_is_no_json(self) -> None:
        broken = msgspec.structs.replace(chat(user("hi")), system=b"{", tools=b"[")
        assert agent(broken) != agent(chat(user("hi")))


class TestMemory:
    def test_what_is_known_is_not_read_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        memo, talk = AgentMemo(), claude(user("hi"), system="Be brief.", tools=[CLAUDES])
        first = memo.of(talk, 0)
        monkeypatch.setattr(instructions, "_value", None)
        assert memo.of(talk, 0) == first

    def test_tools_are_read_once_for_all_instructions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        memo = AgentMemo()
        tools = {"tools": [{"type": "function", "function": WEATHER}]}
        memo.of(chat(system("It is 10:01."), user("hi"), **tools), 1)
        monkeypatch.setattr(instructions, "_declared", None)
        assert memo.of(chat(system("It is 10:02."), user("hi"), **tools), 1)

    def test_it_is_bounded(self) -> None:
        memo = AgentMemo()
        for number in range(AGENTS_KEPT + 10):
            memo.of(chat(system(f"It is {number}."), user("hi")), 1)
        assert len(memo) <= AGENTS_KEPT
