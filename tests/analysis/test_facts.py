"""What exchanges say, dialect by dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway_sessions.analysis import facts
from gateway_sessions.analysis.facts import Asked, Call, Result
from gateway_sessions.conversation import ASSISTANT, USER
from gateway_sessions.dialects import ROUTES
from gateway_sessions.dialects.openai_chat import OpenAIChat
from tests.analysis.exchanges import PATHS, assistant, chat, completion, result, user

FUNCTION = {"type": "function", "function": {"name": "f"}}


def asked(body: Any, new: int, dialect: str = "openai_chat") -> Asked:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return facts.asked(dialect, PATHS[dialect], sent, new)


def test_every_dialect_is_known_by_its_name() -> None:
    assert set(facts.DIALECTS) == {route.dialect.name for route in ROUTES}


def test_only_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    plain = OpenAIChat.read_request

    def watched(self: OpenAIChat, body: bytes, path: str) -> Any:
        found = plain(self, body, path)
        read = found.read

        def reading(raw: Raw) -> Any:
            seen.append(bytes(raw))
            return read(raw)

        return type(found)(messages=found.messages, read=reading)

    monkeypatch.setattr(OpenAIChat, "read_request", watched)
    history = [assistant("so") if number % 2 else user("hi") for number in range(1000)]
    found = asked(chat(*history, user("newest")), 1)
    assert found.text == "newest"
    assert len(found.delta) == len(found.new) == len(seen) == 1


def test_the_newest_text_is_the_last_that_the_user_said() -> None:
    blocks = {"role": "user", "content": [{"type": "text", "text": t} for t in ("a", "b")]}
    assert asked(chat("old", blocks), 2).text == "a\nb"
    assert asked(chat(user("first"), result("c", "42")), 2).text == "first"
    assert asked(chat(result("c", "42")), 1).text is None
    assert asked(chat("old", assistant("no")), 1).text is None


@pytest.mark.parametrize(
    ("dialect", "body", "expected"),
    [
        ("openai_chat", chat({"role": "system", "content": "be"}, "hi"), True),
        ("openai_chat", chat({"content": "be", "role": "developer"}, "hi"), True),
        ("openai_chat", chat("hi", {"role": "system", "content": "be"}), False),
        ("openai_chat", chat("hi"), False),
        ("openai_responses", {"input": "hi", "instructions": "be"}, True),
        ("openai_responses", {"input": "hi"}, False),
        ("anthropic", {"messages": [user("hi")], "system": "be"}, True),
        ("anthropic", {"messages": [user("hi")]}, False),
        ("gemini", {"contents": [], "systemInstruction": {}}, False),
        ("gemini", {"contents": [{"parts": []}], "systemInstruction": {"parts": []}}, True),
        ("ollama", {"prompt": "hi", "system": "be"}, True),
    ],
)
def test_system_prompts_are_seen_wherever_they_stand(
    dialect: str, body: Any, expected: bool
) -> None:
    assert asked(body, 1, dialect).has_system_prompt is expected


@pytest.mark.parametrize(
    ("dialect", "tools", "count"),
    [
        ("openai_chat", [FUNCTION, FUNCTION], 2),
        ("openai_chat", [], 0),
        ("openai_chat", None, 0),
        ("openai_chat", [5, "x"], 2),
        ("openai_chat", 5, 0),
        ("anthropic", [{"name": "f", "input_schema": {}}], 1),
        ("gemini", [{"functionDeclarations": [{}, {}]}, {"googleSearch": {}}], 3),
        ("gemini", [{"function_declarations": [{}, {}]}], 2),
        ("gemini", [{"functionDeclarations": []}], 0),
        ("bedrock_converse", {"tools": [{"toolSpec": {}}]}, 1),
        ("bedrock_converse", {"tools": 5}, 0),
    ],
)
def test_tools_are_counted(dialect: str, tools: Any, count: int) -> None:
    name = "toolConfig" if dialect == "bedrock_converse" else "tools"
    contents = {"contents": [{"parts": [{"text": "hi"}]}], "messages": [user("hi")]}
    if dialect == "bedrock_converse":
        contents = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    assert asked(contents | {name: tools}, 1, dialect).tool_count == count


ANTHROPIC_RESULTS = {
    "role": "user",
    "content": [
        {"type": "tool_result", "tool_use_id": "a", "content": "grün", "is_error": True},
        {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "4"}]},
        {"type": "text", "text": "and hurry"},
    ],
}


@pytest.mark.parametrize(
    ("dialect", "messages", "expected"),
    [
        ("openai_chat", [result("a", "42")], [Result("a", "", 2, "42", None)]),
        (
            "openai_responses",
            [{"type": "function_call_output", "call_id": "a", "output": "42"}],
            [Result("a", "", 2, "42", None)],
        ),
        (
            "anthropic",
            [ANTHROPIC_RESULTS],
            [Result("a", "", 5, "grün", False), Result("b", "", 1, "4", True)],
        ),
        (
            "gemini",
            [{"parts": [{"functionResponse": {"name": "f", "response": {"error": "no"}}}]}],
            [Result("", "f", 2, "no", False)],
        ),
        (
            "ollama",
            [{"role": "tool", "tool_name": "f", "content": "42"}],
            [Result("", "f", 2, "42", None)],
        ),
        (
            "bedrock_converse",
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "toolResult": {
                                "toolUseId": "a",
                                "content": [{"text": "4"}],
                                "status": "error",
                            }
                        }
                    ],
                }
            ],
            [Result("a", "", 1, "4", False)],
        ),
    ],
)
def test_results_are_found(dialect: str, messages: list[Any], expected: list[Result]) -> None:
    name = {"gemini": "contents", "openai_responses": "input"}.get(dialect, "messages")
    found = asked({name: messages}, len(messages), dialect)
    assert list(found.results) == expected


def test_media_in_a_result_count_by_their_references() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "QUJD"}}
    block = {"type": "tool_result", "tool_use_id": "a", "content": [image]}
    body = {"messages": [{"role": "user", "content": [block]}]}
    assert asked(body, 1, "anthropic").results == (Result("a", "", 4, "", True),)


def test_results_before_the_newest_answer_are_history() -> None:
    messages = ("hi", assistant(a="f"), result("a", "1"), assistant(b="f"), result("b", "2"))
    assert [found.call_id for found in asked(chat(*messages), 5).results] == ["b"]
    assert asked(chat(*messages, assistant("so")), 6).results == ()


@pytest.mark.parametrize("new", [1, 3])
def test_the_call_of_a_result_is_found_before_it(new: int) -> None:
    found = asked(chat("hi", assistant(a="f", b="g"), result("b", "2")), new)
    assert found.call("b") == Call("b", "g", b'{"a":1}')
    assert found.call("x") is None
    assert Asked().call("b") is None


def test_a_call_is_not_looked_for_in_all_of_the_history() -> None:
    body = chat(assistant(a="f"), *["hi"] * facts.CALLS_LOOKED_BACK, result("a", "1"))
    assert asked(body, 1).call("a") is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":[]}', b"[" * 100_000])
@pytest.mark.parametrize("dialect", PATHS)
def test_what_can_not_be_read_has_no_content(dialect: str, body: bytes) -> None:
    found = asked(body, 3, dialect)
    assert found.unreadable
    assert (found.new, found.delta, found.text, found.results) == ((), (), None, ())
    assert facts.answered(dialect, body).message is None


def test_an_unknown_format_has_no_content() -> None:
    assert facts.asked("telex", "/", b"{}", 1).unreadable
    assert facts.answered("telex", b"{}") == facts.Answered()


def test_one_message_that_can_not_be_read_is_passed_over() -> None:
    found = asked(chat({"role": "nobody"}, "hi"), 2)
    assert (len(found.new), len(found.delta), found.text) == (2, 1, "hi")


def test_more_new_messages_than_there_are_is_all() -> None:
    assert len(asked(chat("hi", "ho"), 9).new) == 2
    assert asked(chat("hi", "ho"), 0).new == ()


def test_an_answer() -> None:
    message = assistant("so", c1="f") | {"reasoning_content": "hm"}
    found = facts.answered("openai_chat", json.dumps(completion(message)).encode())
    assert found.message is not None
    assert found.message.role == ASSISTANT
    assert (found.text, found.blocks) == ("so", 3)
    assert found.calls == (Call("c1", "f", b'{"a":1}'),)
    assert found.reply is not None
    assert found.reply.finish_reason == "tool_calls"


def test_of_alternatives_the_first_counts() -> None:
    body = completion("one")
    body["choices"].append({"index": 1, "message": assistant("two", c1="f")})
    found = facts.answered("openai_chat", json.dumps(body).encode())
    assert (found.text, found.calls) == ("one", ())
    assert found.alternatives == (facts.Alternative("two", (facts.Call("c1", "f", b'{"a":1}'),)),)


def test_tools_at_the_providers_have_their_results_in_the_answer() -> None:
    content = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "text", "text": "so"},
    ]
    found = facts.answered("anthropic", json.dumps({"content": content}).encode())
    assert [call.name for call in found.calls] == ["web_search"]
    assert found.results == (Result("s1", "", 0, "", True),)


def test_an_answer_without_text_or_message() -> None:
    silent = facts.answered("openai_chat", json.dumps(completion(assistant(c="f"))).encode())
    assert (silent.text, silent.blocks) == (None, 1)
    counted = facts.answered("anthropic", b'{"input_tokens": 12}')
    assert (counted.message, counted.text, counted.blocks) == (None, None, 0)


def test_names_hold_no_surrogates() -> None:
    body = json.dumps(completion(assistant(c1="f"))).replace('"f"', '"f\\ud83d\\ude00"')
    (call,) = facts.answered("openai_chat", body.encode()).calls
    assert call.name == "f😀"


def test_a_delta_knows_who_said_what() -> None:
    found = asked(chat("hi", assistant("so")), 2)
    assert [message.role for message in found.delta] == [USER, ASSISTANT]
