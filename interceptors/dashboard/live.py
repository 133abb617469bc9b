"""What happens now, to all browsers that look: one bounded queue for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from gateway_sessions import FeedEvent, RecordingHandle

QUEUE = 1024
"""Events that wait for one browser; one that is slower is told how many it missed."""
WATCHERS = 100
"""Browsers at the same time."""
HEARTBEAT_SECONDS = 20.0
"""How often a browser has to show that it is there."""
CLOSE_SECONDS = 1.0
"""How long a browser has to say goodbye; the gateway may be waiting for it to stop."""
EXCERPT = 200
"""Characters of a text that are sent along."""

_TEXTS = ("request_text", "response_text", "content", "tool_name", "error_message", "error")
_FIELDS = (
    "type",
    "session_id",
    "request_id",
    "timestamp",
    "model_requested",
    "model_used",
    "relation",
    "source",
    "status",
    "success",
    "total_duration_ms",
    "cost_usd",
    "reason",
    "role",
)


class Live:
    """Passes recorded events on to browsers.  Everything belongs to the event loop's thread.

    The recorder is only followed while somebody looks.
    """

    def __init__(
        self, recording: RecordingHandle | None, stopping: asyncio.Event | None = None
    ) -> None:
        self._recording = recording
        self._stopping = stopping or asyncio.Event()
        self._watchers: set[_Watcher] = set()
        self._unfollow: Callable[[], None] | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a browser's WebSocket until it leaves or the gateway stops."""
        if len(self._watchers) >= WATCHERS:
            return web.Response(status=503, text="Too many pages are open.")
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_SECONDS, timeout=CLOSE_SECONDS, max_msg_size=1024
        )
        await socket.prepare(request)
        watcher = _Watcher()
        self._add(watcher)
        ways = (self._send(socket, watcher), self._listen(socket), self._stopping.wait())
        tasks = [asyncio.get_running_loop().create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._remove(watcher)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(ConnectionError):
                await socket.close()
        return socket

    def _add(self, watcher: _Watcher) -> None:
        self._watchers.add(watcher)
        if self._unfollow is None and self._recording is not None:
            self._unfollow = self._recording.follow(self._heard)

    def _remove(self, watcher: _Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    def _heard(self, event: FeedEvent) -> None:
        frame = brief(event)
        for watcher in self._watchers:
            watcher.put(frame)

    async def _send(self, socket: web.WebSocketResponse, watcher: _Watcher) -> None:
        following = self._recording is not None
        await socket.send_json({"type": "connected", "following": following})
        while True:
            for frame in await watcher.take():
                await socket.send_str(frame)

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        """Read until the browser leaves; it has nothing to say."""
        async for message in socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                return


class _Watcher:
    """One browser's queue."""

    def __init__(self) -> None:
        self._frames: deque[str] = deque()
        self._missed = 0
        self._more = asyncio.Event()

    def put(self, frame: str) -> None:
        """Queue a frame; where too many wait, it is only counted."""
        if len(self._frames) >= QUEUE:
            self._missed += 1
        else:
            self._frames.append(frame)
        self._more.set()

    async def take(self) -> list[str]:
        """Wait for frames and return them, and at last how many are missing."""
        await self._more.wait()
        self._more.clear()
        frames = list(self._frames)
        self._frames.clear()
        if self._missed:
            frames.append(_text({"type": "lagged", "missed": self._missed}))
            self._missed = 0
        return frames


def brief(event: FeedEvent) -> str:
    """Return what a page shows of an event, as JSON."""
    try:
        found: dict[str, Any] = msgspec.json.decode(event.json, type=dict[str, Any])
    except msgspec.DecodeError:
        found = {}
    made = {name: found[name] for name in _FIELDS if found.get(name) is not None}
    made |= {"type": event.type, "session_id": event.session_id, "request_id": event.request_id}
    text = next((found[name] for name in _TEXTS if isinstance(found.get(name), str)), "")
    if text:
        made["text"] = text[:EXCERPT]
    tokens = found.get("tokens")
    if isinstance(tokens, dict):
        made["tokens"] = tokens.get("total_tokens")
    stats = found.get("stats")
    if isinstance(stats, dict):
        made["latency_ms"] = stats.get("provider_latency_ms")
        made["cost_usd"] = stats.get("cost_usd")
    return _text(made)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
