"""The client of the recording API: whatever the server does, no event is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import gateway_sessions
from gateway_sessions.client import RecordingClient, ServerRefused, TooMuchWaiting
from gateway_sessions.web.admin import AdminGuard
from tests.interceptors.recording_api.served import PATIENCE, served

QUICK = (0.01, 0.02)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(**handlers: Handler) -> AsyncIterator[str]:
    """Serve ``events`` and ``ws`` by functions of a test; yield the server's URL."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_route("*", f"/recording/{name}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def acks(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "ack", "event_id": event["event_id"], "status": "x"} for event in events]


def contents(recovery: dict[str, Any]) -> list[str]:
    return [message["content"] for message in recovery["messages"]]


def test_the_package_exports_it() -> None:
    assert gateway_sessions.RecordingClient is RecordingClient


@pytest.mark.parametrize("live", [True, False])
async def test_a_session_from_its_beginning_to_its_end(tmp_path: Path, live: bool) -> None:
    async with served(tmp_path) as api, RecordingClient(api.url, live=live) as client:
        assert (await client.start_session("s1", "ed", title="T"))["status"] == "session_started"
        client.add_message("s1", "m1", "user", "Hi")
        client.add_message("s1", "m2", "assistant", "Hel")
        client.append("s1", "m2", "lo")
        client.update_session("s1", model="m")
        await client.update_message("s1", "m1", "Hi!")
        assert contents(await client.recovery("s1")) == ["Hi!", "Hello"]
        assert (await client.append("s1", "m9", "x"))["code"] == "message_not_found"
        messages = [{"message_id": "m", "role": "user", "content": "new", "created_at": 1}]
        assert (await client.snapshot("s1", "ed", messages))["status"] == "snapshot_received"
        assert contents(await client.recovery("s1")) == ["new"]
        assert (await client.end_session("s1"))["status"] == "session_ended"
        with pytest.raises(ServerRefused, match="There is no session s9") as refused:
            await client.recovery("s9")
        assert (refused.value.status, refused.value.code) == (404, "session_not_found")
        assert client.waiting == []


async def test_it_hears_of_sessions_it_subscribes_to(tmp_path: Path) -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with served(tmp_path) as api:
        listener = RecordingClient(api.url, on_event=heard.put_nowait, pauses=QUICK)
        await listener.subscribe("s1")  # before there is a connection
        async with listener, RecordingClient(api.url) as sender:
            await listener.start_session("s0", "p")  # so it is connected
            await sender.start_session("s1", "p")
            async with asyncio.timeout(PATIENCE):
                frame = await heard.get()
            assert frame["event"]["session_id"] == "s1"
            await listener.subscribe("s2")
            await listener.start_session("s0", "p")
            await sender.start_session("s2", "p")
            async with asyncio.timeout(PATIENCE):
                assert (await heard.get())["event"]["session_id"] == "s2"


async def test_a_broken_connection_is_made_again_and_what_is_not_acknowledged_is_resent() -> None:
    seen: list[str] = []

    async def ws(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        frame = await socket.receive_json()
        ids = [event["event_id"] for event in frame["events"]]
        seen.extend(ids)
        if len(seen) > 1:
            replies = acks(frame["events"])
            await socket.send_json({"type": "events_processed", "responses": replies})
            await socket.receive()
        else:
            assert request.transport is not None
            request.transport.abort()  # it had the event, but nobody knows
        return socket

    async def events(request: web.Request) -> web.StreamResponse:
        raise AssertionError("a connection that breaks is no reason to give up WebSockets")

    async with answering(ws=ws, events=events) as url, RecordingClient(url, pauses=QUICK) as client:
        async with asyncio.timeout(PATIENCE):
            await client.start_session("s1", "p", event_id="e1")
    assert seen == ["e1", "e1"]


async def test_without_a_websocket_events_go_by_http() -> None:
    bodies: list[list[str]] = []

    async def events(request: web.Request) -> web.StreamResponse:
        batch = (await request.json())["events"]
        bodies.append([event["event_id"] for event in batch])
        return web.json_response({"processed": len(batch), "responses": acks(batch)})

    async with answering(events=events) as url, RecordingClient(url, pauses=QUICK) as client:
        for number in range(3):
            client.start_session("s1", "p", event_id=f"e{number}")
        await client.flush(PATIENCE)
        await client.start_session("s1", "p", event_id="e3")
    assert [event_id for body in bodies for event_id in body] == ["e0", "e1", "e2", "e3"]


@pytest.mark.parametrize("live", [True, False])
async def test_a_busy_server_is_asked_again(live: bool) -> None:
    asked = 0

    def replies(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        nonlocal asked
        asked += 1
        if asked < 3:
            return [
                {"type": "error", "code": "unavailable", "event_id": event["event_id"]}
                for event in batch
            ]
        return acks(batch)

    async def events(request: web.Request) -> web.StreamResponse:
        batch = (await request.json())["events"]
        return web.json_response({"responses": replies(batch)})

    async def ws(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            batch = message.json()["events"]
            if asked == 1:
                await socket.send_json({"type": "error", "code": "unavailable", "message": "No."})
                replies([])
            else:
                answer = {"type": "events_processed", "responses": replies(batch)}
                await socket.send_json(answer)
        return socket

    async with (
        answering(events=events, ws=ws) as url,
        RecordingClient(url, live=live, pauses=QUICK) as client,
    ):
        async with asyncio.timeout(PATIENCE):
            assert (await client.start_session("s1", "p"))["type"] == "ack"
    assert asked == 3


@pytest.mark.parametrize("live", [True, False])
async def test_an_event_that_is_too_large_is_answered_and_holds_up_no_other(
    tmp_path: Path, live: bool
) -> None:
    async with (
        served(tmp_path, max_event_bytes=300) as api,
        RecordingClient(api.url, live=live, pauses=QUICK) as client,
    ):
        futures = [client.start_session("s1", "p")]
        # Alone too large, together more than one request may have, and more than any.
        for number, size in enumerate((1_000, *[150] * 40, 20_000, 10)):
            futures.append(client.add_message("s1", f"m{number}", "user", "x" * size))
        async with asyncio.timeout(PATIENCE):
            replies = await asyncio.gather(*futures)
        codes = [reply.get("code") for reply in replies]
        assert [place for place, code in enumerate(codes) if code] == [1, 42]
        assert {code for code in codes if code} == {"too_large"}
        assert len(contents(await client.recovery("s1"))) == 41


async def test_what_is_kept_is_bounded_and_not_lost() -> None:
    client = RecordingClient("http://127.0.0.1:1", max_waiting=2)
    for number in range(2):
        client.start_session(f"s{number}", "p")
    with pytest.raises(TooMuchWaiting, match="2 events are not acknowledged"):
        client.start_session("s2", "p")
    assert [event["session_id"] for event in client.waiting] == ["s0", "s1"]
    with pytest.raises(TimeoutError, match="2 events"):
        await client.flush(0.01)


async def test_a_server_that_is_not_there_is_logged_once_and_found_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as api:
        port = int(api.url.rpartition(":")[2])
    async with RecordingClient(f"http://127.0.0.1:{port}", pauses=QUICK) as client:
        future = client.start_session("s1", "p")
        async with asyncio.timeout(30):
            while "can not be reached" not in caplog.text:
                await asyncio.wait({future}, timeout=0.01)
        await asyncio.wait({future}, timeout=0.2)  # it is tried again and again
        assert not future.done()
        assert caplog.text.count("can not be reached") == 1
        with pytest.raises(OSError, match=r".+"):
            await client.recovery("s1")

        async def events(request: web.Request) -> web.StreamResponse:
            return web.json_response({"responses": acks((await request.json())["events"])})

        app = web.Application()
        app.router.add_post("/recording/events", events)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with asyncio.timeout(PATIENCE):
            assert (await future)["type"] == "ack"
        await runner.cleanup()


async def test_a_wrong_token_is_told(tmp_path: Path) -> None:
    async with served(tmp_path, guard=AdminGuard("right")) as api:
        async with RecordingClient(api.url, token="right") as client:
            assert (await client.start_session("s1", "p"))["type"] == "ack"
        async with RecordingClient(api.url, token="wrong", live=False) as client:
            with pytest.raises(ServerRefused, match=r"401: .*admin\.token") as refused:
                await client.recovery("s1")
            assert refused.value.status == 401


async def test_another_server_is_told_from_a_recording_api() -> None:
    async def nothing(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    async with (
        answering(**{"session/s1/recovery": nothing}) as url,
        RecordingClient(url, live=False) as client,
    ):
        with pytest.raises(ServerRefused, match="no recording API"):
            await client.recovery("s1")
