from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Conversation,
    Message,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from gateway_sessions.dialects.openai_responses import OpenAIResponses
from gateway_sessions.errors import UnreadableBody

DIALECT = OpenAIResponses()
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}


def read(**fields: Any) -> Conversation:
    return DIALECT.read_request(json.dumps({"model": "m", **fields}).encode(), "/v1/responses")


def messages(conversation: Conversation) -> list[Message]:
    return [message for raw in conversation.messages for message in conversation.read(raw)]


def said(text: str, kind: str = "output_text") -> dict[str, Any]:
    key = "refusal" if kind == "refusal" else "text"
    return SAID | {"content": [{"type": kind, key: text, "annotations": []}]}


def response(*output: dict[str, Any], **fields: Any) -> bytes:
    whole = {"id": "resp_1", "object": "response", "model": "gpt", "status": "completed"}
    return json.dumps(whole | {"output": output} | fields).encode()


def test_text_and_a_list_of_one_item_are_the_same() -> None:
    text, items = read(input="hi ü"), read(input=[{"role": "user", "content": "hi ü"}])
    assert messages(text) == messages(items) == [Message(USER, (Text("hi ü"),))]


def test_fields() -> None:
    conversation = read(
        input=[{"role": "user", "content": "hi"}],
        instructions="be",
        stream=True,
        tools=[{"type": "function", "name": "f"}],
        previous_response_id="resp_0",
        conversation={"id": "conv_1"},
        prompt_cache_key="k",
        store=False,
        background=None,
        safety_identifier="u",
    )
    assert (conversation.system, conversation.model) == (b'"be"', "m")
    assert conversation.stream
    assert json.loads(conversation.tools) == [{"type": "function", "name": "f"}]
    assert conversation.fields == {
        "previous_response_id": "resp_0",
        "conversation": {"id": "conv_1"},
        "prompt_cache_key": "k",
    }
    assert conversation.end_user == "u"
    assert read(input="a", conversation="conv_1").fields == {"conversation": "conv_1"}


def test_kept_prompt_is_the_system_prompt_where_there_is_no_other() -> None:
    assert read(input="a", prompt={"id": "p"}).system == b'{"id": "p"}'
    assert read(input="a", prompt={"id": "p"}, instructions=None).system == b'{"id": "p"}'
    assert read(input="a", prompt={"id": "p"}, instructions="be").system == b'"be"'


@pytest.mark.parametrize("sent", [None, "", []])
@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_input_may_be_missing_where_the_provider_has_the_rest(sent: Any, field: str) -> None:
    conversation = read(input=sent, **{field: "x"})
    assert messages(conversation) == [Message(USER, ())]
    with pytest.raises(UnreadableBody, match="no messages"):
        read(input=sent, **{field: None})


def test_all_output_items_are_one_message() -> None:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    calls = [
        {"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"} for name in "ab"
    ]
    sent = response(reasoning, said("so"), *calls, usage=usage)
    assert DIALECT.read_reply(sent) == Reply(
        messages=(
            Message(
                ASSISTANT,
                (Thinking("hm"), Text("so"), ToolCall("a", "f", {}), ToolCall("b", "f", {})),
                "msg_1",
            ),
        ),
        body=sent,
        id="resp_1",
        model="gpt",
        finish_reason="completed",
        usage=Usage(10, 5, cache_read_tokens=4, reasoning_tokens=2),
    )


def test_the_first_thing_that_tells_a_reply_from_its_equals_is_its_seal() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    (message,) = DIALECT.read_reply(response(reasoning, said("so"))).messages
    assert message.seal == "gAAA"


def test_sound_is_counted_apart() -> None:
    details = {f"{side}_tokens_details": {"audio_tokens": 6} for side in ("input", "output")}
    found = DIALECT.read_reply(response(said("so"), usage=details)).usage
    assert found == Usage(audio_input_tokens=6, audio_output_tokens=6)


@pytest.mark.parametrize(
    ("fields", "finish", "refused"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
         "max_output_tokens", False),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
         "content_filter", True),
        ({"status": "completed", "incomplete_details": None}, "completed", False),
    ],
)  # fmt: skip
def test_why_a_response_ended(fields: dict[str, Any], finish: str, *, refused: bool) -> None:
    reply = DIALECT.read_reply(response(said("a"), **fields))
    assert (reply.finish_reason, reply.refused) == (finish, refused)
    assert reply.messages == (Message(ASSISTANT, (Text("a"),), "msg_1"),)


def test_refusal() -> None:
    reply = DIALECT.read_reply(response(said("I can not", "refusal")))
    assert reply.messages == (Message(ASSISTANT, (Text("I can not"),), "msg_1"),)
    assert reply.refused


@pytest.mark.parametrize("status", ["failed", "cancelled", "queued", "in_progress"])
def test_response_without_an_answer_keeps_its_id(status: str) -> None:
    reply = DIALECT.read_reply(response(status=status, error={"code": "server_error"}))
    assert (reply.messages, reply.id, reply.finish_reason) == ((), "resp_1", status)


def test_failed_response_is_no_answer_whatever_came_of_it() -> None:
    assert DIALECT.read_reply(response(said("a"), status="failed")).messages == ()


def test_empty_answer_is_an_answer() -> None:
    assert DIALECT.read_reply(response()).messages == (Message(ASSISTANT, ()),)


@pytest.mark.parametrize(
    "sent",
    ['{"error": {"message": "no"}}', "[]", "5", "{}", '{"output": 5}', '{"output": [5]}',
     '{"id": 5, "model": [], "usage": 5, "status": {}, "incomplete_details": 5}'],
)  # fmt: skip
def test_json_of_another_shape_is_a_reply_without_messages(sent: str) -> None:
    reply = DIALECT.read_reply(sent.encode())
    assert reply.messages == ()
    assert reply.usage is None


def test_unreadable_item_is_left_out() -> None:
    sent = response(SAID | {"content": 5}, SAID | {"content": [5]}, said("a"))
    assert DIALECT.read_reply(sent).messages == (Message(ASSISTANT, (Text("a"),), "msg_1"),)


def test_errors_are_those_of_chat() -> None:
    error = json.loads(DIALECT.error_body(429, "slow down"))["error"]
    assert (error["code"], error["message"]) == ("rate_limit_exceeded", "slow down")
