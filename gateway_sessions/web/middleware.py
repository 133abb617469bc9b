"""The one path of every request: read, put into its session, handled, watched to its end.

In front of upstreams the handler inside is the reverse proxy; in a host app it is the app's
own.  Either finds the verdict in ``request[SESSION]``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway_sessions.dialects import is_readable
from gateway_sessions.exchange import Headers, SessionTag
from gateway_sessions.gateway import Gateway, RequestHead
from gateway_sessions.web import seams
from gateway_sessions.web.bodies import INSPECTION_LIMIT, BodyStalled, inspectable, read_whole
from gateway_sessions.web.headers import SERVER_NAME, TrustedProxies, select_tags, texts
from gateway_sessions.web.streams import Tee

Tags = Literal["all", "id", "none"]
"""Which of our headers clients get: ``server.response_headers``."""

SESSION: web.RequestKey[SessionTag | None] = web.RequestKey("gateway_sessions", SessionTag)
"""``request[SESSION]``: the session of a request; None where it is not to an LLM endpoint, or
could not be read."""

Watched = Callable[[web.Request, Tee, bytes | None], Awaitable[web.StreamResponse]]
"""Handles a request, given the writer of its response and the body as it came; None where that
is longer than is inspected."""


class Edge:
    """Connects HTTP with a `Gateway`; the parts that every way of running it shares."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        response_headers: Tags = "all",
        trusted_proxies: Iterable[str] = (),
    ) -> None:
        """Take a gateway, which whoever made it opens and closes.

        ``trusted_proxies`` are addresses and networks whose ``X-Forwarded-For`` is believed.
        """
        self.gateway = gateway
        self.select: Callable[[Headers], Headers] = partial(select_tags, mode=response_headers)
        self._proxies = TrustedProxies(trusted_proxies)

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Return a client's address, as `TrustedProxies.client` does."""
        return self._proxies.client(peer, forwarded)

    async def watch(
        self, request: web.Request, headers: Headers, limit: int, handler: Watched
    ) -> web.StreamResponse:
        """Handle a request to an endpoint that we are interested in.

        ``headers`` are those of the request as text; bodies above ``limit`` bytes are not read.
        Raises what ``handler`` raises, and what `read_whole` does.
        """
        body = await read_whole(request, limit)
        address = request.remote or ""
        if "X-Forwarded-For" in request.headers:
            address = self.client(address, request.headers.getall("X-Forwarded-For"))
        head = RequestHead(request.method, _readable(request.raw_path), headers, address)
        readable = body
        if "Content-Encoding" in request.headers:
            coding = ", ".join(request.headers.getall("Content-Encoding"))
            readable = await inspectable(body, coding)
        transit = await self.gateway.begin(head, readable)
        tee = Tee(request, transit, self.select)
        seams.replace_writer(request, tee)
        request[SESSION] = transit.exchange.session
        try:
            if transit.refusal:
                return refused(tee)
            handled = handler(request, tee, body)
            del body, readable  # The handler knows how long it wants them.
            return await handled
        except asyncio.CancelledError:
            transit.finish("client_closed")
            raise
        except BaseException:
            # Before its head, a failed response becomes another, which the tee sees to its end.
            if tee.gone:
                transit.finish("client_closed")
            elif tee.started:
                await tee.finish("upstream_aborted")
            raise


def session_middleware(
    gateway: Gateway, *, response_headers: Tags = "all", trusted_proxies: Iterable[str] = ()
) -> Middleware:
    """Return an aiohttp middleware that gives LLM requests of a host app their sessions.

    Requests to other endpoints and WebSockets pass untouched.  The gateway has to be open;
    `setup` sees to that as well.
    """
    edge = Edge(gateway, response_headers=response_headers, trusted_proxies=trusted_proxies)

    @web.middleware
    async def sessions(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = texts(request.raw_headers)
        if not is_readable(request.method, request.raw_path, headers):
            request[SESSION] = None
            return await handler(request)

        async def handle(request: web.Request, tee: Tee, body: bytes | None) -> web.StreamResponse:
            if body is not None:
                seams.remember_body(request, body)
            return await handler(request)

        # Above the app's own limit the handler must find the body unread, to refuse it.
        limit = min(request.client_max_size or INSPECTION_LIMIT, INSPECTION_LIMIT)
        try:
            return await edge.watch(request, headers, limit, handle)
        except BodyStalled:
            raise web.HTTPRequestTimeout from None

    return sessions


def setup(
    app: web.Application,
    gateway: Gateway,
    *,
    response_headers: Tags = "all",
    trusted_proxies: Iterable[str] = (),
    opened: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Add `session_middleware` to an app, and open and close the gateway with it.

    ``opened`` is called in place of ``gateway.open()`` when the app starts.
    """

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        try:
            await (opened or gateway.open)()
            yield
        finally:
            await gateway.close()

    app.cleanup_ctx.append(lifetime)
    app.middlewares.append(
        session_middleware(
            gateway, response_headers=response_headers, trusted_proxies=trusted_proxies
        )
    )


def refused(tee: Tee) -> web.Response:
    """Return the response with which an interceptor wants a request answered."""
    refusal = tee.transit.refusal
    assert refusal is not None
    tee.error = "refused"
    return own_response(tee, refusal.status, refusal.message, refusal.headers)


def own_response(tee: Tee, status: int, message: str, headers: Headers = ()) -> web.Response:
    """Return an error of ours in the shape in which the client's provider reports errors."""
    response = web.Response(
        status=status,
        body=tee.transit.error_body(status, message),
        headers={"Content-Type": "application/json", "Server": SERVER_NAME},
    )
    for name, value in headers:
        response.headers.add(name, value)
    return response


def _readable(path: str) -> str:
    """Return a path that can be written anywhere: aiohttp keeps foreign bytes as surrogates."""
    if path.isascii():
        return path
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
