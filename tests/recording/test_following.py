"""Following the recording along: what is recorded comes back, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions.config.recording import Redaction
from gateway_sessions.hooks import LEFT_OUT, FeedEvent
from gateway_sessions.recording import following
from gateway_sessions.recording.following import Followers, Outbox, Passing
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.processes import recording, running
from tests.recording.recordings import arrived, ended, finished
from tests.recording.writers import PATIENCE


class Heard:
    """Keeps what it is told, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self._more = asyncio.Event()

    def __call__(self, event: FeedEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.events) < count:
                self._more.clear()
                await self._more.wait()


def passing(number: int) -> Passing:
    text = json.dumps({"n": number}).encode()
    return Passing("sess_a", "req", "x", msgspec.Raw(text))


async def test_what_is_recorded_comes_back_while_somebody_follows(tmp_path: Path) -> None:
    async with running(tmp_path / "lines") as process:
        process.record(ended(1))
        await process.flush()  # before anybody follows
        heard, other = Heard(), Heard()
        leave = process.follow(heard)
        process.follow(other)
        process.record(arrived(2))
        process.record(finished(2))
        await heard.until(4)
        await other.until(4)
        assert [event.type for event in heard.events][:4] == [
            "started", "request_recorded", "response_recorded", "request_completed",
        ]  # fmt: skip
        first = heard.events[0]
        document = json.loads(first.json)
        assert (document["session_id"], document["type"]) == (first.session_id, first.type)
        assert {event.request_id for event in heard.events} == {"req_2"}
        leave()
        leave()
        process.record(ended(3))
        while other.events[-1].request_id != "req_3":
            await other.until(len(other.events) + 1)
        assert "req_3" not in {event.request_id for event in heard.events}


async def test_followers_see_what_writers_see(tmp_path: Path) -> None:
    config = recording(tmp_path / "lines")
    config = msgspec.structs.replace(config, redaction=Redaction(enabled=True))
    process = RecordingProcess(config, Telemetry(), secret=b"s" * 32)
    heard = Heard()
    process.follow(heard)  # before it is open
    await process.open()
    request: Any = arrived(1)
    body = request.request.body.replace(b"hi", b"mail bob@example.com")
    changed = msgspec.structs.replace(request.request, body=body, size=len(body))
    process.record(msgspec.structs.replace(request, request=changed))
    await heard.until(2)
    await process.shutdown()
    assert b"example.com" not in b"".join(event.json for event in heard.events)


async def test_a_new_process_is_followed_too(tmp_path: Path) -> None:
    async with running(tmp_path / "lines") as process:
        heard = Heard()
        process.follow(heard)
        process.record(ended(1))
        await heard.until(1)
        child = process._link._child
        assert child is not None
        child.kill()
        process.record(ended(2))
        async with asyncio.timeout(PATIENCE):
            while not any(event.request_id == "req_2" for event in heard.events):
                await heard.until(len(heard.events) + 1)


def test_the_outbox_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_EVENTS", 2)
    outbox = Outbox()
    for number in range(5):
        outbox.put(ended(number))
    events, left_out = outbox.take()
    assert ([event.request_id for event in events], left_out) == (["req_0", "req_1"], 3)
    assert outbox.take() == ([], 0)
    monkeypatch.setattr(following, "MAX_BYTES", 10)
    outbox.put(ended(1))
    assert outbox.take() == ([], 1)


async def test_a_busy_event_loop_is_told_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "MAX_EVENTS", 3)
    followers, heard = Followers(), Heard()
    followers.heard([passing(0)])  # nobody follows
    assert not followers
    leave = followers.add(heard)
    assert followers

    def hear() -> None:
        followers.heard([passing(number) for number in range(5)])
        followers.heard([passing(5)], left_out=4)

    thread = threading.Thread(target=hear)
    thread.start()
    thread.join()
    await heard.until(3)
    followers.heard([passing(6)])
    await heard.until(5)
    numbers = [json.loads(event.json) for event in heard.events]
    assert numbers[0] == {"type": LEFT_OUT, "count": 2}
    assert numbers[1:4] == [{"n": 0}, {"n": 1}, {"n": 2}]
    await heard.until(6)
    assert json.loads(heard.events[4].json) == {"type": LEFT_OUT, "count": 5}
    assert json.loads(heard.events[5].json) == {"n": 6}
    leave()
    assert not followers


async def test_a_listener_that_fails_is_logged_and_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(event: FeedEvent) -> None:
        raise ValueError("no")

    followers, heard = Followers(), Heard()
    followers.add(fail)
    followers.add(heard)
    with caplog.at_level(logging.ERROR):
        followers.heard([passing(1), passing(2)])
        await heard.until(2)
    assert caplog.text.count("a follower of the recording failed") == 1


def test_a_loop_that_has_ended_is_not_told() -> None:
    followers = Followers()

    async def follow() -> None:
        followers.add(Heard())

    asyncio.run(follow())
    followers.heard([passing(1)])
    assert not followers
