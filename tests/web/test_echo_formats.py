from __future__ import annotations

import msgspec
import pytest

from gateway_sessions.dialects import ROUTES
from gateway_sessions.web.echo_formats import FORMATS, Question

TEXT = Question("m", {"n": 2}, 400, ("Grüße, all of you out there!  Really.", "Else"), None)
CALL = Question("m", {}, 0, ("unused",), ("f", {"city": "a b c d e f", "deep": {"x": [1]}}))

every = pytest.mark.parametrize("name", FORMATS)


def test_formats_are_named_like_dialects() -> None:
    assert set(FORMATS) <= {route.dialect.name for route in ROUTES}


@every
@pytest.mark.parametrize("question", [TEXT, CALL], ids=["text", "call"])
def test_stream_says_what_the_object_says(name: str, question: Question) -> None:
    (dialect,) = {route.dialect for route in ROUTES if route.dialect.name == name}
    answer = FORMATS[name](question)
    assembler = dialect.assembler()
    for event in answer.events:
        assert not assembler.finished
        assembler.feed(event)
    whole, rebuilt = dialect.read_reply(msgspec.json.encode(answer.body)), assembler.reply()
    assert assembler.finished
    assert rebuilt.complete
    assert (rebuilt.messages, rebuilt.id) == (whole.messages, whole.id)
    assert rebuilt.finish_reason == whole.finish_reason
    assert len(answer.events) > 6


@every
def test_ids_are_never_the_same(name: str) -> None:
    answers = [FORMATS[name](CALL) for _ in range(50)]
    assert len({answer.body["id"] for answer in answers}) == 50


def test_usage_only_comes_in_a_stream_if_asked_for() -> None:
    asked = Question("m", {"stream_options": {"include_usage": True}}, 400, ("a",), None)
    assert b'"usage"' not in b"".join(FORMATS["openai_chat"](TEXT).events)
    assert FORMATS["openai_chat"](asked).events[-2].count(b'"prompt_tokens":101') == 1


def test_tokens_are_estimated_from_what_is_said() -> None:
    assert TEXT.input_tokens == 101
    assert TEXT.output_tokens == len("".join(TEXT.texts)) // 4 + 1
    assert CALL.output_tokens > 5
