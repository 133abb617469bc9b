from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.dialects.parsing import parse
from gateway_sessions.web.echo_answers import Question
from gateway_sessions.web.echo_openai import openai_chat, openai_responses


def question(**options: Any) -> Question:
    return Question("m", options, 400, ("a",), None)


def test_usage_only_comes_in_a_stream_if_asked_for() -> None:
    asked = openai_chat(question(stream_options={"include_usage": True}))
    assert b'"usage"' not in b"".join(openai_chat(question()).events)
    assert asked.events[-2].count(b'"prompt_tokens":101') == 1


def test_events_are_numbered_and_the_last_holds_the_response() -> None:
    answer = openai_responses(question())
    events = [parse(event.partition(b"data: ")[2]) for event in answer.events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["response"]["status"] == "in_progress"
    assert events[-1]["response"] == answer.body


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("conv_1", {"id": "conv_1"}), ({"id": "conv_1"}, {"id": "conv_1"}), (None, None)],
)
def test_what_the_request_named_comes_back(sent: Any, expected: Any) -> None:
    body = openai_responses(question(conversation=sent, previous_response_id="resp_0")).body
    assert body["conversation"] == expected
    assert body["previous_response_id"] == "resp_0"
