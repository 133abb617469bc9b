"""The WebSocket: every frame of the specification, who hears what, and how connections end."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gateway_sessions import FeedEvent
from interceptors.recording_api import RecordingApi, feed
from interceptors.recording_api.sockets import PING_SECONDS, SILENCE_SECONDS
from tests.interceptors.recording_api.served import (
    PATIENCE,
    Recorder,
    Served,
    asked,
    heard,
    served,
    until,
)

START = {"type": "session_start", "session_id": "s1", "provider": "p"}


@pytest_asyncio.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest_asyncio.fixture
async def api(tmp_path: Path, recorder: Recorder) -> AsyncIterator[Served]:
    async with served(tmp_path, recorder) as it:
        yield it


def detected(session_id: str, request_id: str = "req_1") -> FeedEvent:
    event = {"type": "started", "session_id": session_id, "request_id": request_id}
    return FeedEvent(session_id, request_id, "started", json.dumps(event).encode())


async def test_events_are_answered_one_by_one(api: Served) -> None:
    async with api.socket() as socket:
        answer = await asked(
            socket, type="events", events=[START | {"event_id": "e1"}, {"type": "x"}]
        )
    assert (answer["type"], answer["count"]) == ("events_processed", 1)
    first, second = answer["responses"]
    assert (first["status"], first["event_id"]) == ("session_started", "e1")
    assert second["code"] == "invalid_event"
    assert (await api.recovery())["message_count"] == 0


async def test_frames_are_answered_in_their_order_without_waiting_for_each(api: Served) -> None:
    async with api.socket() as socket:
        await socket.send_json({"type": "events", "events": [START]})
        for number in range(200):
            message = {"type": "message_add", "session_id": "s1", "message_id": f"m{number}",
                       "role": "user", "content": "", "event_id": f"e{number}"}  # fmt: skip
            await socket.send_json({"type": "events", "events": [message]})
            await socket.send_json({"type": "ping", "timestamp": number})
        assert (await heard(socket))["count"] == 1
        for number in range(200):
            (reply,) = (await heard(socket))["responses"]
            assert (reply["event_id"], reply["status"]) == (f"e{number}", "message_added")
            assert (await heard(socket))["timestamp"] == number
    messages = (await api.recovery())["messages"]
    assert [message["message_id"] for message in messages] == [f"m{n}" for n in range(200)]


async def test_ping_is_answered_with_both_times(api: Served) -> None:
    async with api.socket() as socket:
        answer = await asked(socket, type="ping", timestamp=42)
    assert (answer["type"], answer["timestamp"]) == ("pong", 42)
    assert answer["server_time"] > 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "code"),
    [("{", "parse_error"), ('{"type":"x"}', "invalid_event"), ('{"type":"ping"}', "invalid_event"),
     ('{"type":"subscribe","session_id":""}', "invalid_event")],
)  # fmt: skip
async def test_a_bad_frame_is_an_error_and_the_connection_goes_on(
    api: Served, text: str, code: str
) -> None:
    async with api.socket() as socket:
        await socket.send_str(text)
        answer = await heard(socket)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert (await asked(socket, type="ping", timestamp=1))["type"] == "pong"


async def test_too_many_events_at_once_are_refused(api: Served) -> None:
    async with api.socket() as socket:
        answer = await asked(socket, type="events", events=[{}] * 1001)
    assert answer["code"] == "too_large"


async def test_a_frame_that_is_too_large_ends_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path, max_event_bytes=100) as api, api.socket() as socket:
        await socket.send_str("x" * 10_000)
        assert (await socket.receive(PATIENCE)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_subscribers_hear_of_their_sessions_only(api: Served) -> None:
    async with api.socket() as one, api.socket() as other, api.socket() as none:
        answer = await asked(one, type="subscribe", session_id="s1")
        assert answer == {"type": "subscribed", "session_id": "s1"}
        await asked(other, type="subscribe", session_id="s2")
        await api.events(START | {"session_id": "s2"}, START | {"title": "T", "unknown": 1})
        assert await heard(one) == {"type": "event_broadcast", "event": START | {"title": "T"}}
        assert (await heard(other))["event"]["session_id"] == "s2"
        answer = await asked(one, type="unsubscribe", session_id="s1")
        assert answer == {"type": "unsubscribed", "session_id": "s1"}
        # Nothing to hear after the last one, as before the first one.
        await api.event("session_update", title="U")
        for socket in (one, none):
            assert (await asked(socket, type="ping", timestamp=1))["type"] == "pong"


async def test_senders_do_not_hear_themselves(api: Served) -> None:
    async with api.socket() as sender, api.socket() as listener:
        for socket in (sender, listener):
            await asked(socket, type="subscribe", session_id="s1")
        answer = await asked(sender, type="events", events=[START])
        assert answer["type"] == "events_processed"
        assert (await heard(listener))["event"] == START
        assert (await asked(sender, type="ping", timestamp=1))["type"] == "pong"


async def test_what_changed_nothing_is_not_broadcast(api: Served) -> None:
    async with api.socket() as socket:
        await asked(socket, type="subscribe", session_id="s1")
        await api.events(
            START | {"event_id": "e"},
            START | {"event_id": "e"},
            {"type": "message_append", "session_id": "s1", "message_id": "m", "content_delta": ""},
            {"type": "heartbeat", "session_id": "s1", "timestamp": 1},
            {"type": "session_end", "session_id": "s1"},
        )
        kinds = [(await heard(socket))["event"]["type"] for _ in range(2)]
    assert kinds == ["session_start", "session_end"]


async def test_detected_sessions_are_on_the_same_feed(api: Served, recorder: Recorder) -> None:
    assert recorder.listeners == []
    async with api.socket() as everything, api.socket() as one:
        await asked(everything, type="subscribe", session_id="*")
        await asked(one, type="subscribe", session_id="sess_a")
        assert len(recorder.listeners) == 1
        for event in (detected("sess_a"), detected("sess_b"), detected("s1", "recording_api:m1")):
            recorder.tell(event)
        await api.events(START)
        ids = [(await heard(everything))["event"]["session_id"] for _ in range(3)]
        assert ids == ["sess_a", "sess_b", "s1"]
        assert (await heard(one))["event"] == {
            "type": "started", "session_id": "sess_a", "request_id": "req_1",
        }  # fmt: skip
        # Told that events were left out on the way, all are told: they may have been anybody's.
        recorder.tell(FeedEvent("", "", "left_out", b'{"type":"left_out","count":7}'))
        for socket in (everything, one):
            assert await heard(socket) == {"type": "lagged", "missed": 7}
    await until(lambda: not recorder.listeners)


async def test_subscribing_twice_is_once_and_there_is_a_limit(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_SUBSCRIPTIONS", 2)
    async with api.socket() as socket:
        for session_id in ("s1", "s1", "*"):
            answer = await asked(socket, type="subscribe", session_id=session_id)
            assert answer["type"] == "subscribed"
        assert (await asked(socket, type="subscribe", session_id="s3"))["code"] == "too_large"
        await api.events(START)
        assert (await heard(socket))["event"] == START
        assert (await asked(socket, type="ping", timestamp=1))["type"] == "pong"


def patient(api: RecordingApi, **values: float) -> None:
    """Change the times and limits of the WebSockets."""
    for name, value in values.items():
        setattr(api._sockets, f"_{name}", value)


async def test_silent_clients_are_pinged_and_closed(tmp_path: Path) -> None:
    def quick(api: RecordingApi) -> None:
        patient(api, ping_seconds=0.02, silence_seconds=0.3)

    async with (
        served(tmp_path, before=quick) as api,
        api.socket(autoping=False) as silent,
        api.socket() as answering,
    ):
        reading = asyncio.get_running_loop().create_task(answering.receive())
        kinds = []
        while (message := await silent.receive(PATIENCE)).type is aiohttp.WSMsgType.PING:
            kinds.append(message.type)
        assert len(kinds) > 2
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert not reading.done()  # its pongs are signs of life
        await answering.send_json({"type": "ping", "timestamp": 1})
        assert json.loads((await reading).data)["type"] == "pong"
    assert (PING_SECONDS, SILENCE_SECONDS) == (5.0, 30.0)


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with served(tmp_path, before=lambda api: patient(api, max_connections=1)) as api:
        async with api.socket():
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await api.http.ws_connect(f"{api.url}/recording/ws")
            assert refused.value.status == 503
        await until(lambda: api.api._sockets and not api.api._sockets._connections)
        async with api.socket():
            pass


async def test_a_stopping_gateway_says_goodbye(api: Served) -> None:
    async with api.socket() as socket:
        api.stopping.set()
        assert (await socket.receive(PATIENCE)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await api.http.ws_connect(f"{api.url}/recording/ws")


async def slow_client(api: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect without a library that reads ahead; return the connection, subscribed to s1."""
    port = int(api.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(
        b"GET /recording/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    text = b'{"type":"subscribe","session_id":"s1"}'
    writer.write(struct.pack("!BB", 0x81, 0x80 | len(text)) + bytes(4) + text)
    for kind in ("connected", "subscribed"):
        assert (await read_frame(reader))["type"] == kind
    return reader, writer


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Return the next text frame."""
    while True:
        first, size = await reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await reader.readexactly(8))
        content = await reader.readexactly(size)
        if first == 0x81:
            return json.loads(content)


async def test_a_slow_subscriber_is_told_and_slows_nobody(api: Served, recorder: Recorder) -> None:
    reader, writer = await slow_client(api)
    count, padding = 4000, "x" * 5000  # more than sockets and queue hold
    async with api.socket(max_msg_size=0) as quick:
        await asked(quick, type="subscribe", session_id="s1")
        for first in range(0, count, 500):
            for number in range(first, first + 500):
                event = {"n": number, "padding": padding}
                recorder.tell(FeedEvent("s1", "req", "x", json.dumps(event).encode()))
            for number in range(first, first + 500):
                assert (await heard(quick))["event"]["n"] == number
    got: list[int] = []
    missed = 0
    async with asyncio.timeout(PATIENCE):
        while len(got) + missed < count:
            frame = await read_frame(reader)
            if frame["type"] == "lagged":
                missed += frame["missed"]
            else:
                got.append(frame["event"]["n"])
    writer.close()
    assert missed > 0
    assert len(got) + missed == count
    assert got == sorted(got)
    assert len(got) >= feed.QUEUE


async def test_an_abrupt_leave_is_no_error(api: Served, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await slow_client(api)
    writer.transport.abort()
    await until(lambda: api.api._service and not api.api._service.feed._by_session)
    await api.events(START)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
