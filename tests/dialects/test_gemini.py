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
    Usage,
)
from gateway_sessions.dialects.gemini import Gemini
from gateway_sessions.errors import UnreadableBody

DIALECT = Gemini()
PATH = "/v1beta/models/gemini-2.5-pro:generateContent?key=k"
HI = {"role": "user", "parts": [{"text": "hi"}]}


def body(contents: Any, **fields: Any) -> bytes:
    return json.dumps({"contents": contents, **fields}).encode()


def candidate(*parts: dict[str, Any], finish: str = "STOP", index: int = 0) -> dict[str, Any]:
    content = {"role": "model", "parts": list(parts)}
    return {"content": content, "finishReason": finish, "index": index}


def response(*candidates: dict[str, Any], **fields: Any) -> dict[str, Any]:
    frame = {"responseId": "r1", "modelVersion": "gemini-2.5-pro-001"}
    return {"candidates": list(candidates)} | frame | fields


def test_request() -> None:
    system = {"parts": [{"text": "be"}]}
    tools = [{"functionDeclarations": [{"name": "f"}]}]
    sent = body([HI, HI], systemInstruction=system, tools=tools)
    conversation = DIALECT.read_request(sent, PATH)
    assert json.loads(conversation.system) == system
    assert json.loads(conversation.tools) == tools
    assert conversation.model == "gemini-2.5-pro"
    assert not conversation.stream
    assert conversation.fields == {}
    assert [conversation.read(raw) for raw in conversation.messages] == [
        (Message(USER, (Text("hi"),)),)
    ] * 2


def test_a_whole_request_whose_tokens_are_to_be_counted() -> None:
    inner = {"model": "models/m", "contents": [HI], "systemInstruction": {"parts": []}}
    sent = json.dumps({"generateContentRequest": inner}).encode()
    conversation = DIALECT.read_request(sent, "/v1beta/models/gemini-2.5-pro:countTokens")
    assert [json.loads(bytes(raw)) for raw in conversation.messages] == [HI]
    assert (conversation.system, conversation.model) == (b'{"parts": []}', "gemini-2.5-pro")


def test_other_ways_of_writing_a_request() -> None:
    path = "/v1/publishers/google/models/m:streamGenerateContent"
    conversation = DIALECT.read_request(body(HI, system_instruction="be"), path)
    assert conversation.stream
    assert (conversation.system, conversation.model) == (b'"be"', "m")
    (raw,) = conversation.messages
    assert conversation.read(raw) == (Message(USER, (Text("hi"),)),)


@pytest.mark.parametrize("contents", [None, [], {}, "hi", 5])
def test_request_without_contents_is_none(contents: Any) -> None:
    with pytest.raises(UnreadableBody):
        DIALECT.read_request(body(contents), PATH)


def test_envelope_of_code_assist() -> None:
    inner = {"contents": [HI], "session_id": "s1", "systemInstruction": "be", "tools": []}
    sent = json.dumps({"model": "gemini-2.5-flash", "project": "p", "request": inner}).encode()
    conversation = DIALECT.read_request(sent, "/v1internal:streamGenerateContent?alt=sse")
    assert conversation.model == "gemini-2.5-flash"
    assert conversation.stream
    assert conversation.fields == {"request": {"session_id": "s1"}}
    assert (conversation.system, conversation.tools) == (b'"be"', b"[]")
    assert len(conversation.messages) == 1
    del inner["session_id"]
    sent = json.dumps({"request": inner}).encode()
    assert DIALECT.read_request(sent, "/v1internal:generateContent").fields == {}


@pytest.mark.parametrize("inner", [{}, 5, [], "x", {"contents": 5}])
def test_empty_envelopes_are_unreadable(inner: Any) -> None:
    with pytest.raises(UnreadableBody):
        DIALECT.read_request(json.dumps({"request": inner}).encode(), "/v1internal:generateContent")


def test_reply() -> None:
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
        "toolUsePromptTokenCount": 3,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 25,
    }
    answer = candidate({"text": "hm", "thought": True}, {"text": "so"})
    sent = json.dumps(response(answer, usageMetadata=usage)).encode()
    assert DIALECT.read_reply(sent) == Reply(
        messages=(Message(ASSISTANT, (Thinking("hm"), Text("so"))),),
        body=sent,
        id="r1",
        model="gemini-2.5-pro-001",
        finish_reason="STOP",
        usage=Usage(
            input_tokens=13,
            output_tokens=12,
            cache_read_tokens=4,
            reasoning_tokens=7,
            thinking_tokens=7,
        ),
    )


@pytest.mark.parametrize(
    ("details", "heard"),
    [
        ([{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 6}], 6),
        ([{"modality": "AUDIO", "tokenCount": "6"}, 5, None], 0),
        ({"modality": "AUDIO", "tokenCount": 6}, 0),
        (None, 0),
    ],
)
def test_sound_is_counted_apart(details: Any, heard: int) -> None:
    usage = {"promptTokensDetails": details, "candidatesTokensDetails": details}
    sent = json.dumps(response(candidate({"text": "so"}), usageMetadata=usage)).encode()
    found = DIALECT.read_reply(sent).usage
    assert found is not None
    assert (found.audio_input_tokens, found.audio_output_tokens) == (heard, heard)


def test_reply_in_the_envelope_of_code_assist() -> None:
    plain = response(candidate({"text": "so"}))
    reply = DIALECT.read_reply(json.dumps({"response": plain, "traceId": "t"}).encode())
    assert reply.messages == (Message(ASSISTANT, (Text("so"),)),)
    assert reply.id == "r1"


def test_candidates_are_alternatives() -> None:
    sent = response(candidate({"text": "a"}), candidate({"text": "b"}, index=1))
    reply = DIALECT.read_reply(json.dumps(sent).encode())
    assert [message.parts for message in reply.messages] == [(Text("a"),), (Text("b"),)]


def test_whole_array_of_a_stream() -> None:
    chunks = [response(candidate({"text": text}, finish="")) for text in "ab"]
    chunks.append(response(candidate({"text": "c"})))
    reply = DIALECT.read_reply(json.dumps(chunks).encode())
    assert reply.messages == (Message(ASSISTANT, (Text("abc"),)),)
    assert reply.complete
    assert json.loads(reply.body) == response(candidate({"text": "abc"}))


@pytest.mark.parametrize(
    ("sent", "finish"),
    [
        (response(candidate({"text": "a"}, finish="SAFETY")), "SAFETY"),
        (response({"finishReason": "RECITATION", "index": 0}), "RECITATION"),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "PROHIBITED_CONTENT"),
    ],
)
def test_refusals(sent: dict[str, Any], finish: str) -> None:
    reply = DIALECT.read_reply(json.dumps(sent).encode())
    assert (reply.refused, reply.finish_reason) == (True, finish)
    normal = DIALECT.read_reply(json.dumps(response(candidate(finish="MAX_TOKENS"))).encode())
    assert not normal.refused


@pytest.mark.parametrize(
    "sent",
    ['{"error": {"code": 500}}', "[]", "5", "{}", '{"candidates": [5]}', '{"response": 5}',
     '{"candidates": [{"content": {"parts": 5}}]}', '{"candidates": [{"content": 5}]}',
     '{"usageMetadata": 5, "responseId": 5, "promptFeedback": 5}'],
)  # fmt: skip
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None


@pytest.mark.parametrize(
    ("status", "state"),
    [(400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED"), (429, "RESOURCE_EXHAUSTED"),
     (500, "INTERNAL"), (502, "INTERNAL"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")],
)  # fmt: skip
def test_errors(status: int, state: str) -> None:
    expected = {"error": {"code": status, "message": 'say "no"', "status": state}}
    assert json.loads(DIALECT.error_body(status, 'say "no"')) == expected
