"""The WebSocket half: events up, acknowledgements and other people's events down."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from interceptors.recording_api.feed import EVERYTHING, PING, Subscriber
from interceptors.recording_api.protocol import (
    STATUS,
    Error,
    Events,
    Ping,
    Refused,
    Subscribe,
    Unsubscribe,
    read_frame,
)
from interceptors.recording_api.rest import IsAdmin, body_limit
from interceptors.recording_api.service import Service, acknowledged, replies_of

PING_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""A client that answers no ping for so long is gone."""
CLOSE_SECONDS = 2.0
"""How long the other side may take to say goodbye."""
MAX_CONNECTIONS = 2000
MAX_UNANSWERED = 64
"""Frames of a connection that are under way; all of them may share one write to the disk."""

_Answers = asyncio.Queue[Any]


class Sockets:
    """Serves ``ws``.  All methods belong to the event loop's thread."""

    def __init__(
        self,
        service: Service,
        *,
        is_admin: IsAdmin,
        ping_seconds: float = PING_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``is_admin`` tells whether a connection may hear of all sessions."""
        self._service = service
        self._is_admin = is_admin
        self._ping_seconds = ping_seconds
        self._silence_seconds = silence_seconds
        self._max_connections = max_connections
        self._clock = clock
        self._connections: dict[web.WebSocketResponse, Subscriber] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    async def close(self) -> None:
        """Tell all clients that the server goes; they are to come again."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(
            *(socket.close(code=WSCloseCode.GOING_AWAY) for socket in list(self._connections)),
            return_exceptions=True,
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a connection until it ends."""
        if self._closing or len(self._connections) >= self._max_connections:
            error = Error(code="unavailable", message="There are too many connections.")
            return web.Response(
                body=msgspec.json.encode(error),
                status=STATUS["unavailable"],
                content_type="application/json",
            )
        socket = web.WebSocketResponse(
            autoping=False,  # so that pongs are seen, which end the silence
            compress=False,
            timeout=CLOSE_SECONDS,
            max_msg_size=body_limit(self._service.options.max_event_bytes),
        )
        await socket.prepare(request)
        assert request.transport is not None
        subscriber = Subscriber(request.transport)
        self._connections[socket] = subscriber
        if self._timer is None:
            self._ping_later()
        try:
            await _send(
                socket, {"type": "connected", "client_id": f"client_{secrets.token_hex(8)}"}
            )
            answers: _Answers = asyncio.Queue(MAX_UNANSWERED)
            answering = asyncio.get_running_loop().create_task(_send_all(socket, answers))
            try:
                await self._listen(request, socket, subscriber, answers)
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
        except ConnectionError:
            pass  # it left before it was greeted
        finally:
            del self._connections[socket]
            self._service.feed.leave(subscriber)
        return socket

    async def _listen(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        subscriber: Subscriber,
        answers: _Answers,
    ) -> None:
        while True:
            try:
                message = await socket.receive(self._silence_seconds)
            except TimeoutError:
                await socket.close(code=WSCloseCode.GOING_AWAY, message=b"silence")
                return
            if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                data = message.data
                raw = data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)
                await answers.put(self._answer(request, raw, subscriber))
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return

    def _answer(self, request: web.Request, raw: bytes, subscriber: Subscriber) -> Any:
        """Return the answer to a frame, or where that takes a while what will have outcomes."""
        try:
            frame = read_frame(raw)
            if isinstance(frame, Events):
                return self._service.begin([bytes(e) for e in frame.events], subscriber)
            if isinstance(frame, Ping):
                now = int(self._clock() * 1000)
                return {"type": "pong", "timestamp": frame.timestamp, "server_time": now}
            return self._subscribed(request, frame, subscriber)
        except Refused as refused:
            return refused.reply()

    def _subscribed(
        self, request: web.Request, frame: Subscribe | Unsubscribe, subscriber: Subscriber
    ) -> dict[str, str]:
        session_id, feed = frame.session_id, self._service.feed
        if isinstance(frame, Unsubscribe):
            feed.unsubscribe(subscriber, session_id)
            return {"type": "unsubscribed", "session_id": session_id}
        if session_id == EVERYTHING and not self._is_admin(request):
            raise Refused("unauthorized", "All sessions are shown to the admin.token only.")
        if not feed.subscribe(subscriber, session_id):
            raise Refused("too_large", "There are too many subscriptions; take some back.")
        return {"type": "subscribed", "session_id": session_id}

    def _ping(self) -> None:
        """Ping everybody, as long as there is anybody."""
        for subscriber in self._connections.values():
            if not subscriber.transport.is_closing() and not subscriber.queue:
                subscriber.transport.write(PING)
        self._timer = None
        if self._connections:
            self._ping_later()

    def _ping_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._ping_seconds, self._ping)


async def _send_all(socket: web.WebSocketResponse, answers: _Answers) -> None:
    """Send answers in the order of what they answer, until the connection ends."""
    with suppress(ConnectionError):
        while True:
            answer = await answers.get()
            if isinstance(answer, asyncio.Future):
                try:
                    # Shielded: events of a client that has left are written all the same.
                    replies = replies_of(await asyncio.shield(answer))
                except Refused as refused:
                    answer = refused.reply()
                else:
                    answer = {
                        "type": "events_processed",
                        "count": acknowledged(replies),
                        "responses": replies,
                    }
            await _send(socket, answer)


async def _send(socket: web.WebSocketResponse, value: Any) -> None:
    await socket.send_frame(msgspec.json.encode(value), WSMsgType.TEXT)
