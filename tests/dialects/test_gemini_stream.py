from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    Message,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from gateway_sessions.dialects.base import Assembler
from gateway_sessions.dialects.gemini import Gemini
from gateway_sessions.dialects.gemini_stream import ContentAssembler, Parser
from tests.dialects.wire import cuts, event

FRAME = {"modelVersion": "gemini", "responseId": "r1"}
USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}


def chunk(*parts: Any, finish: str = "", index: int = 0, **fields: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish:
        entry["finishReason"] = finish
    return {"candidates": [entry | {"index": index}]} | FRAME | fields


def sse(*chunks: dict[str, Any]) -> bytes:
    return b"".join(event(data) for data in chunks)


def array(*chunks: dict[str, Any]) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(data, indent=2).encode() for data in chunks) + b"\n]"


def fed(stream: bytes) -> Assembler:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    assembler = Gemini().assembler()
    assembler.feed(stream)
    for seed in range(3):
        other = Gemini().assembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler


def assembled(*chunks: dict[str, Any]) -> Reply:
    """Assemble chunks as events and as an array, which must give the same."""
    reply = fed(sse(*chunks)).reply()
    assert fed(array(*chunks)).reply() == reply
    return reply


def whole(*parts: Any, **fields: Any) -> dict[str, Any]:
    return chunk(*parts, finish="STOP", **fields)


def test_stream_of_text() -> None:
    reply = assembled(
        chunk({"text": "grö"}, usageMetadata={"promptTokenCount": 10}),
        chunk({"text": "ßer"}),
        chunk({"text": " 😀"}, finish="STOP", usageMetadata=USAGE),
    )
    assert json.loads(reply.body) == whole({"text": "größer 😀"}, usageMetadata=USAGE)
    assert reply == Gemini().read_reply(reply.body)
    assert reply.complete
    assert reply.usage == Usage(10, 5)


def test_stream_of_thoughts_text_and_calls() -> None:
    calls = [{"functionCall": {"name": name, "args": {"x": 1}}} for name in "fg"]
    reply = assembled(
        chunk({"text": "h", "thought": True}),
        chunk({"text": "m", "thought": True}),
        chunk({"text": "s"}),
        chunk({"text": "o"}, calls[0]),
        chunk(calls[1] | {"thoughtSignature": "x"}),
        chunk({"text": "!"}),
        chunk({"text": "", "thoughtSignature": "s"}, finish="STOP"),
    )
    (content,) = (c["content"] for c in json.loads(reply.body)["candidates"])
    assert content["parts"] == [
        {"text": "hm", "thought": True},
        {"text": "so"},
        calls[0],
        calls[1] | {"thoughtSignature": "x"},
        {"text": "!"},
        {"text": "", "thoughtSignature": "s"},
    ]
    call = [ToolCall("", name, {"x": 1}) for name in "fg"]
    assert reply.messages == (Message(ASSISTANT, (Thinking("hm"), Text("so"), *call, Text("!"))),)


def test_stream_in_the_envelope_of_code_assist() -> None:
    chunks = [chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")]
    reply = assembled(*({"response": data, "traceId": "t"} for data in chunks))
    assert json.loads(reply.body) == {"traceId": "t", "response": whole({"text": "ab"})}
    assert reply.messages == (Message(ASSISTANT, (Text("ab"),)),)
    assert reply.complete


def test_stream_of_alternatives() -> None:
    reply = assembled(
        chunk({"text": "a"}, index=0),
        chunk({"text": "b"}, index=1),
        chunk({"text": "c"}, index=0, finish="STOP"),
        chunk({"text": "d"}, index=1, finish="STOP"),
    )
    assert [message.parts for message in reply.messages] == [(Text("ac"),), (Text("bd"),)]
    assert reply.complete


@pytest.mark.parametrize("form", [sse, array])
def test_stream_has_ended_when_every_candidate_has(form: Any) -> None:
    opened = [chunk({"text": "a"}), chunk({"text": "b"}, index=1)]
    first = chunk({"text": "c"}, finish="STOP")
    assert not fed(form(*opened)[:-1]).finished
    assert not fed(form(*opened, first)[:-1]).finished
    assert fed(form(*opened, first, chunk(finish="STOP", index=1))).finished


def test_counts_after_the_end_are_kept() -> None:
    reply = assembled(whole({"text": "a"}), {"usageMetadata": USAGE})
    assert reply.usage == Usage(10, 5)
    assert reply.complete


def test_blocked_prompt_ends_a_stream() -> None:
    assembler = fed(sse({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert assembler.finished
    assert assembler.reply().refused


def test_end_of_the_array_ends_a_stream() -> None:
    assert fed(array(chunk({"text": "a"}))).finished
    assert fed(b"[]").reply() == Reply((), complete=True)
    assert not fed(array(chunk({"text": "a"}))[:-1]).finished


def test_end_without_its_blank_line_counts() -> None:
    assert fed(sse(chunk({"text": "a"}), whole({"text": "b"}))[:-2]).reply().complete


def test_broken_off_stream_tells_what_has_come() -> None:
    for stream in (sse(chunk({"text": "a"})) + b"data: {", array(chunk({"text": "a"}))[:-1]):
        reply = fed(stream).reply()
        assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)
        assert not reply.complete
        assert reply.id == "r1"


def test_error_in_a_stream() -> None:
    error = {"error": {"code": 503, "message": "overloaded"}}
    assert not assembled(chunk({"text": "a"}), error).complete
    assert not assembled(error).complete


def test_nothing_at_all() -> None:
    for stream in (b"", b" \n\n "):
        assert fed(stream).reply() == Reply((), complete=False)
    assert Parser().unfinished() is None
    assert not Parser().overflowed


@pytest.mark.parametrize(
    "wrong",
    [{"candidates": 5}, {"candidates": [5]}, {"candidates": [{"index": "a"}]},
     {"candidates": [{"content": {"parts": [5]}}]}, {"candidates": [{"content": {"parts": 5}}]},
     {"candidates": [{"content": 5, "finishReason": ""}]}, {"response": {"candidates": [5]}},
     {"usageMetadata": [], "responseId": "r1", "modelVersion": "gemini"}],
)  # fmt: skip
def test_chunks_of_another_shape_do_no_harm(wrong: dict[str, Any]) -> None:
    for form in (sse, array):
        reply = fed(form(wrong, chunk({"text": "a"}), wrong)).reply()
        assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)


def test_too_long_a_reply_is_incomplete_but_its_end_is_seen() -> None:
    assembler = ContentAssembler(read_nothing, limit=5_000)
    assembler.feed(sse(*[chunk({"text": "x" * 1000})] * 20, whole({"text": "a"})))
    assert assembler.finished
    assert not assembler.reply().complete
    assert len(assembler.reply().body) < 8_000


def read_nothing(answer: dict[str, Any], body: bytes, *, complete: bool) -> Reply:
    return Reply((), body, complete=complete)
