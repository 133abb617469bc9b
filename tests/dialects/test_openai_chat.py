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
from gateway_sessions.dialects.openai_chat import ChatAssembler, OpenAIChat
from tests.dialects.wire import body, cuts, event

DIALECT = OpenAIChat()
FRAME = {"id": "chatcmpl-1", "created": 7, "model": "gpt", "system_fingerprint": "fp_1"}
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def chunk(*choices: dict[str, Any], **fields: Any) -> bytes:
    frame = FRAME | {"object": "chat.completion.chunk", "choices": choices, "usage": None}
    return event(frame | {"obfuscation": "xyz"} | fields)


def choice(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def completion(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return FRAME | {"object": "chat.completion", "choices": list(choices)} | fields


def whole(message: dict[str, Any], finish: str | None = "stop", index: int = 0) -> dict[str, Any]:
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def assembled(*chunks: bytes, end: bytes = event("[DONE]")) -> Reply:
    """Assemble a stream, and see that cutting it otherwise changes nothing."""
    stream = b"".join(chunks) + end
    assembler = ChatAssembler()
    assembler.feed(stream)
    for seed in range(3):
        other = ChatAssembler()
        for piece in cuts(stream, seed):
            other.feed(piece)
        assert (other.reply(), other.finished) == (assembler.reply(), assembler.finished)
    return assembler.reply()


def call_delta(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {"index": index, **fields, "function": name | {"arguments": arguments}}


def test_request() -> None:
    system, user = {"role": "system", "content": "be"}, {"role": "user", "content": "hi"}
    conversation = DIALECT.read_request(body(system, user, stream=True, system="no"), "/x")
    read = [message for raw in conversation.messages for message in conversation.read(raw)]
    assert read == [Message("system", (Text("be"),)), Message("user", (Text("hi"),))]
    assert conversation.stream
    assert conversation.system == b""


def test_functions_are_tools_of_old() -> None:
    user = {"role": "user", "content": "hi"}
    functions = [{"name": "f"}]
    assert json.loads(DIALECT.read_request(body(user, functions=functions), "").tools) == functions
    tools = [{"type": "function"}]
    request = body(user, functions=functions, tools=tools)
    assert json.loads(DIALECT.read_request(request, "").tools) == tools


def test_agents_stand_in_the_place_of_models() -> None:
    user = {"role": "user", "content": "hi"}
    sent = json.dumps({"agent_id": "ag_1", "messages": [user]}).encode()
    assert DIALECT.read_request(sent, "/v1/agents/completions").model == "ag_1"
    assert DIALECT.read_request(body(user, agent_id="ag_1"), "/").model == "m"


def test_reply() -> None:
    message: dict[str, Any] = {"role": "assistant", "content": "hi", "annotations": []}
    sent = json.dumps(completion(whole(message), usage=USAGE)).encode()
    assert DIALECT.read_reply(sent) == Reply(
        messages=(Message(ASSISTANT, (Text("hi"),)),),
        body=sent,
        id="chatcmpl-1",
        model="gpt",
        finish_reason="stop",
        usage=Usage(
            input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2
        ),
    )  # fmt: skip


def test_reply_with_alternatives() -> None:
    choices = [whole({"content": text}, index=i) for i, text in enumerate("ab")]
    reply = DIALECT.read_reply(json.dumps(completion(*choices)).encode())
    assert [message.parts for message in reply.messages] == [(Text("a"),), (Text("b"),)]
    assert reply.usage is None


@pytest.mark.parametrize(
    "sent",
    ['{"error": {"message": "no"}}', "[]", "5", '"ok"', "{}", '{"choices": null}',
     '{"choices": [5]}', '{"choices": [{"message": 5}]}',
     '{"choices": [{"message": {"content": 5}}]}',
     '{"choices": {}, "id": 5, "model": [], "usage": 5}'],
)  # fmt: skip
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None
    assert reply.body == sent.encode()


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        ({"content": "no"}, "content_filter", True),
        ({"content": None, "refusal": "I can not"}, "stop", True),
        ({"content": "yes", "refusal": None}, "stop", False),
        ({"content": "yes"}, "length", False),
    ],
)
def test_refusals(message: dict[str, Any], finish: str, *, expected: bool) -> None:
    sent = json.dumps(completion(whole(message, finish))).encode()
    assert DIALECT.read_reply(sent).refused is expected


def test_cache_counts_of_other_providers() -> None:
    for usage, read, created in (
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 8}, 8, 0),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 3}}, 0, 3),
        ({"prompt_tokens": "9", "completion_tokens": -1, "prompt_tokens_details": 5}, 0, 0),
    ):
        reply = DIALECT.read_reply(json.dumps({"usage": usage}).encode())
        assert reply.usage is not None
        assert reply.usage.cache_read_tokens == read
        assert reply.usage.cache_creation_tokens == created


def test_sound_is_counted_apart() -> None:
    usage = {
        "prompt_tokens_details": {"audio_tokens": 6},
        "completion_tokens_details": {"audio_tokens": 7},
    }
    found = DIALECT.read_reply(json.dumps({"usage": usage}).encode()).usage
    assert found == Usage(audio_input_tokens=6, audio_output_tokens=7)


def test_stream_of_text() -> None:
    reply = assembled(
        chunk(choice({"role": "assistant", "content": "", "refusal": None})),
        chunk(choice({"content": "grö"})),
        chunk(choice({"content": "ßer 😀"})),
        chunk(choice({}, "stop")),
        chunk(usage=USAGE),
    )
    message = {"role": "assistant", "content": "größer 😀", "refusal": None}
    assert json.loads(reply.body) == completion(whole(message), usage=USAGE)
    assert reply == DIALECT.read_reply(reply.body)
    assert reply.complete


def test_stream_of_parallel_tool_calls() -> None:
    reply = assembled(
        chunk(choice({"role": "assistant", "content": None})),
        chunk(choice({"tool_calls": [call_delta(0, "", id="a", type="function", name="f")]})),
        chunk(choice({"tool_calls": [call_delta(0, '{"x"')]})),
        chunk(choice({"tool_calls": [call_delta(1, "{}", id="b", type="function", name="g")]})),
        chunk(choice({"tool_calls": [call_delta(0, ": 1}")]})),
        chunk(choice({}, "tool_calls")),
    )
    functions = [{"name": "f", "arguments": '{"x": 1}'}, {"name": "g", "arguments": "{}"}]
    calls = [
        {"id": name, "type": "function", "function": function}
        for name, function in zip("ab", functions, strict=True)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    assert json.loads(reply.body) == completion(whole(message, "tool_calls"))
    (answer,) = reply.messages
    assert answer.parts == (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))


def test_stream_of_tool_calls_all_numbered_0_or_not_at_all() -> None:
    calls = [call_delta(0, "{}", id=name, type="function", name=name) for name in "ab"]
    for deltas in (calls, [{k: v for k, v in call.items() if k != "index"} for call in calls]):
        reply = assembled(*(chunk(choice({"tool_calls": [delta]})) for delta in deltas))
        (answer,) = reply.messages
        assert answer.parts == (ToolCall("a", "a", {}), ToolCall("b", "b", {}))


def test_stream_of_a_legacy_function_call() -> None:
    deltas = [{"name": "f", "arguments": ""}, {"arguments": '{"x":'}, {"arguments": "1}"}]
    reply = assembled(*(chunk(choice({"function_call": delta})) for delta in deltas))
    assert reply.messages == (Message(ASSISTANT, (ToolCall("", "f", {"x": 1}),)),)


def test_stream_of_alternatives() -> None:
    reply = assembled(
        chunk(choice({"content": "b"}, index=1)),
        chunk(choice({"content": "a"}), choice({"content": "c"}, index=1)),
        chunk(choice({}, "stop"), choice({}, "length", index=1)),
    )
    first = whole({"role": "assistant", "content": "a"})
    second = whole({"role": "assistant", "content": "bc"}, "length", index=1)
    assert json.loads(reply.body) == completion(first, second)
    assert [message.parts for message in reply.messages] == [(Text("a"),), (Text("bc"),)]


def test_stream_of_log_probabilities() -> None:
    def chance(token: str) -> dict[str, Any]:
        return {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []}

    reply = assembled(
        chunk(choice({"content": "a"}) | {"logprobs": {"content": [chance("a")], "refusal": None}}),
        chunk(choice({"content": "b"}) | {"logprobs": {"content": [chance("b")], "refusal": None}}),
        chunk(choice({}, "stop")),
    )
    logprobs = {"content": [chance("a"), chance("b")], "refusal": None}
    message = {"role": "assistant", "content": "ab"}
    assert json.loads(reply.body) == completion(whole(message) | {"logprobs": logprobs})


def test_stream_with_fields_of_other_providers() -> None:
    reply = assembled(
        chunk(choice({"role": "assistant", "reasoning_content": "h"}), provider="p"),
        chunk(choice({"reasoning_content": "m", "content": None})),
        chunk(choice({"content": "so"}) | {"content_filter_results": {"hate": 1}}),
        chunk(choice({}, "stop"), x_groq={"id": "r"}),
    )
    message = {"role": "assistant", "content": "so", "reasoning_content": "hm"}
    expected = whole(message) | {"content_filter_results": {"hate": 1}}
    assert json.loads(reply.body) == completion(expected, provider="p", x_groq={"id": "r"})
    assert reply.messages == (Message(ASSISTANT, (Thinking("hm"), Text("so"))),)


def test_azure_opens_with_a_chunk_without_choices() -> None:
    opening = event({"id": "", "created": 0, "model": "", "object": "", "choices": [],
                     "prompt_filter_results": [{"prompt_index": 0}]})  # fmt: skip
    reply = assembled(opening, chunk(choice({"content": "a"}, "stop")))
    assert (reply.id, reply.model) == ("chatcmpl-1", "gpt")
    assert json.loads(reply.body)["created"] == 7
    assert json.loads(reply.body)["prompt_filter_results"] == [{"prompt_index": 0}]


def test_stream_of_a_refusal() -> None:
    reply = assembled(
        chunk(choice({"role": "assistant", "content": None, "refusal": "I "})),
        chunk(choice({"refusal": "can not"})),
        chunk(choice({}, "stop")),
    )
    assert reply.messages == (Message(ASSISTANT, (Text("I can not"),)),)
    assert reply.refused


def test_stream_without_end_marker_is_complete_if_all_answers_ended() -> None:
    end = chunk(choice({"content": "a"}, "stop"))
    open_ = chunk(choice({"content": "b"}, index=1))
    assert assembled(end, end=b"").complete
    assert not assembled(end, open_, end=b"").complete
    assert assembled(end, open_).complete


def test_only_the_end_marker_finishes_a_stream() -> None:
    assembler = ChatAssembler()
    assembler.feed(chunk(choice({"content": "[DONE]"}, "stop")))
    assert not assembler.finished
    assembler.feed(b"data: [DONE]\n")
    assert not assembler.finished
    assembler.feed(b"\n")
    assert assembler.finished


def test_broken_off_stream_tells_what_has_come() -> None:
    reply = assembled(chunk(choice({"content": "a"})), b"data: {", end=b"")
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)),)
    assert not reply.complete
    assert reply.finish_reason == ""


def test_error_in_a_stream() -> None:
    error = event({"error": {"message": "overloaded", "code": 503}})
    for chunks in ([error], [chunk(choice({"content": "a"}, "stop")), error]):
        reply = assembled(*chunks)
        assert not reply.complete
        assert len(reply.messages) == len(chunks) - 1


def test_nothing_at_all() -> None:
    assert assembled(end=b"") == Reply((), complete=False)


@pytest.mark.parametrize(
    "wrong",
    [{"choices": 5}, {"choices": [5]}, {"choices": [{"delta": 5}]}, {"choices": [{"index": "a"}]},
     {"choices": [{"index": 0, "delta": {"tool_calls": 5, "content": [5]}}]},
     {"choices": [{"index": 10**30, "delta": {"tool_calls": [5]}}]},
     {"choices": None, "usage": [], "id": {}, "model": 5}],
)  # fmt: skip
def test_chunks_of_another_shape_do_no_harm(wrong: dict[str, Any]) -> None:
    reply = assembled(event(wrong), chunk(choice({"content": "a"})), event(wrong))
    assert msgspec.json.decode(reply.body)["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "invalid_request_error", "invalid_api_key"),
        (404, "invalid_request_error", None),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (502, "server_error", None),
        (504, "server_error", None),
    ],
)
def test_errors(status: int, kind: str, code: str | None) -> None:
    assert json.loads(DIALECT.error_body(status, 'say "no"')) == {
        "error": {"message": 'say "no"', "type": kind, "param": None, "code": code}
    }
