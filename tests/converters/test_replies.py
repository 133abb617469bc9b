"""Whatever form a log has a reply in, the request's dialect reads the same words from it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.conversation import ASSISTANT, Message, Reply, Text, ToolCall
from gateway_sessions.converters.replies import reply_body
from gateway_sessions.converters.shapes import (
    CHAT,
    COMPLETIONS,
    MESSAGES,
    RESPONSES,
    generate_path,
)
from gateway_sessions.converters.values import NOTHING
from gateway_sessions.detection.canonical import digest_parts
from gateway_sessions.dialects import Dialect, dialect_for

PATHS = (CHAT, MESSAGES, RESPONSES, generate_path("m"), "/api/chat")
CALL = ToolCall("call_1", "weather", {"city": "Oslo"})
SAID = Message(ASSISTANT, (Text("I look it up."), CALL))

CHAT_MESSAGE = {
    "role": "assistant",
    "content": "I look it up.",
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
        }
    ],
}
CHAT_CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "I look "}}]},
    {"choices": [{"index": 0, "delta": {"content": "it up."}}]},
    {
        "choices": [
            {"index": 0, "delta": {"tool_calls": [{"index": 0, **CHAT_MESSAGE["tool_calls"][0]}]}}  # type: ignore[dict-item]
        ]
    },
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
]
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "text", "text": "I look it up."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
    ],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look it up."}],
        },
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
        },
    ],
}
FORMS: dict[str, Any] = {
    "chat completion": {"choices": [{"index": 0, "message": CHAT_MESSAGE}]},
    "its text": json.dumps({"choices": [{"index": 0, "message": CHAT_MESSAGE}]}),
    "choices": [{"index": 0, "message": CHAT_MESSAGE, "finish_reason": "tool_calls"}],
    "message": CHAT_MESSAGE,
    "chunks": CHAT_CHUNKS,
    "anthropic": ANTHROPIC,
    "response": RESPONSE,
    "last event": {"type": "response.completed", "response": RESPONSE},
}


def dialect(path: str) -> Dialect:
    found = dialect_for("POST", path, ())
    assert found is not None
    return found


def replied(answer: Any, path: str) -> Reply:
    """Return what replay reads of an answer."""
    raw = bytes(reply_body(answer, dialect(path)))
    if not raw.startswith(b'"'):
        return dialect(path).read_reply(raw)
    assembler = dialect(path).assembler()
    assembler.feed(msgspec.json.decode(raw, type=str).encode())
    return assembler.reply()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same_in_every_dialect(form: str, path: str) -> None:
    reply = replied(FORMS[form], path)
    assert reply.complete
    (message,) = reply.messages
    assert (
        digest_parts(message.role, message.parts).links == digest_parts(ASSISTANT, SAID.parts).links
    )


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
def test_ids_of_tool_calls_are_kept(path: str) -> None:
    (message,) = replied(FORMS["chunks"], path).messages
    assert [part.id for part in message.parts if isinstance(part, ToolCall)] == ["call_1"]


@pytest.mark.parametrize("path", [*PATHS, COMPLETIONS])
@pytest.mark.parametrize("words", ["Nine minutes.", '{"minutes": 9}', "[9]", '"nine"'])
def test_words_alone_are_an_answer_even_if_they_are_json(words: str, path: str) -> None:
    (message,) = replied(words, path).messages
    assert message.parts == (Text(words),)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("answer", [None, "", "  ", {}, [], 5, True, [1], [None]])
def test_nothing_is_nothing(answer: Any, path: str) -> None:
    assert reply_body(answer, dialect(path)) is NOTHING


def test_the_text_of_a_stream_is_kept_as_it_is() -> None:
    stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHAT_CHUNKS) + "data: [DONE]\n\n"
    assert msgspec.json.decode(reply_body(stream, dialect(CHAT))) == stream
    parts: list[dict[str, Any]] = [
        {"message": {"content": "Ni"}, "done": False},
        {"message": {"content": "ne"}},
    ]
    lines = "".join(json.dumps({"done": True} | part) + "\n" for part in parts)
    (message,) = replied(lines, "/api/chat").messages
    assert message.parts == (Text("Nine"),)


def test_events_of_a_stream_are_put_together() -> None:
    events = [
        {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Nine."},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
    for path in (MESSAGES, CHAT):
        (message,) = replied(events, path).messages
        assert message.parts == (Text("Nine."),)


def test_events_of_responses_are_put_together() -> None:
    events = [{"type": "response.created", "response": {}}]
    events.append({"type": "response.completed", "response": RESPONSE})
    for path in (RESPONSES, CHAT):
        (message,) = replied(events, path).messages
        assert (
            digest_parts(message.role, message.parts).links
            == digest_parts(ASSISTANT, SAID.parts).links
        )


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    (said,) = replied({"choices": [{"message": message}]}, RESPONSES).messages
    assert said.parts == (ToolCall("c", "f", "{broken"),)


@pytest.mark.parametrize("answer", [{"type": "message", "content": 5}, {"choices": 5}])
def test_what_can_not_be_read_is_no_answer_elsewhere(answer: Any) -> None:
    assert reply_body(answer, dialect(RESPONSES)) is NOTHING


def test_a_stream_that_broke_off_is_no_answer_elsewhere() -> None:
    assert reply_body(CHAT_CHUNKS[:2], dialect(MESSAGES)) is NOTHING


def test_the_replies_of_other_dialects_stay_as_they_are() -> None:
    own = {"message": {"role": "assistant", "content": "Nine."}, "done": True}
    assert msgspec.json.decode(reply_body(own, dialect("/api/chat"))) == own
