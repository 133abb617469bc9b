"""The same conversation leads to the same states, whatever wire format it comes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway_sessions.conversation import Message
from gateway_sessions.detection.walk import Walker
from gateway_sessions.dialects import ROUTES, Dialect
from tests.dialects.wire import FIELDS, request

SEED = 7
IMAGE = "iVBORw0KGgo+/w=="
QUESTION, PLAN, MORE = "What is in the picture?\nGrüße!", "I will look.", "And tomorrow?"
ARGUMENTS: list[Any] = [{"city": "Köln", "days": 2}, {"deep": {"b": [1, None], "a": True}}]
RESULTS = ["12 °C", '{"ok":true}']
ANSWER = "It is a map of Köln."
DATA_URL = f"data:image/png;base64,{IMAGE}"

Turns = list[list[Any]]
"""What client and model say in turn, each a list of wire items."""


def chat() -> Turns:
    picture = {"type": "image_url", "image_url": {"url": DATA_URL}}
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": dumped}}
        for n, dumped in enumerate(map(json.dumps, ARGUMENTS))
    ]
    results = [
        {"role": "tool", "tool_call_id": f"c{n}", "content": text} for n, text in enumerate(RESULTS)
    ]
    asked = [{"type": "text", "text": QUESTION}, picture]
    return [
        [{"role": "user", "content": asked}],
        [{"role": "assistant", "content": PLAN, "tool_calls": calls}],
        results,
        [{"role": "assistant", "content": ANSWER, "reasoning_content": "hm"}],
        [{"role": "user", "content": MORE}],
    ]


def cohere() -> Turns:
    question, (call,), *others = chat()
    content = [{"type": "text", "text": PLAN}]
    return [question, [call | {"content": content, "tool_plan": "hm"}], *others]


def anthropic() -> Turns:
    source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
    calls = [
        {"type": "tool_use", "id": f"toolu_{n}", "name": f"f{n}", "input": values}
        for n, values in enumerate(ARGUMENTS)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": text}
        for n, text in enumerate(RESULTS)
    ]
    asked = [{"type": "text", "text": QUESTION}, {"type": "image", "source": source}]
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    return [
        [{"role": "user", "content": asked}],
        [{"role": "assistant", "content": [{"type": "text", "text": PLAN}, *calls]}],
        [{"role": "user", "content": results}],
        [{"role": "assistant", "content": [thinking, {"type": "text", "text": ANSWER}]}],
        [{"role": "user", "content": MORE}],
    ]


def responses() -> Turns:
    def said(text: str) -> dict[str, Any]:
        return {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }

    calls = [
        {"type": "function_call", "call_id": f"c{n}", "name": f"f{n}", "arguments": dumped}
        for n, dumped in enumerate(map(json.dumps, ARGUMENTS))
    ]
    results = [
        {"type": "function_call_output", "call_id": f"c{n}", "output": text}
        for n, text in enumerate(RESULTS)
    ]
    picture = {"type": "input_image", "image_url": DATA_URL}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    return [
        [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}, picture]}],
        [reasoning, said(PLAN), *calls],
        results,
        [reasoning, said(ANSWER)],
        [{"role": "user", "content": MORE}],
    ]


def gemini() -> Turns:
    inline = {"mimeType": "image/png", "data": IMAGE.replace("+", "-").replace("/", "_")}
    calls = [
        {"functionCall": {"name": f"f{n}", "args": values}} for n, values in enumerate(ARGUMENTS)
    ]
    results = [
        {"functionResponse": {"name": f"f{n}", "response": {"result": text}}}
        for n, text in enumerate(RESULTS)
    ]
    return [
        [{"role": "user", "parts": [{"text": QUESTION}, {"inlineData": inline}]}],
        [{"role": "model", "parts": [{"text": PLAN}, *calls]}],
        [{"role": "user", "parts": results}],
        [{"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": ANSWER}]}],
        [{"parts": [{"text": MORE}]}],
    ]


def ollama() -> Turns:
    calls = [
        {"function": {"name": f"f{n}", "arguments": values}} for n, values in enumerate(ARGUMENTS)
    ]
    results = [
        {"role": "tool", "tool_name": f"f{n}", "content": text} for n, text in enumerate(RESULTS)
    ]
    return [
        [{"role": "user", "content": QUESTION, "images": [IMAGE]}],
        [{"role": "assistant", "content": PLAN, "tool_calls": calls}],
        results,
        [{"role": "assistant", "content": ANSWER, "thinking": "hm"}],
        [{"role": "user", "content": MORE}],
    ]


def converse() -> Turns:
    image = {"format": "png", "source": {"bytes": IMAGE}}
    calls = [
        {"toolUse": {"toolUseId": f"t{n}", "name": f"f{n}", "input": values}}
        for n, values in enumerate(ARGUMENTS)
    ]
    results = [
        {"toolResult": {"toolUseId": f"t{n}", "content": [{"text": text}]}}
        for n, text in enumerate(RESULTS)
    ]
    reasoning = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    return [
        [{"role": "user", "content": [{"text": QUESTION}, {"image": image}]}],
        [{"role": "assistant", "content": [{"text": PLAN}, *calls]}],
        [{"role": "user", "content": results}],
        [{"role": "assistant", "content": [reasoning, {"text": ANSWER}]}],
        [{"role": "user", "content": [{"text": MORE}]}],
    ]


SPOKEN: dict[str, Callable[[], Turns]] = {
    "openai_chat": chat,
    "openai_responses": responses,
    "anthropic": anthropic,
    "anthropic_vertex": anthropic,
    "anthropic_bedrock": anthropic,
    "gemini": gemini,
    "ollama": ollama,
    "bedrock_converse": converse,
    "cohere": cohere,
}
DIALECTS: dict[str, Dialect] = {route.dialect.name: route.dialect for route in ROUTES}
every = pytest.mark.parametrize("name", SPOKEN)


def state(name: str, turns: Turns, walker: Walker | None = None) -> int:
    items = [item for turn in turns for item in turn]
    conversation = DIALECTS[name].read_request(request(name, *items), "/")
    return (walker or Walker()).walk(conversation, SEED).request_state


def test_every_dialect_with_turns_is_here() -> None:
    assert SPOKEN.keys() == DIALECTS.keys() - {"openai_completions"}


@every
def test_states_are_equal_at_every_turn(name: str) -> None:
    walker = Walker()
    for turns in range(1, 6):
        expected = state("openai_chat", chat()[:turns])
        assert state(name, SPOKEN[name]()[:turns], walker) == expected


@every
def test_states_differ_where_anything_that_was_said_does(name: str) -> None:
    turns = SPOKEN[name]()
    sent = json.dumps(turns, ensure_ascii=False)
    for place, other in (
        (QUESTION.split("\n", maxsplit=1)[0], "What?"),
        (IMAGE[:5], "AAAAA"),
        (PLAN, "I will see."),
        ("f1", "f2"),
        ("days", "nights"),
        (RESULTS[0], "13 °C"),
        (ANSWER, "It is a map."),
        (MORE, "And now?"),
    ):
        changed = sent.replace(place, other)
        assert changed != sent
        assert state(name, json.loads(changed)) != state(name, turns)


def reply_bodies() -> dict[str, dict[str, Any]]:
    """Return the model's first turn as each provider's response."""
    (message,), (block,), (content,), (line,), (turn,) = (
        speak()[1] for speak in (chat, anthropic, gemini, ollama, converse)
    )
    (cohere_message,) = cohere()[1]
    return {
        "openai_chat": {"choices": [{"index": 0, "message": message}]},
        "openai_responses": {"status": "completed", "output": responses()[1]},
        "anthropic": block,
        "anthropic_vertex": block,
        "anthropic_bedrock": block,
        "gemini": {"candidates": [{"content": content, "finishReason": "STOP"}]},
        "ollama": {"message": line, "done": True},
        "bedrock_converse": {"output": {"message": turn}},
        "cohere": {"message": cohere_message},
    }


@every
def test_reply_leads_to_the_state_that_its_echo_has(name: str) -> None:
    walker = Walker()
    turns = SPOKEN[name]()
    asked = DIALECTS[name].read_request(request(name, *turns[0]), "/")
    reply = DIALECTS[name].read_reply(json.dumps(reply_bodies()[name]).encode())
    run = walker.walk(asked, SEED).after_reply(reply.messages[0])
    items = [item for turn in turns[:3] for item in turn]
    echoed = walker.walk(DIALECTS[name].read_request(request(name, *items), "/"), SEED).reply
    assert run is not None
    assert echoed is not None
    assert run.state == echoed.state == state("openai_chat", chat()[:2])


@every
def test_results_are_one_message_each(name: str) -> None:
    conversation = DIALECTS[name].read_request(request(name, *SPOKEN[name]()[2]), "/")
    messages: list[Message] = [m for raw in conversation.messages for m in conversation.read(raw)]
    assert [(message.role, len(message.parts)) for message in messages] == [("user", 1)] * 2


def test_prompt_is_a_conversation_of_one_message() -> None:
    plain = state("openai_chat", [[{"role": "user", "content": QUESTION}]])
    assert state("openai_completions", [[QUESTION]]) == plain
    for name, field in (("ollama", "prompt"), ("openai_responses", FIELDS["openai_responses"])):
        sent = json.dumps({"model": "m", field: QUESTION}).encode()
        walk = Walker().walk(DIALECTS[name].read_request(sent, "/"), SEED)
        assert walk.request_state == plain
