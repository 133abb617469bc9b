"""The OpenAPI description: valid by itself, and true of what the API does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interceptors.recording_api.openapi import document
from interceptors.recording_api.protocol import Refused, read_event
from tests.interceptors.recording_api.schemas import matches
from tests.interceptors.recording_api.served import Served, served

DOCUMENT = document("/recording")


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, max_event_bytes=2000) as it:
        yield it


def result(path: str, method: str, status: int) -> Any:
    """Return the schema of an answer."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    return responses[str(status)]["content"]["application/json"]["schema"]


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    names = {name for name in names if name}
    assert names <= DOCUMENT["components"]["schemas"].keys()
    assert names >= {"Ack", "Error", "Recovery", "Event", "SessionStart", "Message"}


async def test_it_is_served_with_the_path_that_it_was_asked_for(tmp_path: Path) -> None:
    async with served(tmp_path, prefix="/own") as api:
        for prefix in ("/own/recording", "/own/api/recording"):
            status, answer = await api.get(f"{prefix}/openapi.json")
            assert status == 200
            assert answer["openapi"] == "3.1.0"
            assert answer["servers"] == [{"url": prefix}]
            assert answer["paths"].keys() == DOCUMENT["paths"].keys()


def test_it_has_every_route_but_the_websocket() -> None:
    described = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }
    assert len(described) == 9


EVENTS: list[Any] = [
    {"type": "session_start", "session_id": "s1", "provider": "p", "metadata": {"a": 1}},
    {"type": "session_start", "session_id": "s 1", "provider": "p"},
    {"type": "session_start", "session_id": "s1"},
    {"type": "session_start", "session_id": "s1", "provider": "p", "seq": -1},
    {"type": "session_start", "session_id": "s1", "provider": "p", "metadata": 1},
    {"type": "message_add", "session_id": "s1", "message_id": "m", "role": "u", "content": "x"},
    {"type": "message_add", "session_id": "s1", "message_id": "", "role": "u", "content": "x"},
    {"type": "message_add", "session_id": "s1", "message_id": "m", "role": "u", "content": 1},
    {"type": "message_update", "session_id": "s1", "message_id": "m", "content": "",
     "is_complete": True},
    {"type": "message_update", "session_id": "s1", "message_id": "m", "content": "",
     "is_complete": "yes"},
    {"type": "message_append", "session_id": "s1", "message_id": "m", "content_delta": "x"},
    {"type": "message_append", "session_id": "s1", "message_id": "m"},
    {"type": "session_update", "session_id": "s1", "title": None},
    {"type": "heartbeat", "timestamp": 1},
    {"type": "heartbeat", "timestamp": "1"},
    {"type": "session_end", "session_id": "s1", "final_message_count": 3},
    {"type": "session_snapshot", "session_id": "s1", "provider": "p", "messages": [
        {"message_id": "m", "role": "u", "content": "", "created_at": 1}]},
    {"type": "session_snapshot", "session_id": "s1", "provider": "p", "messages": [
        {"message_id": "m", "role": "u", "content": ""}]},
    {"type": "unknown", "session_id": "s1"},
    {},
    [],
    4,
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: json.dumps(event)[:60])
def test_it_accepts_the_events_that_the_api_accepts(event: Any) -> None:
    try:
        read_event(json.dumps(event).encode())
    except Refused:
        accepted = False
    else:
        accepted = True
    schema = DOCUMENT["components"]["schemas"]["Event"]
    assert matches(event, schema, DOCUMENT) is accepted


async def test_every_answer_is_as_described(api: Served) -> None:
    bodies = [
        json.dumps({"events": EVENTS}).encode(),
        b"{",
        b"[]",
        b" " * 40_000,
        b'{"events":[' + b"{}," * 1000 + b"{}]}",
    ]
    for body, wanted in zip(bodies, (200, 400, 400, 413, 413), strict=True):
        status, answer = await api.post("/recording/events", body)
        assert status == wanted
        assert matches(answer, result("/events", "post", status), DOCUMENT), answer
    await api.event("session_start", provider="p")
    for event in EVENTS:
        status, answer = await api.post("/recording/snapshot", event)
        assert status in {200, 400}
        assert matches(answer, result("/snapshot", "post", status), DOCUMENT), answer
    for path in DOCUMENT["paths"]:
        if "get" not in DOCUMENT["paths"][path]:
            continue
        for name, wanted in (("s1", 200), ("missing", 404)):
            if "{id}" not in path and wanted == 404:
                continue
            status, answer = await api.get("/recording" + path.replace("{id}", name))
            assert status == wanted
            assert matches(answer, result(path, "get", status), DOCUMENT), (path, answer)


def test_the_checker_of_these_tests_tells_right_from_wrong() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}},
              "required": ["a"]}  # fmt: skip
    assert matches({"a": 1, "b": 2}, schema, {})
    values: list[Any] = [{}, {"a": 0}, {"a": "1"}, {"a": True}, [], None]
    assert not [value for value in values if matches(value, schema, {})]
    with pytest.raises(KeyError, match="surprise"):
        matches(1, {"surprise": 1}, {})
