from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

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
from gateway_sessions.dialects.openai_chat_messages import assistant_message, read_message
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import raw


def read(message: dict[str, Any]) -> Message:
    (found,) = read_message(raw(message))
    return found


def parts(content: Any, **fields: Any) -> tuple[Part, ...]:
    return read({"role": "assistant", "content": content, **fields}).parts


@pytest.mark.parametrize(
    ("role", "expected"),
    [("system", SYSTEM), ("developer", SYSTEM), ("user", USER), ("assistant", ASSISTANT)],
)
def test_roles(role: str, expected: str) -> None:
    assert read({"role": role, "content": "hi"}) == Message(expected, (Text("hi"),))


@pytest.mark.parametrize("role", ["model", "", None, 5, ["user"], {}])
def test_unknown_roles_are_unreadable(role: Any) -> None:
    with pytest.raises(UnreadableBody, match="role"):
        read({"role": role, "content": "hi"})


def test_message_without_role_is_unreadable() -> None:
    with pytest.raises(UnreadableBody):
        read({"content": "hi"})


@pytest.mark.parametrize("content", [None, "", [], [""], [{"type": "text", "text": ""}]])
def test_empty_contents_are_equal(content: Any) -> None:
    assert read({"role": "user", "content": content}) == read({"role": "user"}) == Message(USER, ())


def test_text_blocks_and_bare_strings() -> None:
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, "b"]
    assert parts(blocks) == (Text("a"), Text("b"))
    assert parts([{"type": "input_text", "text": "a"}]) == (Text("a"),)


@pytest.mark.parametrize("content", [5, True, {"type": "text", "text": "a"}, [5], [None], [["a"]]])
def test_contents_of_another_shape_are_unreadable(content: Any) -> None:
    for role in ("user", "assistant", "system", "tool"):
        with pytest.raises(UnreadableBody):
            read({"role": role, "content": content})


@pytest.mark.parametrize(
    ("block", "reference"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}},
         "https://x/a.png"),
        ({"type": "image_url", "image_url": "https://x/a.png"}, "https://x/a.png"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}, "QUJD"),
        ({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}, "QUJD"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file-1"),
        ({"type": "file", "file": {"filename": "a", "file_data": "data:a/b;base64,QUJD"}}, "QUJD"),
        ({"type": "video_url", "video_url": {"url": "https://x/a.mp4"}}, "https://x/a.mp4"),
        ({"type": "new", "x": 1, "citations": []}, '{"type":"new","x":1}'),
        ({"type": "text", "text": 5}, '{"text":5,"type":"text"}'),
        ({"type": "file", "file": {}}, '{"file":{},"type":"file"}'),
        ({"x": 1}, '{"x":1}'),
        ({"type": ["text"]}, '{"type":["text"]}'),
    ],
)  # fmt: skip
def test_media_and_unknown_blocks(block: dict[str, Any], reference: str) -> None:
    assert read({"role": "user", "content": [block]}).parts == (Media(reference),)


def test_tool_result() -> None:
    message = read({"role": "tool", "tool_call_id": "call_1", "content": "42"})
    assert message == Message(USER, (ToolResult("call_1", (Text("42"),)),))
    blocks = read(
        {"role": "tool", "tool_call_id": None, "content": [{"type": "text", "text": "4"}]}
    )
    assert blocks == Message(USER, (ToolResult("", (Text("4"),)),))


def test_result_of_a_function() -> None:
    message = read({"role": "function", "name": "f", "content": "42"})
    assert message == Message(USER, (ToolResult("", (Text("42"),)),))


def test_tool_calls() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"b":1,"a":2}'}},
        {"id": "2", "type": "function", "function": {"name": "g", "arguments": '{"a":'}},
        {"id": "3", "type": "custom", "custom": {"name": "h", "input": '{"a": 1}'}},
        {"id": "4", "type": "new", "x": 1},
    ]
    assert parts("so", tool_calls=calls) == (
        Text("so"),
        ToolCall("1", "f", {"a": 2, "b": 1}),
        ToolCall("2", "g", '{"a":'),
        ToolCall("3", "h", '{"a": 1}'),
        Media('{"type":"new","x":1}'),
    )
    assert parts("so", tool_calls=None) == parts("so", tool_calls=[]) == (Text("so"),)


def test_content_may_be_left_out() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    call = ToolCall("1", "f", {})
    assert read({"role": "assistant", "tool_calls": calls}) == Message(ASSISTANT, (call,))
    assert read({"role": "assistant", "refusal": "no"}) == Message(ASSISTANT, (Text("no"),))
    assert assistant_message({"content": None, "tool_calls": calls}).parts == (call,)


@pytest.mark.parametrize("calls", [5, "x", {"a": 1}, [5], [None]])
def test_tool_calls_of_another_shape_are_unreadable(calls: Any) -> None:
    with pytest.raises(UnreadableBody, match="tool calls"):
        parts(None, tool_calls=calls)


def test_legacy_function_call() -> None:
    call = {"name": "f", "arguments": '{"a": 1}'}
    assert parts(None, function_call=call) == (ToolCall("", "f", {"a": 1}),)


def test_refusal_is_text() -> None:
    assert parts(None, refusal="no") == parts([{"type": "refusal", "refusal": "no"}])
    assert parts(None, refusal="no") == (Text("no"),)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_first(field: str) -> None:
    assert parts("so", **{field: "hm"}) == (Thinking("hm"), Text("so"))


def test_thinking_blocks() -> None:
    inner = [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}, 5]
    assert parts([{"type": "thinking", "thinking": inner}]) == (Thinking("hm"),)
    assert parts([{"type": "thinking", "thinking": "hm"}]) == (Thinking("hm"),)


def test_spoken_answer() -> None:
    assert parts(None, audio={"id": "audio_1"}) == (Media("audio_1"),)


def test_invalid_utf8_is_unreadable_when_it_is_read() -> None:
    with pytest.raises(UnreadableBody):
        read_message(Raw(b'{"role": "user", "content": "\xff"}'))


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CALLS = {"role": "assistant", "tool_calls": [CALL]}


@pytest.mark.parametrize(
    "message",
    [
        CALLS,
        CALLS | {"content": None, "refusal": None},
        CALLS | {"content": "Let me see."},
        CALLS | {"content": ""},
        CALLS | {"tool_calls": []},
        CALLS | {"tool_calls": None},
        CALLS | {"tool_calls": [CALL, CALL | {"id": "2"}]},
        CALLS | {"tool_calls": [CALL | {"function": {"name": "f", "arguments": ""}}]},
        CALLS | {"tool_calls": [CALL | {"function": {"name": "f", "arguments": "{"}}]},
        CALLS | {"tool_calls": [CALL | {"function": CALL["function"] | {"strict": True}}]},  # type: ignore[operator]
        CALLS | {"tool_call_id": "3"},
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "tool", "tool_call_id": "1"},
        {"role": "tool", "content": "rain"},
        {"role": "tool", "tool_call_id": "1", "content": "rain", "tool_calls": [CALL]},
        {"role": "assistant"},
    ],
)
def test_the_usual_shape_of_tool_messages_reads_as_any_other(message: dict[str, Any]) -> None:
    # One more field, which says nothing, makes it none of the usual shape.
    assert read(message) == read(message | {"unusual": 1})
