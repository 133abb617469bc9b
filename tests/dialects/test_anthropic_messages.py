from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Media,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway_sessions.dialects import openai_chat_messages
from gateway_sessions.dialects.anthropic_messages import assistant_message, read_message
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import raw


def read(role: str, content: Any) -> tuple[Message, ...]:
    return read_message(raw({"role": role, "content": content}))


def part(block: dict[str, Any]) -> Part:
    ((found,),) = (message.parts for message in read("assistant", [block]))
    return found


@pytest.mark.parametrize(
    ("role", "expected"), [("user", USER), ("assistant", ASSISTANT), ("system", SYSTEM)]
)
def test_roles(role: str, expected: str) -> None:
    assert read(role, "hi") == (Message(expected, (Text("hi"),)),)


@pytest.mark.parametrize("role", ["tool", "", None, 5, {}])
def test_unknown_roles_are_unreadable(role: Any) -> None:
    with pytest.raises(UnreadableBody, match="role"):
        read(role, "hi")


@pytest.mark.parametrize("content", [5, {"type": "text"}, [5], [None]])
def test_contents_of_another_shape_are_unreadable(content: Any) -> None:
    with pytest.raises(UnreadableBody):
        read("user", content)


def test_string_and_text_block_are_equal() -> None:
    block = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}, "citations": []}
    assert read("user", [block]) == read("user", "hi") == read("user", ["hi"])
    assert read("user", "") == read("user", []) == read("user", None) == (Message(USER, ()),)


@pytest.mark.parametrize(
    ("block", "reference"),
    [
        ({"type": "image", "source": {"type": "base64", "media_type": "a/b", "data": "QUJD"}},
         "QUJD"),
        ({"type": "image", "source": {"type": "url", "url": "https://x/a.png"}}, "https://x/a.png"),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "file_1"),
        ({"type": "document", "title": "t", "source": {"type": "text", "data": "words"}}, "words"),
        ({"type": "container_upload", "file_id": "file_1"}, "file_1"),
        ({"type": "document", "source": {"type": "content", "content": "c"}},
         '{"source":{"content":"c","type":"content"},"type":"document"}'),
        ({"type": "search_result", "source": "s", "title": "t", "content": [],
          "citations": {"enabled": True}},
         '{"content":[],"source":"s","title":"t","type":"search_result"}'),
        ({"type": "text", "text": None}, '{"text":null,"type":"text"}'),
        ({"type": 5}, '{"type":5}'),
    ],
)  # fmt: skip
def test_media_and_unknown_blocks(block: dict[str, Any], reference: str) -> None:
    assert part(block) == Media(reference)


def test_pictures_are_equal_in_both_dialects() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    other = openai_chat_messages.read_message(raw({"role": "user", "content": [image]}))
    assert read("user", [{"type": "image", "source": source}]) == other


def test_tool_use() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    assert part(block) == ToolCall("toolu_1", "f", {"a": 1})
    assert part(block | {"type": "server_tool_use"}) == ToolCall("toolu_1", "f", {"a": 1})
    assert part(block | {"type": "mcp_tool_use"}) == ToolCall("toolu_1", "f", {"a": 1})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("42", (Text("42"),)),
        ([{"type": "text", "text": "42"}], (Text("42"),)),
        ([{"type": "image", "source": {"type": "base64", "data": "QUJD"}}], (Media("QUJD"),)),
        ([{"type": "tool_result", "content": "x"}],
         (Media('{"content":"x","type":"tool_result"}'),)),
        (None, ()),
        ("", ()),
    ],
)  # fmt: skip
def test_tool_result(content: Any, expected: tuple[Text | Media, ...]) -> None:
    block = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, "is_error": False}
    assert part(block) == ToolResult("toolu_1", expected)


def test_results_of_tools_of_the_provider() -> None:
    found = {"type": "web_search_result", "url": "https://x", "encrypted_content": "e"}
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]}
    text = '{"encrypted_content":"e","type":"web_search_result","url":"https://x"}'
    assert part(block) == ToolResult("srvtoolu_1", (Media(text),))
    error = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    text = '{"error_code":"unavailable","type":"web_search_tool_result_error"}'
    assert part(block | {"content": error}) == ToolResult("srvtoolu_1", (Media(text),))


def test_thinking() -> None:
    assert part({"type": "thinking", "thinking": "hm", "signature": "s"}) == Thinking("hm")
    assert part({"type": "redacted_thinking", "data": "x"}) == Thinking("x")


@pytest.mark.parametrize(
    ("first", "seal"),
    [
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, "s"),
        ({"type": "redacted_thinking", "data": "x"}, "x"),
        ({"type": "thinking", "thinking": "hm"}, ""),
        ({"type": "text", "text": "hm", "signature": "s"}, ""),
    ],
)
def test_signed_reasoning_seals_a_reply(first: dict[str, Any], seal: str) -> None:
    content = [first, {"type": "text", "text": "so"}]
    assert assistant_message(content).seal == seal
    assert [message.seal for message in read("assistant", content)] == [seal]
    assert [message.seal for message in read("system", content)] == [""]


def test_tool_results_are_messages_of_their_own_as_in_openai_chat() -> None:
    blocks = [
        {"type": "tool_result", "tool_use_id": "1", "content": "a"},
        {"type": "tool_result", "tool_use_id": "2", "content": "b"},
        {"type": "text", "text": "c"},
        {"type": "text", "text": "d"},
    ]
    assert read("user", blocks) == (
        Message(USER, (ToolResult("1", (Text("a"),)),)),
        Message(USER, (ToolResult("2", (Text("b"),)),)),
        Message(USER, (Text("c"), Text("d"))),
    )


def test_answer_with_results_of_the_provider_is_one_message() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
        {"type": "text", "text": "so"},
    ]
    expected = (ToolCall("1", "web_search", {}), ToolResult("1", ()), Text("so"))
    assert read("assistant", blocks) == (Message(ASSISTANT, expected),)
