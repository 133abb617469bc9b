from __future__ import annotations

import json
from typing import Any

import msgspec
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
from gateway_sessions.dialects.anthropic import Anthropic, MessageAssembler
from tests.dialects.wire import body, cuts, event

DIALECT = Anthropic()
FRAME = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
USAGE: dict[str, Any] = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 2},
}


def named(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def started(**usage: int) -> bytes:
    opening: dict[str, Any] = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return named("message_start", message=FRAME | opening)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    return b"".join(
        (
            named("content_block_start", index=index, content_block=start),
            *(named("content_block_delta", index=index, delta=delta) for delta in deltas),
            named("content_block_stop", index=index),
        )
    )


def text_block(*pieces: str) -> bytes:
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return block(0, {"type": "text", "text": ""}, *deltas)


def ended(reason: str = "end_turn", **usage: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return named("message_delta", delta=delta, usage=usage) + named("message_stop")


def message(*content: dict[str, Any], reason: str | None = "end_turn", **usage: Any) -> Any:
    ending = {"content": list(content), "stop_reason": reason, "stop_sequence": None}
    return FRAME | ending | {"usage": usage}


def assembled(*chunks: bytes) -> Reply:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    stream = b"".join(chunks)
    assembler = MessageAssembler()
    assembler.feed(stream)
    for seed in range(3):
        other = MessageAssembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler.reply()


def test_request() -> None:
    user = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    metadata = {"user_id": "user_1_account__session_2"}
    conversation = DIALECT.read_request(body(user, system=["be"], metadata=metadata), "/x")
    assert conversation.system == b'["be"]'
    assert conversation.end_user == "user_1_account__session_2"
    assert conversation.fields == {"metadata": metadata}
    assert not conversation.stream
    (raw,) = conversation.messages
    assert conversation.read(raw) == (Message("user", (Text("hi"),)),)


BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.86; cch=0af1;"}
BE = {"type": "text", "text": "Be brief."}


@pytest.mark.parametrize(
    ("system", "lasting"),
    [
        ([BILLING, BE], [BE]),
        ([BILLING], []),
        ([BE, BILLING], [BE, BILLING]),
        ([{"type": "text", "text": f"See {BILLING['text']}"}], None),
        (BILLING["text"], None),
        (BILLING, None),
        ([[BILLING]], None),
    ],
)
def test_what_is_said_of_a_request_is_no_part_of_the_system_prompt(
    system: Any, lasting: Any
) -> None:
    found = DIALECT.read_request(body({"role": "user", "content": "hi"}, system=system), "/x")
    assert json.loads(found.system) == (system if lasting is None else lasting)


def test_reply() -> None:
    sent = json.dumps(message({"type": "text", "text": "hi"}, **USAGE)).encode()
    assert DIALECT.read_reply(sent) == Reply(
        messages=(Message(ASSISTANT, (Text("hi"),)),),
        body=sent,
        id="msg_1",
        model="claude",
        finish_reason="end_turn",
        usage=Usage(
            input_tokens=60,
            output_tokens=5,
            cache_read_tokens=30,
            cache_creation_tokens=20,
            reasoning_tokens=2,
            thinking_tokens=2,
        ),
    )


def test_what_a_cache_keeps_for_an_hour_is_counted_apart() -> None:
    kept = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15}
    usage = message({"type": "text", "text": "hi"}, **USAGE, cache_creation=kept)
    found = DIALECT.read_reply(json.dumps(usage).encode()).usage
    assert found is not None
    assert (found.cache_creation_tokens, found.cache_creation_1h_tokens) == (20, 15)


@pytest.mark.parametrize(
    "sent",
    ['{"type": "error", "error": {"type": "api_error"}}', "[]", "5", "{}", '{"content": "hi"}',
     '{"content": [5]}', '{"id": 5, "model": [], "usage": 5, "stop_reason": {}}'],
)  # fmt: skip
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None


def test_refusal_is_told_from_a_normal_end() -> None:
    for reason, refused in (("refusal", True), ("end_turn", False), ("max_tokens", False)):
        sent = json.dumps(message({"type": "text", "text": "a"}, reason=reason)).encode()
        assert DIALECT.read_reply(sent).refused is refused


def test_stream_of_text() -> None:
    reply = assembled(
        started(input_tokens=10, cache_creation_input_tokens=20, output_tokens=1),
        named("ping"),
        text_block("grö", "ßer 😀"),
        ended(cache_read_input_tokens=30, output_tokens=5),
    )
    usage: dict[str, Any] = {
        key: value for key, value in USAGE.items() if key != "output_tokens_details"
    }
    assert json.loads(reply.body) == message({"type": "text", "text": "größer 😀"}, **usage)
    assert reply == DIALECT.read_reply(reply.body)
    assert reply.complete
    assert reply.usage == Usage(60, 5, 30, 20)


def test_stream_of_thinking_text_and_parallel_tool_calls() -> None:
    tool = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"x":', "1}")]
    reply = assembled(
        started(),
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "h"},
            {"type": "thinking_delta", "thinking": "m"},
            {"type": "signature_delta", "signature": "s=="},
        ),
        block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "so"}),
        block(2, tool, *pieces),
        block(3, tool | {"id": "toolu_2"}, {"type": "input_json_delta", "partial_json": ""}),
        ended("tool_use"),
    )
    assert json.loads(reply.body)["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s=="},
        {"type": "text", "text": "so"},
        tool | {"input": {"x": 1}},
        tool | {"id": "toolu_2"},
    ]
    (answer,) = reply.messages
    assert answer.parts == (
        Thinking("hm"),
        Text("so"),
        ToolCall("toolu_1", "f", {"x": 1}),
        ToolCall("toolu_2", "f", {}),
    )
    assert answer.seal == "s=="


def test_blocks_may_come_interleaved() -> None:
    opening = [
        named("content_block_start", index=index, content_block={"type": "text", "text": ""})
        for index in (1, 0)
    ]
    deltas = [
        named("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})
        for index, piece in ((0, "a"), (1, "b"), (0, "c"))
    ]
    reply = assembled(started(), *opening, *deltas, ended())
    assert reply.messages == (Message(ASSISTANT, (Text("ac"), Text("b"))),)


def test_stream_of_citations() -> None:
    cited = {"type": "char_location", "cited_text": "x", "document_index": 0}
    reply = assembled(
        started(),
        block(
            0,
            {"type": "text", "text": "", "citations": []},
            {"type": "text_delta", "text": "a"},
            {"type": "citations_delta", "citation": cited},
            {"type": "citations_delta", "citation": cited | {"cited_text": "y"}},
        ),
        ended(),
    )
    citations = [cited, cited | {"cited_text": "y"}]
    assert json.loads(reply.body)["content"] == [
        {"type": "text", "text": "a", "citations": citations}
    ]


def test_blocks_that_come_whole_are_kept_as_they_are() -> None:
    found = {"type": "web_search_result", "url": "u", "index": 0}
    result = {"type": "web_search_tool_result", "tool_use_id": "1", "content": [found, found]}
    tool = {"type": "tool_use", "id": "2", "name": "f", "input": {"rows": [{"index": 0}]}}
    reply = assembled(started(), block(0, result), block(1, tool), ended("tool_use"))
    assert json.loads(reply.body)["content"] == [result, tool]


def test_last_fields_replace_the_first() -> None:
    delta = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal"}}
    edits: dict[str, Any] = {"applied_edits": []}
    last = named("message_delta", delta=delta, usage={}, context_management=edits)
    reply = assembled(started(input_tokens=3), last, named("message_stop"))
    expected = message(reason="refusal", input_tokens=3) | {
        "stop_details": {"type": "refusal"},
        "context_management": edits,
    }
    assert json.loads(reply.body) == expected
    assert reply.refused


def test_tool_input_that_broke_off_stays_text() -> None:
    tool = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    reply = assembled(
        started(), block(0, tool, {"type": "input_json_delta", "partial_json": '{"x":'})
    )
    assert reply.messages == (Message(ASSISTANT, (ToolCall("1", "f", '{"x":'),)),)
    assert not reply.complete


def test_only_message_stop_finishes_a_stream() -> None:
    for stop in (named("message_stop"), event({"type": "message_stop"})):
        assembler = MessageAssembler()
        delta = named("message_delta", delta={"stop_reason": "end_turn"}, usage={})
        assembler.feed(started() + text_block("message_stop") + delta)
        assert not assembler.finished
        assert not assembler.reply().complete
        assembler.feed(stop)
        assert assembler.finished
        assert assembler.reply().complete


def test_stream_without_names_of_events() -> None:
    stream = (started(input_tokens=1) + text_block("a") + ended()).split(b"\n")
    bare = b"\n".join(line for line in stream if not line.startswith(b"event:"))
    assert assembled(bare) == assembled(b"\n".join(stream))


def test_end_without_its_blank_line_counts() -> None:
    assert assembled((started() + text_block("a") + ended())[:-2]).complete


def test_error_in_a_stream() -> None:
    error = named("error", error={"type": "overloaded_error", "message": "Overloaded"})
    reply = assembled(started(), text_block("a"), error)
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)
    assert not reply.complete
    assert not assembled(started(), text_block("a"), error, ended()).complete
    assert assembled(error).messages == ()


def test_nothing_at_all() -> None:
    assert assembled() == Reply((), complete=False)


@pytest.mark.parametrize(
    "wrong",
    [{"type": 5}, {"type": "new_event", "x": 1}, {"type": "message_delta", "delta": 5},
     {"type": "message_start"}, {"type": "content_block_start", "index": 0},
     {"type": "content_block_start", "index": "a", "content_block": {}},
     {"type": "content_block_delta", "index": 7, "delta": {}},
     {"type": "content_block_delta", "index": 0, "delta": 5},
     {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}},
     {"type": "content_block_delta", "index": 0, "delta": {"partial_json": 5, "citation": 5}}],
)  # fmt: skip
def test_events_of_another_shape_do_no_harm(wrong: dict[str, Any]) -> None:
    reply = assembled(event(wrong), started(), text_block("a"), event(wrong), ended(), event(wrong))
    assert msgspec.json.decode(reply.body)["type"] == "message"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors(status: int, kind: str) -> None:
    expected = {"type": "error", "error": {"type": kind, "message": 'say "no"'}}
    assert json.loads(DIALECT.error_body(status, 'say "no"')) == expected
