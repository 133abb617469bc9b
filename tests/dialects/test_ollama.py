from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Conversation,
    Media,
    Message,
    Part,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from gateway_sessions.dialects.ollama import LineAssembler, Ollama, read_message
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import cuts, line, raw

DIALECT = Ollama()
FRAME = {"model": "llama", "created_at": "2026-01-01T00:00:00Z"}
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 5}
SAID = {"role": "assistant", "content": "hi"}


def request(**fields: Any) -> Conversation:
    return DIALECT.read_request(json.dumps({"model": "m", **fields}).encode(), "/api/x")


def messages(conversation: Conversation) -> list[Message]:
    return [message for raw in conversation.messages for message in conversation.read(raw)]


def parts(**fields: Any) -> tuple[Part, ...]:
    (found,) = read_message(raw({"role": "assistant", **fields}))
    return found.parts


def fed(*lines: bytes) -> LineAssembler:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    stream = b"".join(lines)
    assembler = LineAssembler()
    assembler.feed(stream)
    for seed in range(3):
        other = LineAssembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler


def chat(content: str = "", **fields: Any) -> bytes:
    return line(FRAME | {"message": {"role": "assistant", "content": content} | fields}
                | {"done": False})  # fmt: skip


def test_chat() -> None:
    conversation = request(messages=[{"role": "user", "content": "hi"}], tools=[], options={})
    assert messages(conversation) == [Message(USER, (Text("hi"),))]
    assert (conversation.model, conversation.tools, conversation.fields) == ("m", b"[]", {})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, True), ({"stream": True}, True), ({"stream": None}, True), ({"stream": False}, False)],
)
def test_streams_unless_told_otherwise(fields: dict[str, Any], *, expected: bool) -> None:
    assert request(messages=[{"role": "user"}], **fields).stream is expected


def test_prompt_is_what_the_user_says() -> None:
    conversation = request(prompt="hi", system="be", images=["QUJD"], context=[1, 2])
    assert messages(conversation) == [Message(USER, (Text("hi"), Media("QUJD")))]
    assert conversation.system == b'"be"'
    assert conversation.fields == {"context": [1, 2]}
    assert request(prompt="hi", session_id="s", context=[1]).fields == {
        "session_id": "s",
        "context": [1],
    }
    assert messages(request(prompt="a", suffix="b")) == [Message(USER, (Text("a"), Text("b")))]


def test_prompt_and_message_are_the_same() -> None:
    user = {"role": "user", "content": "hi", "images": ["QUJD"]}
    assert messages(request(prompt="hi", images=["QUJD"])) == messages(request(messages=[user]))


@pytest.mark.parametrize("fields", [{}, {"messages": []}, {"prompt": None}, {"messages": None}])
def test_loading_a_model_is_no_conversation(fields: dict[str, Any]) -> None:
    with pytest.raises(UnreadableBody, match="no messages"):
        request(**fields)


@pytest.mark.parametrize("prompt", [5, True, [5]])
def test_prompt_of_another_shape_is_unreadable(prompt: Any) -> None:
    with pytest.raises(UnreadableBody):
        messages(request(prompt=prompt))


@pytest.mark.parametrize(
    ("role", "expected"), [("system", SYSTEM), ("user", USER), ("assistant", ASSISTANT)]
)
def test_roles(role: str, expected: str) -> None:
    assert read_message(raw({"role": role, "content": "hi"})) == (Message(expected, (Text("hi"),)),)


@pytest.mark.parametrize("role", ["model", "", None, 5, {}])
def test_unknown_roles_are_unreadable(role: Any) -> None:
    with pytest.raises(UnreadableBody, match="role"):
        read_message(raw({"role": role, "content": "hi"}))


def test_reasoning_content_images_and_calls() -> None:
    calls = [
        {"function": {"name": "f", "arguments": {"a": 1}}},
        {"id": "call_1", "function": {"name": "g", "arguments": '{"a": 1}'}},
        {"function": {"name": "h"}},
    ]
    assert parts(content="so", thinking="hm", images=["QUJD", 5], tool_calls=calls) == (
        Thinking("hm"),
        Text("so"),
        Media("QUJD"),
        ToolCall("", "f", {"a": 1}),
        ToolCall("call_1", "g", {"a": 1}),
        ToolCall("", "h", {}),
    )
    assert parts(content="so", images=None, tool_calls=None, thinking="") == (Text("so"),)


@pytest.mark.parametrize("name", ["tool_name", "name"])
def test_result_of_a_tool(name: str) -> None:
    message = {"role": "tool", name: "f", "content": "42"}
    assert read_message(raw(message)) == (Message(USER, (ToolResult("", (Text("42"),)),)),)
    named = read_message(raw(message | {"tool_call_id": "call_1"}))
    assert named == (Message(USER, (ToolResult("call_1", (Text("42"),)),)),)


def test_reply() -> None:
    sent = line(FRAME | {"message": SAID} | END)
    assert DIALECT.read_reply(sent) == Reply(
        messages=(Message(ASSISTANT, (Text("hi"),)),),
        body=sent,
        model="llama",
        finish_reason="stop",
        usage=Usage(10, 5),
    )


def test_reply_to_a_prompt() -> None:
    sent = line(FRAME | {"response": "so", "thinking": "hm", "context": [1]} | END)
    assert DIALECT.read_reply(sent).messages == (Message(ASSISTANT, (Thinking("hm"), Text("so"))),)


@pytest.mark.parametrize(
    "sent",
    ['{"error": "no"}', "[]", "5", "{}", '{"message": 5}', '{"message": {"content": 5}}',
     '{"response": 5, "model": 5, "done_reason": []}'],
)  # fmt: skip
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None


def test_stream_of_a_chat() -> None:
    calls = [{"function": {"name": name, "arguments": {"x": 1}}} for name in "fg"]
    assembler = fed(
        chat(thinking="h"),
        chat(thinking="m"),
        chat("grö"),
        chat("ßer"),
        chat(tool_calls=calls[:1]),
        chat(tool_calls=calls[1:]),
        line(FRAME | {"message": {"role": "assistant", "content": ""}} | END),
    )
    assert assembler.finished
    reply = assembler.reply()
    message = {"role": "assistant", "content": "größer", "thinking": "hm", "tool_calls": calls}
    assert json.loads(reply.body) == FRAME | {"message": message} | END
    assert reply == DIALECT.read_reply(reply.body)
    assert reply.complete


def test_stream_of_an_answer_to_a_prompt() -> None:
    pieces = [line(FRAME | {"response": piece, "done": False}) for piece in ("a", "b")]
    reply = fed(*pieces, line(FRAME | {"response": "", "context": [1, 2]} | END)).reply()
    assert json.loads(reply.body) == FRAME | {"response": "ab", "context": [1, 2]} | END
    assert reply.messages == (Message(ASSISTANT, (Text("ab"),)),)


def test_only_the_last_line_finishes_a_stream() -> None:
    inner = [{"function": {"name": "f", "arguments": {"done": True}}}]
    assert not fed(chat('"done":true', tool_calls=inner)).finished
    assert fed(line({"done": True})[:-1]).reply().complete


def test_broken_off_stream_tells_what_has_come() -> None:
    reply = fed(chat("a"), b'{"message"').reply()
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)
    assert not reply.complete


def test_error_in_a_stream() -> None:
    assert not fed(chat("a"), line({"error": "no"})).reply().complete
    assert not fed(chat("a"), b"oops\n", line({"done": True})).reply().complete


def test_nothing_at_all() -> None:
    assert fed().reply() == Reply((), complete=False)


def test_too_long_a_reply_is_incomplete_but_its_end_is_seen() -> None:
    assembler = LineAssembler(limit=5_000)
    assembler.feed(chat("x" * 1000) * 20 + line(END))
    assert assembler.finished
    assert not assembler.reply().complete


def test_errors() -> None:
    assert json.loads(DIALECT.error_body(500, "no")) == {"error": "no"}
