"""Logged exchanges as milestones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.exchange_log import read_log
from gateway_sessions.milestones import Arrived, Ended, Finished
from gateway_sessions.replay import Replay
from gateway_sessions.testing import assistant
from tests.test_replay import START, line, tracker
from tests.traffic import chunks


def told(*lines: Any) -> list[Arrived | Finished | Ended]:
    found: list[Arrived | Finished | Ended] = []
    replay = Replay(tracker(), found.append)
    for _ in replay.verdicts(read_log(json.dumps(each) for each in lines)):
        pass
    return found


def test_requests_and_replies_are_told_when_they_take_effect() -> None:
    found = told(
        line(0, "hi", lasts=5.0), line(1, "ho"), line(10, "hi", assistant("Hello!"), "more")
    )
    assert [(type(each).__name__, each.request_id) for each in found] == [
        ("Arrived", "r0"),
        ("Arrived", "r1"),
        ("Finished", "r1"),
        ("Finished", "r0"),
        ("Arrived", "r10"),
        ("Finished", "r10"),
    ]
    assert [each.at - START.timestamp() for each in found] == [0, 1, 2, 5, 10, 11]


def test_a_milestone_says_what_a_live_one_would() -> None:
    first, end, second, _ = told(line(0, "hi"), line(9, "hi", assistant("Hello!"), "more"))
    assert isinstance(first, Arrived)
    assert isinstance(second, Arrived)
    assert isinstance(end, Finished)
    assert (first.dialect, first.provider, first.model) == ("openai_chat", "openai", "m")
    assert (first.message_count, first.new_messages) == (1, 1)
    assert (second.message_count, second.new_messages) == (3, 1)
    assert first.client.user_agent == "tests/1"
    assert first.request.headers[0] == ("Authorization", "***")
    assert end.session == first.session
    assert (end.response.status, end.response.duration_ms) == (200, 1000.0)
    assert json.loads(end.response.body)["choices"][0]["message"]["content"] == "Hello!"


def test_a_stream_is_put_together() -> None:
    text = b"".join(chunks("Hello!")).decode()
    _, end = told(line(0, "hi", response_body=text))
    assert isinstance(end, Finished)
    assert end.response.streamed
    assert json.loads(end.response.body)["choices"][0]["message"]["content"] == "Hello!"


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        ({"response_client_aborted": True}, 200, "client_closed"),
        ({"response_error": "upstream_timeout", "response_status": 0}, 0, "upstream_timeout"),
        ({"response_status": 529}, 529, None),
        ({"response": None}, 0, "upstream_aborted"),
    ],
)
def test_what_failed_says_how(more: dict[str, Any], status: int, error: str | None) -> None:
    _, end = told(line(0, "hi", **more))
    assert isinstance(end, Finished)
    assert (end.response.status, end.response.error) == (status, error)


def test_a_reset_ends_the_session_before_it() -> None:
    history = ["hi", assistant("Hello!")]
    found = told(line(0, "hi"), line(9, *history, "Start over: ducks"))
    (over,) = [each for each in found if isinstance(each, Ended)]
    assert (over.session_id, over.reason) == (found[0].session_id, "reset")


def test_exchanges_without_an_id_get_one() -> None:
    found = told(*(line(at, text) | {"request_id": ""} for at, text in ((0, "hi"), (9, "ho"))))
    assert [each.request_id for each in found] == ["req_0", "req_0", "req_1", "req_1"]


def test_what_is_no_chat_is_not_told() -> None:
    assert told(line(0, "hi", request_path="/v1/embeddings")) == []
