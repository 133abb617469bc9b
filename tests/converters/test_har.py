"""HTTP archives: the entries that went to an LLM, whole or streamed, in text or base64."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from gateway_sessions.converters.har import exchange
from gateway_sessions.converters.notes import Notes
from gateway_sessions.converters.values import NOTHING
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange
from tests.converters.logs import EGG, FIRST, SECOND, Json, chat_reply, relations, row, tags
from tests.traffic import chunks

URL = "https://api.example.com/v1/chat/completions"


def entry(second: int, messages: list[Json], content: Any = None, **more: Any) -> Json:
    made = {
        "startedDateTime": f"2026-01-20T10:30:{second:02}.000+01:00",
        "time": 1500.25,
        "request": {
            "method": "POST",
            "url": URL,
            "headers": [
                {"name": "Authorization", "value": "Bearer sk-1"},
                {"name": "User-Agent", "value": "Firefox"},
            ],
            "postData": {
                "mimeType": "application/json",
                "text": json.dumps({"messages": messages}),
            },
        },
        "response": {
            "status": 200,
            "content": content
            or {"mimeType": "application/json", "text": json.dumps(chat_reply())},
        },
    }
    for place, value in more.items():
        made["request" if place in ("method", "url", "headers", "postData") else "response"][
            place
        ] = value  # type: ignore[index]
    return made


def converted(values: Json, notes: Notes | None = None) -> LoggedExchange:
    found = exchange(row(values), notes or Notes())
    assert found is not None
    return found


def encoded(text: str) -> Json:
    return {"text": base64.b64encode(text.encode()).decode(), "encoding": "base64"}


def test_an_entry_is_an_exchange() -> None:
    found = converted(entry(1, FIRST, url=URL + "?beta=1"))
    assert found.timestamp.isoformat() == "2026-01-20T10:30:01+01:00"
    assert found.request.path == "/v1/chat/completions?beta=1"
    assert found.request.headers == {"authorization": "Bearer sk-1", "user-agent": "Firefox"}
    assert msgspec.json.decode(found.request.body) == {"messages": FIRST}
    assert found.response is not None
    assert found.response.duration_ms == 1500.25
    assert msgspec.json.decode(found.response.body) == chat_reply()


@pytest.mark.parametrize(
    "content",
    [
        {"text": json.dumps(chat_reply())},
        encoded(json.dumps(chat_reply())),
        {"text": b"".join(chunks(EGG)).decode(), "mimeType": "text/event-stream"},
        encoded(b"".join(chunks(EGG)).decode()),
    ],
    ids=["text", "base64", "stream", "stream in base64"],
)
def test_the_reply_may_be_whole_or_streamed(content: Json) -> None:
    notes = Notes()
    found = [converted(entry(1, FIRST, content), notes), converted(entry(5, SECOND), notes)]
    assert relations(found) == ["first", "continue"]
    assert notes == Notes(exchanges=2)


def test_keys_are_kept_apart() -> None:
    other = [{"name": "authorization", "value": "Bearer sk-2"}]
    found = tags([converted(entry(1, FIRST)), converted(entry(5, SECOND, headers=other))])
    assert len({tag.session_id for tag in found if tag}) == 2


@pytest.mark.parametrize(
    "others",
    [
        {"method": "GET"},
        {"method": "OPTIONS"},
        {"url": "https://example.com/app.js"},
        {"url": "https://api.example.com/v1/embeddings"},
        {"url": "not a url"},
    ],
)
def test_other_entries_are_left_out_and_counted(others: Json) -> None:
    notes = Notes()
    assert exchange(row(entry(1, FIRST, **others)), notes) is None
    assert notes == Notes(others=1)


@pytest.mark.parametrize(
    "content",
    [{"mimeType": "text/event-stream"}, {"text": ""}, {"text": "abcde", "encoding": "base64"}],
)
def test_a_body_that_the_browser_did_not_keep_is_noted(content: Json) -> None:
    notes = Notes()
    found = converted(entry(1, FIRST, content), notes)
    assert found.response is not None
    assert found.response.body is NOTHING
    assert notes == Notes(exchanges=1, without_reply=1)


@pytest.mark.parametrize("broken", [{"status": 0}, {"status": 529, "content": {"text": "busy"}}])
def test_a_failure_may_be_repeated(broken: Json) -> None:
    notes = Notes()
    found = [converted(entry(1, FIRST, **broken), notes), converted(entry(5, FIRST), notes)]
    assert relations(found) == ["first", "retry"]
    assert notes.without_reply == 0


def test_a_request_whose_body_was_not_kept_has_no_session() -> None:
    assert relations([converted(entry(1, FIRST, postData=None))]) == [None]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"startedDateTime": "x"}, "log, line 1: no entry of an HTTP archive (Object missing"),
        (entry(1, FIRST) | {"startedDateTime": "soon"}, "log, line 1: startedDateTime is no time."),
    ],
)
def test_what_is_no_entry_is_named(values: Json, error: str) -> None:
    with pytest.raises(UnreadableLog) as raised:
        exchange(row(values), Notes())
    assert str(raised.value).startswith(error)
