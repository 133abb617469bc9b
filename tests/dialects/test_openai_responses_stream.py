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
from gateway_sessions.dialects.openai_responses import OpenAIResponses
from gateway_sessions.dialects.openai_responses_stream import ResponseAssembler
from tests.dialects.wire import cuts, event

FRAME: dict[str, Any] = {"id": "resp_1", "object": "response", "model": "gpt", "tools": []}
PART = {"type": "output_text", "text": "größer 😀", "annotations": []}
MESSAGE: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant", "content": [PART]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
        "arguments": '{"x": 1}'}  # fmt: skip


def named(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, "sequence_number": 7, **fields}, kind)


def created() -> bytes:
    return named("response.created", response=FRAME | {"status": "in_progress", "output": []})


def added(index: int, item: dict[str, Any], **empty: Any) -> bytes:
    start = item | {"status": "in_progress"} | empty
    return named("response.output_item.added", output_index=index, item=start)


def delta(kind: str, piece: Any, index: int = 0, **place: Any) -> bytes:
    return named(f"response.{kind}.delta", output_index=index, item_id="x", delta=piece, **place)


def done(index: int, item: dict[str, Any]) -> bytes:
    return named("response.output_item.done", output_index=index, item=item)


def ended(*output: dict[str, Any], status: str = "completed", **fields: Any) -> bytes:
    response = FRAME | {"status": status, "output": list(output)} | fields
    return named(f"response.{status}", response=response)


def text_deltas(*pieces: str, index: int = 0) -> bytes:
    opened = added(index, MESSAGE, content=[])
    return opened + b"".join(
        delta("output_text", piece, index, content_index=0) for piece in pieces
    )


def fed(*chunks: bytes) -> Assembler:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    stream = b"".join(chunks)
    assembler = OpenAIResponses().assembler()
    assembler.feed(stream)
    for seed in range(3):
        other = OpenAIResponses().assembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler


def assembled(*chunks: bytes) -> Reply:
    return fed(*chunks).reply()


def test_last_event_holds_the_response() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2}
    assembler = fed(
        created(), text_deltas("grö", "ßer 😀"), done(0, MESSAGE), ended(MESSAGE, usage=usage)
    )
    reply = assembler.reply()
    assert assembler.finished
    assert json.loads(reply.body) == FRAME | {
        "status": "completed",
        "output": [MESSAGE],
        "usage": usage,
    }
    assert reply == OpenAIResponses().read_reply(reply.body)
    assert reply.usage == Usage(3, 2)


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_what_ends_a_stream(status: str) -> None:
    assembler = OpenAIResponses().assembler()
    assembler.feed(created() + text_deltas("response.completed") + done(0, MESSAGE))
    assert not assembler.finished
    assembler.feed(ended(MESSAGE, status=status))
    assert assembler.finished
    assert assembler.reply().finish_reason == status
    assert bool(assembler.reply().messages) is (status in ("completed", "incomplete"))


def test_end_marker_of_other_servers_does_no_harm() -> None:
    assert assembled(created(), ended(MESSAGE), event("[DONE]")).complete
    assert assembled(created(), text_deltas("a"), event("[DONE]")).complete


def test_end_without_its_blank_line_counts() -> None:
    reply = assembled((created() + text_deltas("a") + ended(MESSAGE))[:-2])
    assert reply.complete
    assert reply.messages == (Message(ASSISTANT, (Text("größer 😀"),), "msg_1"),)


def test_id_is_known_from_the_first_event() -> None:
    reply = assembled(created())
    assert (reply.id, reply.model, reply.messages, reply.complete) == ("resp_1", "gpt", (), False)


def test_broken_off_stream_is_rebuilt_from_its_deltas() -> None:
    summary = [{"type": "summary_text", "text": "hm"}]
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    reply = assembled(
        created(),
        added(0, reasoning),
        delta("reasoning_summary_text", "h", summary_index=0),
        delta("reasoning_summary_text", "m", summary_index=0),
        text_deltas("grö", "ßer 😀", index=1),
        added(2, CALL, arguments=""),
        delta("function_call_arguments", '{"x"', 2),
        delta("function_call_arguments", ": 1}", 2),
        b"data: {",
    )
    assert not reply.complete
    assert reply.messages == (
        Message(
            ASSISTANT,
            (Thinking("hm"), Text("größer 😀"), ToolCall("call_1", "f", {"x": 1})),
            "rs_1",
        ),
    )
    output = json.loads(reply.body)["output"]
    assert output[0]["summary"] == summary
    assert output[2] == CALL | {"status": "in_progress"}
    assert reply.finish_reason == "in_progress"


def test_deltas_of_other_kinds() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "f"}
    code = {"type": "code_interpreter_call", "id": "ci"}
    mcp = {"type": "mcp_call", "id": "mcp", "name": "g"}
    reply = assembled(
        created(),
        text_deltas(),
        delta("refusal", "I can", content_index=0),
        delta("refusal", " not", content_index=0),
        added(1, custom, input=""),
        delta("custom_tool_call_input", "ab", 1),
        added(2, code, code=None),
        delta("code_interpreter_call_code", "1+1", 2),
        added(3, mcp, arguments=""),
        delta("mcp_call_arguments", "{}", 3),
        added(4, {"type": "reasoning", "summary": []}),
        delta("reasoning_text", "hm", 4, content_index=0),
    )
    assert reply.messages[0].parts == (
        Text("I can not"),
        ToolCall("c", "f", "ab"),
        ToolCall("ci", "code_interpreter", {"code": "1+1"}),
        ToolCall("mcp", "g", {}),
        Thinking("hm"),
    )
    assert reply.refused


def test_finished_item_replaces_its_deltas() -> None:
    reply = assembled(created(), text_deltas("x", "y"), done(0, MESSAGE))
    assert json.loads(reply.body)["output"] == [MESSAGE]


@pytest.mark.parametrize("output", [[], None])
def test_last_event_without_output_does_not_lose_it(output: Any) -> None:
    last = named("response.completed", response=FRAME | {"status": "completed", "output": output})
    reply = assembled(created(), text_deltas("x"), done(0, MESSAGE), last)
    assert json.loads(reply.body)["output"] == [MESSAGE]
    assert reply.complete


@pytest.mark.parametrize(
    "error",
    [{"type": "error", "code": "x", "message": "no"}, {"type": "error", "error": {"code": "x"}}],
)
def test_error_in_a_stream(error: dict[str, Any]) -> None:
    reply = assembled(created(), text_deltas("a"), event(error, "error"))
    assert reply.messages == (Message(ASSISTANT, (Text("a"),), "msg_1"),)
    assert not reply.complete


def test_nothing_at_all() -> None:
    assert assembled() == Reply((), complete=False)


@pytest.mark.parametrize(
    "wrong",
    [{"type": 5}, {"type": "response.new", "x": 1}, {"type": "response.completed"},
     {"type": "response.output_item.added", "output_index": "a", "item": {}},
     {"type": "response.output_item.done", "output_index": 0},
     {"type": "response.output_text.delta", "output_index": 9, "content_index": 0, "delta": "x"},
     {"type": "response.output_text.delta", "output_index": 0, "content_index": None, "delta": "x"},
     {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": 5},
     {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": None}],
)  # fmt: skip
def test_events_of_another_shape_do_no_harm(wrong: dict[str, Any]) -> None:
    reply = assembled(event(wrong), created(), text_deltas("a"), event(wrong))
    assert json.loads(reply.body)["output"][0]["content"][0]["text"] == "a"


def test_memory_is_freed_when_items_and_responses_are_replaced() -> None:
    long = MESSAGE | {"content": [PART | {"text": "x" * 20_000}]}
    assembler = ResponseAssembler(read_nothing, limit=60_000)
    assembler.feed(created() + text_deltas(*["x" * 1000] * 20))
    for _ in range(10):
        assembler.feed(done(0, long))
    assembler.feed(ended(long) * 3)
    assert assembler.reply().complete


def test_too_long_a_reply_is_incomplete_but_its_end_is_seen() -> None:
    assembler = ResponseAssembler(read_nothing, limit=5_000)
    assembler.feed(created() + text_deltas(*["x" * 1000] * 20) + ended(MESSAGE))
    assert assembler.finished
    assert not assembler.reply().complete


def read_nothing(answer: dict[str, Any], body: bytes, *, complete: bool) -> Reply:
    return Reply((), body, complete=complete)
