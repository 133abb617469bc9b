"""The live feed: events to browsers, none held up by another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway_sessions import FeedEvent
from gateway_sessions.events import SessionEvent
from interceptors.dashboard import live
from interceptors.dashboard.live import _Watcher, brief
from tests.interceptors.dashboard.served import database, serving


class Recording:
    """A recorder that is only followed."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[FeedEvent], None]] = []
        self.changed = asyncio.Event()

    def record(self, item: SessionEvent, /) -> bool:
        raise AssertionError(item)

    async def flush(self) -> None:
        raise AssertionError

    def follow(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        self.listeners.append(listener)

        def end() -> None:
            self.listeners.remove(listener)
            self.changed.set()

        return end

    def say(self, kind: str = "request_recorded", **fields: object) -> None:
        for listener in self.listeners:
            listener(event(kind, **fields))


def event(kind: str, **fields: object) -> FeedEvent:
    text = msgspec.json.encode({"type": kind, "session_id": "sess_1", **fields})
    return FeedEvent(session_id="sess_1", request_id="req_1", type=kind, json=text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return database(tmp_path / "s.db", [])


async def test_events_reach_every_browser_and_the_recorder_is_left_alone_after(
    path: Path,
) -> None:
    recording = Recording()
    async with serving(path, recording=recording) as client:
        assert recording.listeners == []
        async with (
            client.ws_connect("/sessions/live") as one,
            client.ws_connect("/sessions/live") as two,
        ):
            for socket in (one, two):
                assert await socket.receive_json() == {"type": "connected", "following": True}
            assert len(recording.listeners) == 1
            recording.say(request_text="hi", model_requested="m")
            for socket in (one, two):
                found = await socket.receive_json(timeout=30)
                assert (found["type"], found["text"]) == ("request_recorded", "hi")
                assert found["session_id"] == "sess_1"
        await asyncio.wait_for(recording.changed.wait(), 30)
        assert recording.listeners == []


async def test_without_recording_nothing_is_followed(path: Path) -> None:
    async with serving(path) as client, client.ws_connect("/sessions/live") as socket:
        assert await socket.receive_json() == {"type": "connected", "following": False}


async def test_the_gateway_ends_connections_when_it_stops(path: Path) -> None:
    stopping = asyncio.Event()
    async with (
        serving(path, stopping=stopping) as client,
        client.ws_connect("/sessions/live") as socket,
    ):
        await socket.receive_json()
        stopping.set()
        message = await socket.receive(timeout=30)
        assert message.type.name in ("CLOSE", "CLOSED", "CLOSING")


async def test_whoever_talks_is_put_out(path: Path) -> None:
    async with serving(path) as client, client.ws_connect("/sessions/live") as socket:
        await socket.receive_json()
        await socket.send_str("hello")
        assert (await socket.receive(timeout=30)).type.name in ("CLOSE", "CLOSED", "CLOSING")


async def test_too_many_browsers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WATCHERS", 1)
    async with serving(path) as client, client.ws_connect("/sessions/live") as socket:
        await socket.receive_json()
        assert (await client.get("/sessions/live")).status == 503


async def test_a_slow_browser_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "QUEUE", 2)
    watcher = _Watcher()
    for number in range(5):
        watcher.put(str(number))
    assert await watcher.take() == ["0", "1", '{"type":"lagged","missed":3}']
    watcher.put("5")
    assert await watcher.take() == ["5"]


def test_only_what_is_shown_is_sent() -> None:
    answered = event(
        "response_recorded",
        status=200,
        response_text="x" * 999,
        response_json={"secret": 1},
        tokens={"total_tokens": 7},
        stats={"provider_latency_ms": 3.5, "cost_usd": 0.1},
    )
    assert json.loads(brief(answered)) == {
        "type": "response_recorded",
        "session_id": "sess_1",
        "request_id": "req_1",
        "status": 200,
        "text": "x" * 200,
        "tokens": 7,
        "latency_ms": 3.5,
        "cost_usd": 0.1,
    }


def test_an_event_that_can_not_be_read_is_still_told() -> None:
    odd = FeedEvent(session_id="s", request_id="", type="odd", json=b"{")
    assert json.loads(brief(odd)) == {"type": "odd", "session_id": "s", "request_id": ""}
