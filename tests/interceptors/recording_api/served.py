"""The recording API on a socket of its own, and clients that speak to it byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway_sessions import Context, FeedEvent, Telemetry, session_events
from gateway_sessions.web.admin import AdminGuard, admin_routes
from interceptors.recording_api import RecordingApi

PATIENCE = 20.0
"""Seconds after which something that was waited for is missing."""


class Recorder:
    """Stands for the recorder: keeps what it is told, and tells followers what a test says."""

    def __init__(self) -> None:
        self.events: list[session_events.SessionEvent] = []
        self.flushes = 0
        self.full = False
        self.listeners: list[Callable[[FeedEvent], None]] = []
        self.got = asyncio.Event()

    def record(self, item: session_events.SessionEvent, /) -> bool:
        if self.full:
            return False
        self.events.append(item)
        return True

    async def flush(self) -> None:
        self.flushes += 1
        self.got.set()

    def follow(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, event: FeedEvent) -> None:
        for listener in list(self.listeners):
            listener(event)

    async def has(self, kind: type[session_events.SessionEvent], count: int = 1) -> None:
        """Return when so many events of a type were flushed."""
        async with asyncio.timeout(PATIENCE):
            while sum(isinstance(event, kind) for event in self.events) < count:
                self.got.clear()
                await self.got.wait()


class Served:
    """A running API and somebody who calls it."""

    def __init__(self, url: str, http: aiohttp.ClientSession, api: RecordingApi) -> None:
        self.url = url
        self.http = http
        self.api = api
        self.stopping: asyncio.Event

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.http.get(self.url + path, **options) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(self.url + path, **content, **options) as response:
            return response.status, await response.json()

    async def events(self, *events: Any) -> list[Any]:
        """Send events in one request; return the answers."""
        status, answer = await self.post("/recording/events", {"events": list(events)})
        assert status == 200, answer
        replies: list[Any] = answer["responses"]
        assert answer["processed"] == sum(reply["type"] == "ack" for reply in replies)
        return replies

    async def event(self, kind: str, session_id: str = "s1", **fields: Any) -> Any:
        """Send one event; return its answer."""
        (reply,) = await self.events({"type": kind, "session_id": session_id, **fields})
        return reply

    async def recovery(self, session_id: str = "s1") -> Any:
        status, answer = await self.get(f"/recording/session/{session_id}/recovery")
        assert status == 200, answer
        return answer

    @asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Yield a WebSocket that has been greeted."""
        async with self.http.ws_connect(f"{self.url}/recording/ws", **options) as socket:
            hello = await heard(socket)
            assert hello["type"] == "connected"
            assert hello["client_id"]
            yield socket


async def until(condition: Callable[[], object]) -> None:
    """Return when something has come true that nobody announces."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0)


async def heard(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """Return the next frame."""
    return await socket.receive_json(timeout=PATIENCE)


async def asked(socket: aiohttp.ClientWebSocketResponse, **frame: Any) -> Any:
    """Send a frame and return the next that comes."""
    await socket.send_json(frame)
    return await heard(socket)


@asynccontextmanager
async def served(
    folder: Path,
    recorder: Recorder | None = None,
    *,
    guard: AdminGuard | None = None,
    config: dict[str, Any] | None = None,
    prefix: str = "",
    token: str | None = None,
    before: Callable[[RecordingApi], None] | None = None,
    **options: Any,
) -> AsyncIterator[Served]:
    """Serve the API; ``before`` may change it between its opening and its first request."""
    api = RecordingApi(**options)
    context = Context(Telemetry(), dict, config or {}, folder, recording=recorder)
    await api.open(context)
    if before is not None:
        before(api)
    app = web.Application()
    app.add_routes(
        admin_routes(
            version="test",
            started_at=0.0,
            effective_config={},
            problems=list,
            extra=api.routes(),
            guard=guard or AdminGuard(None),
            prefix=prefix,
        )
    )
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as http:
            it = Served(url, http, api)
            it.stopping = context.stopping
            yield it
    finally:
        context.stopping.set()
        await asyncio.sleep(0)
        await api.close()
        await runner.cleanup()
