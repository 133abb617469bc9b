from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.conversation import ASSISTANT, USER, Media, Message, Part, Text
from gateway_sessions.dialects.openai_completions import OpenAICompletions
from gateway_sessions.errors import UnreadableBody
from tests.dialects.wire import event

DIALECT = OpenAICompletions()
FRAME = {"id": "cmpl-1", "created": 7, "model": "gpt"}


def said(**fields: Any) -> tuple[Part, ...]:
    sent = json.dumps({"model": "m", **fields}).encode()
    conversation = DIALECT.read_request(sent, "/v1/completions")
    (raw,) = conversation.messages
    (message,) = conversation.read(raw)
    assert message.role == USER
    return message.parts


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hi", (Text("hi"),)),
        ("", ()),
        (["a", "b"], (Text("a"), Text("b"))),
        ([1, 2], (Media("[1,2]"),)),
        ([[1], [2]], (Media("[[1],[2]]"),)),
    ],
)
def test_prompts(prompt: Any, expected: tuple[Part, ...]) -> None:
    assert said(prompt=prompt) == expected


def test_text_after_a_gap_belongs_to_the_prompt() -> None:
    assert said(prompt="a", suffix="b") == (Text("a"), Text("b"))
    assert said(prompt="a", suffix=None) == (Text("a"),)


def test_fields() -> None:
    sent = json.dumps({"model": "m", "prompt": "a", "stream": True, "user": "u"}).encode()
    conversation = DIALECT.read_request(sent, "/")
    assert (conversation.model, conversation.stream, conversation.end_user) == ("m", True, "u")


@pytest.mark.parametrize("fields", [{}, {"prompt": None}, {"prompt": 5}, {"prompt": {}}])
def test_request_without_a_prompt_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(UnreadableBody, match="prompt"):
        said(**fields)


def choice(text: str, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def test_reply() -> None:
    whole = FRAME | {"object": "text_completion", "choices": [choice("a", "stop"), choice("b")]}
    reply = DIALECT.read_reply(json.dumps(whole).encode())
    assert reply.messages == (Message(ASSISTANT, (Text("a"),)), Message(ASSISTANT, (Text("b"),)))
    assert (reply.id, reply.finish_reason) == ("cmpl-1", "stop")


def test_stream() -> None:
    assembler = DIALECT.assembler()
    for piece in (choice("gr"), choice("x", index=1), choice("ün"), choice("", "stop"),
                  choice("", "length", 1)):  # fmt: skip
        assembler.feed(event(FRAME | {"object": "text_completion", "choices": [piece]}))
    assert not assembler.finished
    assembler.feed(event("[DONE]"))
    assert assembler.finished
    reply = assembler.reply()
    choices = [choice("grün", "stop"), choice("x", "length", 1)]
    assert json.loads(reply.body) == FRAME | {"object": "text_completion", "choices": choices}
    assert reply == DIALECT.read_reply(reply.body)


def test_stream_of_messages_fills_gaps_too() -> None:
    assembler = DIALECT.assembler()
    delta = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
    assembler.feed(event(FRAME | {"choices": [delta | {"text": ""}]}) + event("[DONE]"))
    assert assembler.reply().messages == (Message(ASSISTANT, (Text("x"),)),)
    assert json.loads(assembler.reply().body)["object"] == "chat.completion"


def test_errors_are_those_of_chat() -> None:
    assert json.loads(DIALECT.error_body(500, "no"))["error"]["type"] == "server_error"
