"""Lines with messages and a response, in the ways people write them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.openai_log import exchange
from gateway_sessions.errors import UnreadableLog
from tests.converters.logs import EGG, FIRST, SECOND, Json, chat_reply, relations, row, tags

WAYS: dict[str, dict[str, Any]] = {
    "request and response": {"request": {"messages": FIRST}, "response": chat_reply()},
    "as http": {
        "request": {"url": "https://x/v1/chat/completions", "body": {"messages": FIRST}},
        "response": {"status_code": 200, "body": chat_reply()},
    },
    "flat": {"messages": FIRST, "model": "m", "response": chat_reply()},
    "flat, in texts": {"messages": msgspec.json.encode(FIRST).decode(), "response": EGG},
    "spread": {"messages": FIRST, "id": "c1", "choices": chat_reply()["choices"]},
    "words": {"messages": FIRST, "completion": EGG},
    "message": {"messages": FIRST, "output": {"role": "assistant", "content": EGG}},
    "anthropic": {
        "request": {"messages": FIRST, "max_tokens": 9},
        "response": {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": EGG}],
        },
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_understood(way: str) -> None:
    notes = Notes()
    one = exchange(row(WAYS[way] | {"timestamp": "2026-01-01T00:00:01Z"}), notes)
    other = exchange(row({"messages": SECOND, "response": "No.", "created": 1767225700}), notes)
    assert relations([one, other]) == ["first", "continue"]
    assert notes == Notes(exchanges=2)


def test_fields_of_the_line_are_no_part_of_a_flat_request() -> None:
    line = {
        "messages": FIRST,
        "model": "m",
        "user": "ann",
        "completion": EGG,
        "created": 1767225600,
    }
    found = exchange(row(line | {"id": "c1", "latency_ms": 250, "client_ip": "10.0.0.7"}), Notes())
    assert msgspec.json.decode(found.request.body) == {
        "messages": FIRST,
        "model": "m",
        "user": "ann",
    }
    assert found.request_id == "c1"
    assert found.client.ip == "10.0.0.7"
    assert found.response is not None
    assert found.response.duration_ms == 250


@pytest.mark.parametrize(
    "key", [{"api_key": "sk-2"}, {"headers": {"Authorization": "Bearer sk-2"}}]
)
def test_keys_are_kept_apart(key: Json) -> None:
    lines = [
        {"messages": FIRST, "response": EGG, "timestamp": 1767225600, "api_key": "sk-1"},
        {"messages": SECOND, "response": "No.", "timestamp": 1767225700} | key,
        {"messages": SECOND, "response": "No.", "timestamp": 1767225800, "api_key": "sk-1"},
    ]
    found = tags(exchange(row(line), Notes()) for line in lines)
    one, stranger, other = (tag.session_id for tag in found if tag)
    assert one == other != stranger


@pytest.mark.parametrize(
    ("where", "seconds"),
    [
        ({"timestamp": "2026-01-01T00:00:05Z"}, 5),
        ({"created_at": 1767225605}, 5),
        ({"request": {"messages": FIRST, "timestamp": 1767225605000}}, 5),
        ({"response": {"created": 1767225605, **chat_reply()}}, 5),
        ({"start_time": "2026-01-01 00:00:05", "created": 1767225999}, 5),
    ],
)
def test_the_time_may_stand_in_many_places(where: Json, seconds: int) -> None:
    found = exchange(row({"messages": FIRST, "response": EGG} | where), Notes())
    assert (found.timestamp.second, found.timestamp.minute) == (seconds, 0)


def test_the_end_gives_the_duration() -> None:
    line = {"messages": FIRST, "started_at": 1767225600, "ended_at": "1767225602.5"}
    response = exchange(row(line), Notes()).response
    assert response is not None
    assert response.duration_ms == 2500


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ({"error": {"message": "slow down"}}, 500),
        ({"response": {"error": {"message": "slow down"}}}, 500),
        ({"status": 429, "response": None}, 429),
        ({"status": "429"}, 429),
        ({"response": {"status_code": 503, "body": {"error": {}}}}, 503),
    ],
)
def test_a_failure_may_be_repeated(outcome: Json, status: int) -> None:
    notes = Notes()
    failed = exchange(row({"messages": FIRST, "timestamp": 1767225600} | outcome), notes)
    again = exchange(row({"messages": FIRST, "timestamp": 1767225605, "response": EGG}), notes)
    assert failed.response is not None
    assert failed.response.status == status
    assert relations([failed, again]) == ["first", "retry"]
    assert notes.without_reply == 0


def test_words_of_a_status_are_no_number() -> None:
    line = {"messages": FIRST, "timestamp": 1767225600, "status": "success", "response": EGG}
    response = exchange(row(line), Notes()).response
    assert response is not None
    assert response.status == 200


def test_a_missing_reply_is_noted() -> None:
    notes = Notes()
    exchange(row({"messages": FIRST, "timestamp": 1767225600}), notes)
    assert notes == Notes(exchanges=1, without_reply=1)


def test_what_is_no_conversation_gets_no_session() -> None:
    notes = Notes()
    line = {"input": "words", "model": "text-embedding-3-small", "timestamp": 1767225600}
    assert relations([exchange(row(line), notes)]) == [None]
    assert notes == Notes()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            {"messages": FIRST, "response": EGG},
            (
                "log, line 7: no time; each line needs one, in a field such as timestamp,"
                " created_at or created."
            ),
        ),
        (
            {"timestamp": 1767225600, "response": EGG, "messages": []},
            (
                "log, line 7: no request to an LLM; each line needs messages, or a request that"
                " has them, and a response."
            ),
        ),
    ],
)
def test_what_is_missing_is_named(line: Json, error: str) -> None:
    with pytest.raises(UnreadableLog) as raised:
        exchange(row(line, 7), Notes())
    assert str(raised.value) == error
