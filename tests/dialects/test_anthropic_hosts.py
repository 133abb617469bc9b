from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.conversation import ASSISTANT, USER, Message, Text
from gateway_sessions.dialects.anthropic import MessageAssembler
from gateway_sessions.dialects.anthropic_hosts import AnthropicBedrock, AnthropicVertex
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import chunk_frame, cuts, event, frame, named_frame

HI = {"role": "user", "content": "hi"}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "model": "claude",
                                          "content": [], "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "grö"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ßer"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]  # fmt: skip


def body(**fields: Any) -> bytes:
    return json.dumps({"messages": [HI], "system": "be", "max_tokens": 9, **fields}).encode()


def test_vertex() -> None:
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict"
    sent = body(anthropic_version="vertex-2023-10-16", stream=True)
    conversation = AnthropicVertex().read_request(sent, path)
    assert (conversation.model, conversation.system) == ("claude@1", b'"be"')
    assert conversation.stream
    (raw,) = conversation.messages
    assert conversation.read(raw) == (Message(USER, (Text("hi"),)),)
    assert isinstance(AnthropicVertex().assembler(), MessageAssembler)


@pytest.mark.parametrize(
    ("action", "stream"), [("invoke", False), ("invoke-with-response-stream", True)]
)
def test_bedrock(action: str, *, stream: bool) -> None:
    sent = body(anthropic_version="bedrock-2023-05-31")
    conversation = AnthropicBedrock().read_request(sent, f"/model/us.anthropic.x-v1%3A0/{action}")
    assert (conversation.model, conversation.stream) == ("us.anthropic.x-v1:0", stream)
    assert len(conversation.messages) == 1


def test_other_models_of_bedrock_are_not_read() -> None:
    with pytest.raises(UnreadableBody, match="Anthropic"):
        AnthropicBedrock().read_request(body(), "/model/amazon.nova/invoke")


def test_bedrock_stream() -> None:
    stream = b"".join(chunk_frame(data) for data in EVENTS)
    plain = MessageAssembler()
    plain.feed(b"".join(event(data, data["type"]) for data in EVENTS))
    for seed in range(3):
        assembler = AnthropicBedrock().assembler()
        for piece in cuts(stream, seed):
            assembler.feed(piece)
        assert assembler.finished
        assert assembler.reply() == plain.reply()
    assert plain.reply().messages == (Message(ASSISTANT, (Text("größer"),)),)
    assert plain.reply().complete


@pytest.mark.parametrize(
    "fault",
    [
        frame(b'{"message": "no"}', message_type="exception", exception_type="throttling"),
        named_frame("chunk", {"bytes": "not base64"}),
        named_frame("chunk", {"bytes": "ü"}),
        named_frame("chunk", {"bytes": 5}),
        named_frame("chunk", 5),
        frame(b"<html>", event_type="chunk"),
        frame(b"{}", event_type="new"),
    ],
)
def test_faults_in_a_bedrock_stream(fault: bytes) -> None:
    assembler = AnthropicBedrock().assembler()
    for data in EVENTS[:3]:
        assembler.feed(chunk_frame(data))
    assembler.feed(fault)
    for data in EVENTS[3:]:
        assembler.feed(chunk_frame(data))
    assert assembler.finished
    assert not assembler.reply().complete
    assert assembler.reply().messages == (Message(ASSISTANT, (Text("größer"),)),)


def test_errors() -> None:
    assert json.loads(AnthropicBedrock().error_body(429, "slow")) == {"message": "slow"}
    assert json.loads(AnthropicVertex().error_body(429, "slow"))["type"] == "error"
