from __future__ import annotations

import msgspec
import pytest

from gateway_sessions.dialects import ROUTES
from gateway_sessions.web.echo_answers import Question
from gateway_sessions.web.echo_formats import FORMATS, gemini, ollama

SAID = ("Grüße, all of you out there!  Really.", "Else")
ARGUMENTS = {"city": "a b c d e f", "deep": {"x": [1]}}
TEXT = Question("m", {"n": 2}, 400, SAID, None)
CALL = Question("m", {}, 0, ("unused",), ("f", ARGUMENTS))
EVENTS = Question("m", {}, 400, SAID, None, "/v1beta/models/m:streamGenerateContent?alt=sse")
CODE_ASSIST = Question("m", {"request": {}}, 400, SAID, None, "/v1internal:streamGenerateContent")
PROMPT = Question("m", {}, 400, SAID, None, "/api/generate?x=/chat")

every = pytest.mark.parametrize("name", FORMATS)


def test_formats_are_named_like_dialects() -> None:
    assert set(FORMATS) <= {route.dialect.name for route in ROUTES}


@every
@pytest.mark.parametrize(
    "question",
    [TEXT, CALL, EVENTS, CODE_ASSIST, PROMPT],
    ids=["text", "call", "events", "code_assist", "prompt"],
)
def test_stream_says_what_the_object_says(name: str, question: Question) -> None:
    (dialect,) = {route.dialect for route in ROUTES if route.dialect.name == name}
    answer = FORMATS[name](question)
    assembler = dialect.assembler()
    for event in answer.events:
        assert not assembler.finished
        assembler.feed(event)
    body = msgspec.json.encode(answer.body)
    whole, rebuilt = dialect.read_reply(body), assembler.reply()
    assert assembler.finished
    assert rebuilt.complete
    assert (rebuilt.messages, rebuilt.id) == (whole.messages, whole.id)
    assert (rebuilt.finish_reason, rebuilt.model) == (whole.finish_reason, whole.model)
    assert whole.messages[0].parts
    assert question.call or len(answer.events) > 6
    assert dialect.streams(answer.content_type, asked=True)


def test_gemini_streams_an_array_unless_asked_for_events() -> None:
    assert gemini(TEXT).content_type.startswith("application/json")
    chunks = msgspec.json.decode(b"".join(gemini(TEXT).events))
    assert [bool(chunk["candidates"][0].get("finishReason")) for chunk in chunks][-2:] == [
        False,
        True,
    ]
    assert gemini(EVENTS).content_type.startswith("text/event-stream")
    assert gemini(EVENTS).events[0].startswith(b"data: {")


def test_code_assist_has_an_envelope() -> None:
    assert list(gemini(CODE_ASSIST).body) == ["response"]
    chunks = msgspec.json.decode(b"".join(gemini(CODE_ASSIST).events))
    assert all(list(chunk) == ["response"] for chunk in chunks)


def test_ollama_answers_chats_and_prompts() -> None:
    assert ollama(PROMPT).body["response"] == SAID[0]
    assert ollama(TEXT).body["message"] == {"role": "assistant", "content": SAID[0]}
    calls = [{"function": {"name": "f", "arguments": ARGUMENTS}}]
    assert ollama(CALL).body["message"] == {
        "role": "assistant",
        "content": "",
        "tool_calls": calls,
    }
