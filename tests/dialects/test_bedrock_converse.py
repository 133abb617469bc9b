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
    Usage,
)
from gateway_sessions.dialects.bedrock_converse import BedrockConverse, ConverseAssembler
from tests.dialects.wire import cuts, frame, named_frame

DIALECT = BedrockConverse()
USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 45, "cacheReadInputTokens": 30}
COUNTED = Usage(40, 5, cache_read_tokens=30)


def start(index: int, **what: Any) -> bytes:
    return named_frame("contentBlockStart", {"contentBlockIndex": index, "start": what})


def delta(index: int, **what: Any) -> bytes:
    return named_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": what, "p": "abc"})


def ended(reason: str = "end_turn") -> bytes:
    return named_frame("messageStop", {"stopReason": reason, "p": "abc"})


def metadata() -> bytes:
    return named_frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 7}, "p": "ab"})


def whole(*content: dict[str, Any], reason: str = "end_turn") -> dict[str, Any]:
    message = {"role": "assistant", "content": list(content)}
    ending = {"stopReason": reason, "usage": USAGE, "metrics": {"latencyMs": 7}}
    return {"output": {"message": message}} | ending


OPENING = named_frame("messageStart", {"role": "assistant", "p": "a"})


def fed(*frames: bytes) -> ConverseAssembler:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    stream = b"".join(frames)
    assembler = ConverseAssembler()
    assembler.feed(stream)
    for seed in range(3):
        other = ConverseAssembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler


def test_request() -> None:
    sent: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "system": [{"text": "be"}],
        "toolConfig": {"tools": []},
        "requestMetadata": {"session_id": "s", "user_id": "u"},
    }
    path = "/model/anthropic.claude-v2%3A0/converse"
    conversation = DIALECT.read_request(json.dumps(sent).encode(), path)
    assert conversation.model == "anthropic.claude-v2:0"
    assert not conversation.stream
    assert conversation.system == b'[{"text": "be"}]'
    assert conversation.tools == b'{"tools": []}'
    assert conversation.fields == {"metadata": {"session_id": "s", "user_id": "u"}}
    assert conversation.end_user == "u"
    (raw,) = conversation.messages
    assert conversation.read(raw) == (Message(USER, (Text("hi"),)),)
    assert DIALECT.read_request(json.dumps(sent).encode(), "/model/m/converse-stream").stream
    sent["metadata"] = {"session_id": "t"}
    fields = DIALECT.read_request(json.dumps(sent).encode(), path).fields
    assert fields == {"metadata": {"session_id": "t"}}


def test_reply() -> None:
    sent = json.dumps(whole({"text": "hi"})).encode()
    assert DIALECT.read_reply(sent) == Reply(
        messages=(Message(ASSISTANT, (Text("hi"),)),),
        body=sent,
        finish_reason="end_turn",
        usage=COUNTED,
    )


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered", "refusal"])
def test_refusals(reason: str) -> None:
    assert DIALECT.read_reply(json.dumps(whole(reason=reason)).encode()).refused
    assert not DIALECT.read_reply(json.dumps(whole(reason="max_tokens")).encode()).refused


@pytest.mark.parametrize(
    "sent",
    ['{"message": "no"}', "[]", "5", "{}", '{"output": 5}', '{"output": {"message": 5}}',
     '{"output": {"message": {"content": 5}}}', '{"stopReason": 5, "usage": 5}'],
)  # fmt: skip
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None


def test_stream() -> None:
    use = {"toolUseId": "t1", "name": "f"}
    assembler = fed(
        OPENING,
        delta(0, reasoningContent={"text": "h"}),
        delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "s"}),
        named_frame("contentBlockStop", {"contentBlockIndex": 0}),
        delta(1, text="grö"),
        delta(1, text="ßer"),
        start(2, toolUse=use),
        delta(2, toolUse={"input": '{"x"'}),
        delta(2, toolUse={"input": ": 1}"}),
        start(3, toolUse=use | {"toolUseId": "t2"}),
        ended("tool_use"),
        metadata(),
    )
    reply = assembler.reply()
    assert assembler.finished
    assert json.loads(reply.body) == whole(
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"text": "größer"},
        {"toolUse": use | {"input": {"x": 1}}},
        {"toolUse": use | {"toolUseId": "t2", "input": {}}},
        reason="tool_use",
    )
    assert reply == DIALECT.read_reply(reply.body)
    assert reply.messages[0].parts == (
        Thinking("hm"),
        Text("größer"),
        ToolCall("t1", "f", {"x": 1}),
        ToolCall("t2", "f", {}),
    )


def test_stream_of_citations_and_hidden_reasoning() -> None:
    cited = {"title": "t", "location": {"web": {}}}
    reply = fed(
        delta(0, reasoningContent={"redactedContent": "QUJD"}),
        delta(1, text="a"),
        delta(1, citation=cited),
        delta(1, citation=cited),
        ended(),
        metadata(),
    ).reply()
    assert json.loads(reply.body) == whole(
        {"reasoningContent": {"redactedContent": "QUJD"}},
        {"citationsContent": {"content": [{"text": "a"}], "citations": [cited, cited]}},
    )
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)


def test_only_the_last_frame_finishes_a_stream() -> None:
    assembler = fed(OPENING, delta(0, text="metadata"), ended())
    assert not assembler.finished
    assert assembler.reply().complete
    assembler.feed(metadata())
    assert assembler.finished
    assert not fed(OPENING, delta(0, text="a")).reply().complete


def test_exception_in_a_stream() -> None:
    error = frame(b'{"message": "no"}', message_type="exception", exception_type="xException")
    reply = fed(OPENING, delta(0, text="a"), error).reply()
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)
    assert not reply.complete
    assert not fed(OPENING, delta(0, text="a"), error, ended(), metadata()).reply().complete


def test_damaged_frame_makes_a_reply_incomplete() -> None:
    damaged = bytearray(delta(0, text="b"))
    damaged[-6] ^= 1
    assert not fed(delta(0, text="a"), bytes(damaged), ended(), metadata()).reply().complete


def test_nothing_at_all() -> None:
    assert fed().reply() == Reply((), complete=False)


@pytest.mark.parametrize(
    "wrong",
    [named_frame("contentBlockDelta", 5), named_frame("contentBlockDelta", {"delta": {}}),
     named_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": 5}),
     named_frame("contentBlockStart", {"contentBlockIndex": "a", "start": {}}),
     named_frame("messageStop", []), named_frame("new", {"x": 1}), named_frame('"', {"x": 1}),
     frame(b"<html>", event_type="contentBlockDelta")],
)  # fmt: skip
def test_frames_of_another_shape_do_no_harm(wrong: bytes) -> None:
    reply = fed(wrong, delta(0, text="a"), wrong).reply()
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)


def test_too_long_a_reply_is_incomplete_but_its_end_is_seen() -> None:
    assembler = ConverseAssembler(limit=5_000)
    assembler.feed(delta(0, text="x" * 1000) * 20 + ended() + metadata())
    assert assembler.finished
    assert not assembler.reply().complete


def test_errors() -> None:
    assert json.loads(DIALECT.error_body(429, "slow")) == {"message": "slow"}
