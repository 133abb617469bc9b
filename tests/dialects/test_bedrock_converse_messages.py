from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Media,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway_sessions.dialects.bedrock_converse_messages import assistant_message, read_message
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import raw


def read(role: Any, *content: Any) -> tuple[Message, ...]:
    return read_message(raw({"role": role, "content": list(content)}))


def part(block: dict[str, Any]) -> Part:
    ((found,),) = (message.parts for message in read("assistant", block))
    return found


def test_roles() -> None:
    assert read("user", {"text": "hi"}) == (Message(USER, (Text("hi"),)),)
    assert read("assistant", {"text": "hi"}) == (Message(ASSISTANT, (Text("hi"),)),)
    assert assistant_message({"content": [{"text": "hi"}]}) == Message(ASSISTANT, (Text("hi"),))


@pytest.mark.parametrize("role", ["system", "", None, 5, {}])
def test_unknown_roles_are_unreadable(role: Any) -> None:
    with pytest.raises(UnreadableBody, match="role"):
        read(role, {"text": "hi"})


@pytest.mark.parametrize("content", [5, {"text": "a"}, [5], [None]])
def test_contents_of_another_shape_are_unreadable(content: Any) -> None:
    with pytest.raises(UnreadableBody):
        read_message(raw({"role": "user", "content": content}))


@pytest.mark.parametrize(
    ("block", "reference"),
    [
        ({"image": {"format": "png", "source": {"bytes": "QUJD"}}}, "QUJD"),
        ({"document": {"format": "pdf", "name": "a", "source": {"bytes": "QUJD"}}}, "QUJD"),
        ({"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/a"}}}}, "s3://b/a"),
        ({"audio": {"format": "wav", "source": {}}}, '{"audio":{"format":"wav","source":{}}}'),
        ({"guardContent": {"image": {"format": "png", "source": {"bytes": "QUJD"}}}}, "QUJD"),
        ({"new": {"x": 1}}, '{"new":{"x":1}}'),
        ({"text": 5}, '{"text":5}'),
    ],
)  # fmt: skip
def test_media_and_unknown_blocks(block: dict[str, Any], reference: str) -> None:
    assert part(block) == Media(reference)


def test_texts_in_other_blocks() -> None:
    assert part({"guardContent": {"text": {"text": "hi", "qualifiers": []}}}) == Text("hi")
    cited = {"citationsContent": {"content": [{"text": "hi"}], "citations": []}}
    assert part(cited) == Text("hi")
    assert read("user", {"text": "hi"}, {"cachePoint": {"type": "default"}}) == read(
        "user", {"text": "hi"}
    )


def test_tool_use_and_results() -> None:
    use = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}
    assert part(use) == ToolCall("t1", "f", {"a": 1})
    content = [{"text": "a"}, {"json": {"b": 1, "a": 2}}, {"image": {"source": {"bytes": "QUJD"}}}]
    result = {"toolResult": {"toolUseId": "t1", "content": content, "status": "success"}}
    assert part(result) == ToolResult("t1", (Text("a"), Text('{"a":2,"b":1}'), Media("QUJD")))


def test_reasoning() -> None:
    said = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
    assert part(said) == Thinking("hm")
    hidden = {"reasoningContent": {"redactedContent": "QUJD"}}
    assert read("assistant", hidden) == (Message(ASSISTANT, ()),)


def test_results_are_messages_of_their_own() -> None:
    results = [{"toolResult": {"toolUseId": name, "content": []}} for name in "ab"]
    assert read("user", *results, {"text": "so?"}) == (
        Message(USER, (ToolResult("a", ()),)),
        Message(USER, (ToolResult("b", ()),)),
        Message(USER, (Text("so?"),)),
    )
