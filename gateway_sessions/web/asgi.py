"""The middleware for ASGI apps: FastAPI and Starlette gateways, LiteLLM's proxy.

The same core as for aiohttp; what differs is how bodies and responses come by, as messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gateway_sessions.dialects import is_readable
from gateway_sessions.exchange import Headers
from gateway_sessions.gateway import Gateway, RequestHead
from gateway_sessions.transit import Transit
from gateway_sessions.web.bodies import INSPECTION_LIMIT, inspectable
from gateway_sessions.web.headers import text, texts, wire
from gateway_sessions.web.middleware import Edge, Tags

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "gateway_sessions"
"""``scope[SCOPE_KEY]`` is the request's `SessionTag`, or None where it has no session."""


class SessionASGIMiddleware:
    """Gives the LLM requests of an ASGI app their sessions.

    Requests to other endpoints and WebSockets pass untouched.  The gateway is opened when the
    server starts the app's lifespan, or with the first request where it has none, and closed
    when the lifespan ends.
    """

    def __init__(
        self,
        app: App,
        gateway: Gateway,
        *,
        response_headers: Tags = "all",
        trusted_proxies: Iterable[str] = (),
        opened: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Wrap ``app``; the options are those of `middleware.setup`."""
        self._app = app
        self._gateway = gateway
        self._edge = Edge(
            gateway, response_headers=response_headers, trusted_proxies=trusted_proxies
        )
        self._opened = opened or gateway.open
        self._is_open = False
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI asks."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        headers = texts(scope["headers"])
        path = _path(scope)
        if scope["type"] != "http" or not is_readable(scope["method"], path, headers):
            scope[SCOPE_KEY] = None
            await self._app(scope, receive, send)
            return
        await self._open()
        await self._watch(scope, receive, send, headers, path)

    async def _watch(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, path: str
    ) -> None:
        body, early = await _read(receive)
        transit = await self._gateway.begin(
            RequestHead(scope["method"], path, headers, self._client(scope, headers)),
            await inspectable(body, ", ".join(_values(headers, "content-encoding"))),
        )
        scope[SCOPE_KEY] = transit.exchange.session
        response = _Response(transit, self._edge, send)
        error = "upstream_aborted"
        try:
            if transit.refusal is not None:
                await _refuse(transit, response.send)
                return

            async def replay() -> Message:
                return early.popleft() if early else await receive()

            await self._app(scope, replay, response.send)
            # An app that returns without an end has noticed that nobody listens any more.
            error = "client_closed"
        except (asyncio.CancelledError, OSError):
            error = "client_closed"
            raise
        finally:
            transit.finish(error)
            if error != "client_closed":
                # The server will break the response off; the client may try again at once.
                await transit.committed()

    def _client(self, scope: Scope, headers: Headers) -> str:
        peer = scope.get("client")
        return self._edge.client(peer[0] if peer else None, _values(headers, "x-forwarded-for"))

    async def _open(self) -> None:
        if self._is_open:
            return
        async with self._opening:
            if not self._is_open:
                await self._opened()
                self._is_open = True

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        first: deque[Message] = deque([await receive()])
        try:
            await self._open()
        except Exception as error:  # noqa: BLE001 - the server is told, whatever it is
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        started = False

        async def replay() -> Message:
            return first.popleft() if first else await receive()

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"].startswith("lifespan.shutdown"):
                await self._gateway.close()
            await send(message)

        try:
            await self._app(scope, replay, watched)
        except Exception:
            # Apps may refuse lifespans; then this one is ours alone.
            if started:
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await watched({"type": "lifespan.shutdown.complete"})


class _Response:
    """The messages of a response on their way to the server."""

    def __init__(self, transit: Transit, edge: Edge, send: Send) -> None:
        self._transit = transit
        self._edge = edge
        self._send = send

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            raw = list(message.get("headers", ()))
            self._transit.response_started(message["status"], texts(raw))
            tags = wire(self._edge.select(self._transit.client_headers()))
            raw += [(name.lower(), value) for name, value in tags]
            message = {**message, "headers": raw}
        elif kind == "http.response.body":
            body = message.get("body", b"")
            if body and (waits := self._transit.show(bytes(body))) is not None:
                await waits
            if not message.get("more_body", False):
                refused = self._transit.refusal is not None
                waits = self._transit.end("refused" if refused else None)
                if waits is not None:
                    await waits
        await self._send(message)


async def _read(receive: Receive) -> tuple[bytes | None, deque[Message]]:
    """Return a request's body, None if it is too long to look at, and its messages."""
    messages: deque[Message] = deque()
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            return None, messages
        size += len(message.get("body", b""))
        if size > INSPECTION_LIMIT:
            return None, messages
        if not message.get("more_body", False):
            return b"".join([message.get("body", b"") for message in messages]), messages


async def _refuse(transit: Transit, send: Send) -> None:
    refusal = transit.refusal
    assert refusal is not None
    body = transit.error_body(refusal.status, refusal.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += wire(refusal.headers)
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    """Return the path with its query, as near to the wire as the server tells it."""
    raw = scope.get("raw_path") or scope.get("path", "").encode()
    query = scope.get("query_string", b"")
    return text(raw + b"?" + query if query else raw)


def _values(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]
