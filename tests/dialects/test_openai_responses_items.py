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
from gateway_sessions.dialects.openai_responses_items import read_item
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import raw


def read(item: Any) -> Message:
    (found,) = read_item(raw(item))
    return found


def parts(*content: Any) -> tuple[Part, ...]:
    return read({"role": "user", "content": list(content)}).parts


@pytest.mark.parametrize(
    ("role", "expected"),
    [("system", SYSTEM), ("developer", SYSTEM), ("user", USER), ("assistant", ASSISTANT)],
)
def test_messages_with_and_without_type(role: str, expected: str) -> None:
    message = Message(expected, (Text("hi"),))
    assert read({"role": role, "content": "hi"}) == message
    content = [{"type": "input_text", "text": "hi"}]
    assert read({"type": "message", "role": role, "content": content}) == message
    output = {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}
    whole = {"type": "message", "id": "msg_1", "status": "completed", "role": role}
    sealed = Message(expected, (Text("hi"),), "msg_1" if expected == ASSISTANT else "")
    assert read(whole | {"content": [output]}) == sealed


def test_text_is_what_the_user_says() -> None:
    assert read("hi") == Message(USER, (Text("hi"),))
    assert read("") == Message(USER, ())


@pytest.mark.parametrize(
    "item",
    [5, None, ["a"], {"role": "nobody", "content": "a"}, {"content": "a"}, {"role": 5},
     {"type": "message", "content": "a"}, {"type": 5, "role": "user"},
     {"role": "user", "content": 5}, {"role": "user", "content": [5]}],
)  # fmt: skip
def test_items_of_another_shape_are_unreadable(item: Any) -> None:
    with pytest.raises(UnreadableBody):
        read(item)


@pytest.mark.parametrize(
    ("block", "reference"),
    [
        ({"type": "input_image", "image_url": "https://x/a.png", "detail": "low"},
         "https://x/a.png"),
        ({"type": "input_image", "image_url": "data:image/png;base64,QUJD"}, "QUJD"),
        ({"type": "input_image", "image_url": None, "file_id": "file-1"}, "file-1"),
        ({"type": "input_image", "image_url": {"url": "https://x/a.png"}}, "https://x/a.png"),
        ({"type": "input_file", "filename": "a", "file_data": "data:a/b;base64,QUJD"}, "QUJD"),
        ({"type": "input_file", "file_url": "https://x/a.pdf"}, "https://x/a.pdf"),
        ({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}, "QUJD"),
        ({"type": "new", "x": 1, "annotations": []}, '{"type":"new","x":1}'),
        ({"type": "input_text", "text": 5}, '{"text":5,"type":"input_text"}'),
    ],
)  # fmt: skip
def test_media_and_unknown_blocks(block: dict[str, Any], reference: str) -> None:
    assert parts(block) == (Media(reference),)


def test_refusal_is_text_and_reasoning_is_thinking() -> None:
    assert parts({"type": "refusal", "refusal": "no"}) == (Text("no"),)
    assert parts({"type": "reasoning_text", "text": "hm"}) == (Thinking("hm"),)


def test_function_call_and_its_output() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f"}
    assert read(call | {"arguments": '{"b":1,"a":2}', "status": "completed"}) == Message(
        ASSISTANT, (ToolCall("call_1", "f", {"a": 2, "b": 1}),)
    )
    assert read(call | {"arguments": ""}).parts == (ToolCall("call_1", "f", {}),)
    output = {"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "42"}
    result = Message(USER, (ToolResult("call_1", (Text("42"),)),))
    assert read(output) == result
    assert read(output | {"output": [{"type": "input_text", "text": "42"}]}) == result


def test_custom_tool_call_and_its_output() -> None:
    call = {"type": "custom_tool_call", "call_id": "call_1", "name": "f", "input": '{"a": 1}'}
    assert read(call) == Message(ASSISTANT, (ToolCall("call_1", "f", '{"a": 1}'),))
    output = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "42"}
    assert read(output) == Message(USER, (ToolResult("call_1", (Text("42"),)),))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"summary": []}, ""),
        ({"summary": [], "encrypted_content": "gAAA"}, ""),
        ({"summary": [{"type": "summary_text", "text": "h"}, {"text": "m"}]}, "h\nm"),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}, "hm"),
        ({"summary": "x", "content": [5]}, ""),
    ],
)
def test_reasoning(fields: dict[str, Any], words: str) -> None:
    expected = (Thinking(words),) if words else ()
    seal = fields.get("encrypted_content", "rs_1")
    assert read({"type": "reasoning", "id": "rs_1", **fields}) == Message(ASSISTANT, expected, seal)


BUILT_IN: list[tuple[dict[str, Any], str, Any]] = [
    ({"type": "web_search_call", "action": {"type": "search", "query": "q", "sources": [1]}},
     "web_search", {"action": {"type": "search", "query": "q"}}),
    ({"type": "web_search_call", "action": None}, "web_search", {}),
    ({"type": "file_search_call", "queries": ["q"], "results": [{"text": "a"}]},
     "file_search", {"queries": ["q"]}),
    ({"type": "code_interpreter_call", "code": "1+1", "container_id": "c", "outputs": None},
     "code_interpreter", {"code": "1+1"}),
    ({"type": "computer_call", "action": {"type": "click", "x": 1}, "pending_safety_checks": []},
     "computer", {"action": {"type": "click", "x": 1}}),
    ({"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}},
     "local_shell", {"action": {"type": "exec", "command": ["ls"]}}),
    ({"type": "shell_call", "action": {"commands": ["ls"], "timeout_ms": None}},
     "shell", {"action": {"commands": ["ls"]}}),
    ({"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
     "apply_patch", {"operation": {"type": "delete_file", "path": "a"}}),
    ({"type": "image_generation_call", "result": None}, "image_generation", {}),
    ({"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{}"}, "f", {}),
    ({"type": "mcp_approval_request", "name": "f", "arguments": '{"a": 1}'}, "f", {"a": 1}),
    ({"type": "program", "code": "x", "fingerprint": "f"}, "program", {"code": "x"}),
    ({"type": "brand_new_call", "what": 1}, "brand_new", {"what": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("item", "name", "arguments"), BUILT_IN)
def test_calls_of_built_in_tools(item: dict[str, Any], name: str, arguments: Any) -> None:
    call = Message(ASSISTANT, (ToolCall("x_1", name, arguments),))
    assert read({"id": "x_1", "status": "completed", **item}) == call
    assert read({"id": "x_1", "status": "in_progress", **item}) == call


def test_calls_without_what_they_did_are_the_same() -> None:
    call = {"type": "mcp_call", "id": "mcp_1", "name": "f", "arguments": "{}", "output": "42"}
    assert read(call) == Message(
        ASSISTANT, (ToolCall("mcp_1", "f", {}), ToolResult("mcp_1", (Text("42"),)))
    )
    image = {"type": "image_generation_call", "id": "ig_1", "result": "QUJD"}
    assert read(image) == Message(ASSISTANT, (Media("QUJD"),))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "computer_call_output", "call_id": "1",
          "output": {"type": "computer_screenshot", "image_url": "data:a/b;base64,QUJD"}},
         (Media("QUJD"),)),
        ({"type": "local_shell_call_output", "id": "1", "output": "ok"}, (Text("ok"),)),
        ({"type": "shell_call_output", "call_id": "1", "output": [{"stdout": "a", "stderr": ""}]},
         (Media('{"stderr":"","stdout":"a"}'),)),
        ({"type": "apply_patch_call_output", "call_id": "1", "status": "completed"}, (Text("{}"),)),
        ({"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
         (Text('{"approve":true}'),)),
        ({"type": "program_output", "call_id": "1", "result": "ok"}, (Text("ok"),)),
        ({"type": "function_call_output", "call_id": "1", "output": ""}, ()),
    ],
)  # fmt: skip
def test_outputs_are_the_clients(item: dict[str, Any], expected: tuple[Text | Media, ...]) -> None:
    assert read(item) == Message(USER, (ToolResult("1", expected),))


def test_items_that_say_nothing() -> None:
    for kind in ("item_reference", "mcp_list_tools"):
        assert read({"type": kind, "id": "x", "tools": []}) == Message(ASSISTANT, ())
    assert read({"type": "compaction_trigger"}) == Message(SYSTEM, ())


def test_unknown_items_differ() -> None:
    item = {"type": "compaction", "id": "1", "encrypted_content": "a"}
    assert read(item).role == ASSISTANT
    assert read(item) == read(item | {"id": "2"})
    assert read(item) != read(item | {"encrypted_content": "b"})
    assert read({"type": "additional_tools", "role": "developer", "tools": []}).role == SYSTEM
