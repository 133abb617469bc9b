from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Message,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from gateway_sessions.dialects.cohere import Cohere, CohereAssembler
from tests.dialects.wire import body, cuts, event

DIALECT = Cohere()
USAGE = {"billed_units": {"input_tokens": 3}, "tokens": {"input_tokens": 10, "output_tokens": 5}}


def named(kind: str, index: int | None = None, **message: Any) -> bytes:
    data: dict[str, Any] = {"type": kind, "delta": {"message": message}}
    return event(data | ({} if index is None else {"index": index}), kind)


def started() -> bytes:
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
    data = {"id": "c1", "type": "message-start", "delta": {"message": message | {"citations": []}}}
    return event(data, "message-start")


def ended(reason: str = "COMPLETE") -> bytes:
    delta = {"finish_reason": reason, "usage": USAGE}
    return event({"type": "message-end", "delta": delta}, "message-end")


def text_block(index: int, kind: str, *pieces: str) -> bytes:
    opened = named("content-start", index, content={"type": kind, kind: ""})
    deltas = b"".join(named("content-delta", index, content={kind: piece}) for piece in pieces)
    return opened + deltas + named("content-end", index)


def assembled(*events: bytes) -> Reply:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    stream = b"".join(events)
    assembler = CohereAssembler()
    assembler.feed(stream)
    for seed in range(3):
        other = CohereAssembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler.reply()


def test_request() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    document = {"type": "document", "document": {"data": "42"}}
    sent = body(
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_plan": "I will", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": [document]},
    )
    conversation = DIALECT.read_request(sent, "/v2/chat")
    user, answer, result = (
        message for raw in conversation.messages for message in conversation.read(raw)
    )
    assert user == Message(USER, (Text("hi"),))
    assert answer == Message(ASSISTANT, (ToolCall("1", "f", {}),))
    assert isinstance(result.parts[0], ToolResult)


def test_reply() -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "so"}]}
    whole = {"id": "c1", "message": message, "finish_reason": "COMPLETE", "usage": USAGE}
    sent = json.dumps(whole).encode()
    assert DIALECT.read_reply(sent) == Reply(
        messages=(Message(ASSISTANT, (Text("so"),)),),
        body=sent,
        id="c1",
        finish_reason="COMPLETE",
        usage=Usage(10, 5),
    )


@pytest.mark.parametrize(
    "sent", ['{"message": "no"}', "[]", "5", "{}", '{"message": {"content": 5}}', '{"usage": 5}']
)
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None


def test_stream_of_text() -> None:
    citation = {"start": 0, "end": 3, "text": "grö"}
    reply = assembled(
        started(),
        text_block(0, "thinking", "h", "m"),
        text_block(1, "text", "grö", "ßer"),
        named("citation-start", 0, citations=citation),
        named("citation-end", 0),
        ended(),
    )
    assert json.loads(reply.body) == {
        "id": "c1",
        "message": {
            "role": "assistant",
            "tool_plan": "",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "größer"},
            ],
            "citations": [citation],
        },
        "finish_reason": "COMPLETE",
        "usage": USAGE,
    }
    assert reply.messages == (Message(ASSISTANT, (Thinking("hm"), Text("größer"))),)
    assert reply == DIALECT.read_reply(reply.body)


def call(index: int, name: str, *pieces: str) -> bytes:
    opened = {"id": name, "type": "function", "function": {"name": name, "arguments": ""}}
    return b"".join(
        (
            named("tool-call-start", index, tool_calls=opened),
            *(
                named("tool-call-delta", index, tool_calls={"function": {"arguments": piece}})
                for piece in pieces
            ),
            named("tool-call-end", index),
        )
    )


def test_stream_of_tool_calls() -> None:
    reply = assembled(
        started(),
        named("tool-plan-delta", tool_plan="I "),
        named("tool-plan-delta", tool_plan="will"),
        call(0, "f", '{"x"', ": 1}"),
        call(1, "g", "{}"),
        ended("TOOL_CALL"),
    )
    (answer,) = reply.messages
    assert answer.parts == (
        Thinking("I will"),
        ToolCall("f", "f", {"x": 1}),
        ToolCall("g", "g", {}),
    )
    assert reply.finish_reason == "TOOL_CALL"


def test_only_message_end_finishes_a_stream() -> None:
    assembler = CohereAssembler()
    assembler.feed(started() + text_block(0, "text", "message-end"))
    assert not assembler.finished
    assert not assembler.reply().complete
    assembler.feed(ended())
    assert assembler.finished
    assert assembler.reply().complete


def test_refusal() -> None:
    assert assembled(started(), ended("ERROR_TOXIC")).refused
    assert not assembled(started(), ended("ERROR_LIMIT")).refused


def test_nothing_at_all() -> None:
    assert assembled() == Reply((), complete=False)


@pytest.mark.parametrize(
    "wrong",
    [{"type": 5}, {"type": "content-delta"}, {"type": "content-delta", "delta": 5},
     {"type": "content-delta", "index": 0, "delta": {"message": {"content": 5}}},
     {"type": "new-delta", "index": 0, "delta": {"message": {"new": {}}}},
     {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": 5}}}],
)  # fmt: skip
def test_events_of_another_shape_do_no_harm(wrong: dict[str, Any]) -> None:
    reply = assembled(event(wrong), started(), text_block(0, "text", "a"), event(wrong), ended())
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)


def test_errors() -> None:
    assert json.loads(DIALECT.error_body(429, "slow")) == {"message": "slow"}
