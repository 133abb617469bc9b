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
from gateway_sessions.dialects.gemini_contents import read_content
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import raw


def read(parts: Any, **fields: Any) -> tuple[Message, ...]:
    return read_content(raw({"parts": parts, **fields}))


def part(value: dict[str, Any]) -> Part:
    ((found,),) = (message.parts for message in read([value], role="model"))
    return found


@pytest.mark.parametrize(
    ("role", "expected"),
    [("user", USER), ("model", ASSISTANT), ("function", USER), ("tool", USER), ("system", SYSTEM),
     ("", USER), (None, USER)],
)  # fmt: skip
def test_roles(role: str | None, expected: str) -> None:
    assert read([{"text": "hi"}], role=role) == (Message(expected, (Text("hi"),)),)


def test_missing_role_is_the_users_and_a_part_may_stand_alone() -> None:
    assert read([{"text": "hi"}]) == read({"text": "hi"}) == (Message(USER, (Text("hi"),)),)
    assert read([]) == read(None) == read([{"text": ""}]) == (Message(USER, ()),)


@pytest.mark.parametrize("role", ["assistant", 5, ["user"], {}])
def test_unknown_roles_are_unreadable(role: Any) -> None:
    with pytest.raises(UnreadableBody, match="role"):
        read([{"text": "hi"}], role=role)


@pytest.mark.parametrize("parts", [5, [5], [None], [["a"]]])
def test_contents_of_another_shape_are_unreadable(parts: Any) -> None:
    with pytest.raises(UnreadableBody):
        read(parts)


def test_thoughts() -> None:
    assert part({"text": "hm", "thought": True}) == Thinking("hm")
    assert part({"text": "so", "thought": False, "thoughtSignature": "s"}) == Text("so")
    assert read([{"text": "", "thoughtSignature": "s"}], role="model") == (Message(ASSISTANT, ()),)


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "QUJD"}}, "QUJD"),
        ({"inline_data": {"mime_type": "image/png", "data": "-_8="}}, "+/8="),
        ({"fileData": {"fileUri": "gs://b/a.png"}}, "gs://b/a.png"),
        ({"file_data": {"file_uri": "gs://b/a.png"}}, "gs://b/a.png"),
        ({"inlineData": {"mimeType": "a/b"}}, '{"mimeType":"a/b"}'),
        ({"new": {"x": 1}, "thoughtSignature": "s"}, '{"new":{"x":1}}'),
        ({"text": 5}, '{"text":5}'),
    ],
)  # fmt: skip
def test_media_and_unknown_parts(value: dict[str, Any], reference: str) -> None:
    assert part(value) == Media(reference)


@pytest.mark.parametrize("key", ["functionCall", "function_call"])
def test_function_call(key: str) -> None:
    assert part({key: {"name": "f", "args": {"a": 1}}}) == ToolCall("", "f", {"a": 1})
    call = {key: {"id": "1", "name": "f"}, "thoughtSignature": "s"}
    assert part(call) == ToolCall("1", "f", {})


@pytest.mark.parametrize("key", ["functionResponse", "function_response"])
def test_function_response(key: str) -> None:
    response = {"name": "f", "response": {"result": "42"}}
    assert part({key: response}) == ToolResult("", (Text("42"),))
    assert part({key: response | {"id": "1"}}) == ToolResult("1", (Text("42"),))


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"output": "42"}, "42"),
        ({"error": "no"}, "no"),
        ({"content": "42"}, "42"),
        ({"result": {"b": 1, "a": 2}}, '{"result":{"a":2,"b":1}}'),
        ({"other": "42"}, '{"other":"42"}'),
        ({"result": "42", "more": 1}, '{"more":1,"result":"42"}'),
        ({}, "{}"),
        ("42", '"42"'),
    ],
)
def test_results_that_are_objects(response: Any, text: str) -> None:
    found = part({"functionResponse": {"name": "f", "response": response}})
    assert found == ToolResult("", (Text(text),))


def test_result_with_a_picture() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
    response = {"name": "f", "response": {"result": "see"}, "parts": [picture]}
    assert part({"functionResponse": response}) == ToolResult("", (Text("see"), Media("QUJD")))
    assert part({"functionResponse": {"name": "f"}}) == ToolResult("", ())


def test_code_and_its_result() -> None:
    code = {"language": "PYTHON", "code": "1+1", "id": "x"}
    assert part({"executableCode": code}) == ToolCall(
        "x", "code_execution", {"language": "PYTHON", "code": "1+1"}
    )
    result = {"outcome": "OUTCOME_OK", "output": "2"}
    assert part({"codeExecutionResult": result}) == ToolResult("", (Text("2"),))


def test_results_are_messages_of_their_own() -> None:
    results = [{"functionResponse": {"name": name, "response": {"result": name}}} for name in "fg"]
    assert read([*results, {"text": "so?"}], role="user") == (
        Message(USER, (ToolResult("", (Text("f"),)),)),
        Message(USER, (ToolResult("", (Text("g"),)),)),
        Message(USER, (Text("so?"),)),
    )
