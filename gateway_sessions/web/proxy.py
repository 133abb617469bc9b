"""The reverse proxy: the handler that forwards a request and relays its response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gateway_sessions.gateway import Gateway
from gateway_sessions.web.admission import objection
from gateway_sessions.web.bodies import INSPECTION_LIMIT, BodyStalled, paced
from gateway_sessions.web.client import UpstreamFailed
from gateway_sessions.web.fallback import add_fallback
from gateway_sessions.web.headers import (
    SERVER_NAME,
    connection_names,
    lines,
    request_fields,
    texts,
)
from gateway_sessions.web.middleware import Edge, Tags, own_response
from gateway_sessions.web.relay import Sent, relay, switch
from gateway_sessions.web.streams import Tee
from gateway_sessions.web.upstreams import Route, UpstreamTable, inject_cache_key
from gateway_sessions.web.websocket import SWITCH, wants_websocket


class Proxy:
    """Forwards everything that it is given to the upstream that the table names."""

    def __init__(self, edge: Edge, upstreams: UpstreamTable) -> None:
        self._edge = edge
        self._upstreams = upstreams

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request: admission, session, upstream."""
        refusal = objection(request)
        if refusal is not None:
            return _closing(*refusal)
        try:
            headers = texts(request.raw_headers)
            return await self._edge.watch(request, headers, INSPECTION_LIMIT, self._forward)
        except BodyStalled:
            return _closing(408, "The request's body did not arrive.")
        except RequestPayloadError:
            return _closing(400, "The request's body is malformed.")
        except ConnectionError:
            # The client is gone; there is nobody to tell and nothing to log.
            return Sent(499, "", keep_alive=False)

    async def _forward(
        self, request: web.Request, tee: Tee, body: bytes | None
    ) -> web.StreamResponse:
        route = self._upstreams.route(request.raw_path, request.headers)
        if route is None:
            return own_response(tee, 404, "No upstream is configured for this path.")
        upgrade = wants_websocket(request)
        head, content = _outgoing(request, route, tee, body, upgrade)
        chunked = "Transfer-Encoding" in request.headers
        try:
            upstream = await route.origin.send(
                request.method, head, content, chunked=chunked, upgrade=upgrade
            )
        except UpstreamFailed as failure:
            tee.error = failure.error
            return own_response(tee, failure.status, str(failure))
        del head, content, body  # What comes back may take minutes.
        try:
            forward = switch if upstream.message.code == 101 else relay
            return await forward(request, upstream, tee)
        finally:
            upstream.close()


def proxy_application(
    gateway: Gateway,
    upstreams: UpstreamTable,
    *,
    response_headers: Tags = "all",
    trusted_proxies: Iterable[str] = (),
    admin: Iterable[web.RouteDef] = (),
) -> web.Application:
    """Return an app that serves ``admin`` routes and forwards everything else.

    It opens and closes ``upstreams``; the gateway belongs to the caller.  Run it with
    `server.make_runner`, whose settings it depends on.
    """

    async def pool(app: web.Application) -> AsyncIterator[None]:
        try:
            await upstreams.open()
            yield
        finally:
            await upstreams.close()

    edge = Edge(gateway, response_headers=response_headers, trusted_proxies=trusted_proxies)
    app = web.Application()
    app.cleanup_ctx.append(pool)
    app.add_routes(admin)
    add_fallback(app, Proxy(edge, upstreams).handle)
    return app


def _outgoing(
    request: web.Request, route: Route, tee: Tee, content: bytes | None, upgrade: bool
) -> tuple[bytes, bytes | AsyncIterator[bytes]]:
    """Return the head to send to an upstream, and the body."""
    headers, exchange = request.headers, tee.transit.exchange
    length = None
    tag = exchange.session if exchange.provider == "openai" else None
    if route.wants_cache_key and tag and content and "Content-Encoding" not in headers:
        content = inject_cache_key(content, tag.session_id)
        length = b"%d" % len(content)
    kept = route.kept
    if upgrade:
        kept |= SWITCH
    if "Transfer-Encoding" in headers:
        kept |= {b"transfer-encoding"}
    target = request.raw_path.encode("utf-8", "surrogateescape")
    named = connection_names(headers.getall("Connection", ()))
    head = [b"%b %b%b HTTP/1.1" % (request.method.encode(), route.origin.base, target)]
    head += request_fields(
        request.raw_headers, route.origin.host, named=named, kept=kept, length=length
    )
    if route.origin.authorization is not None and "Authorization" not in headers:
        head.append(b"Authorization: " + route.origin.authorization)
    added = route.session_headers(exchange, headers) + tee.transit.upstream_headers()
    head.append(lines(added) + b"\r\n")
    return b"\r\n".join(head), paced(request.content) if content is None else content


def _closing(status: int, message: str) -> web.Response:
    """Return an error after which the connection is of no use any more."""
    response = web.Response(
        status=status,
        body=msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error"}}),
        headers={"Content-Type": "application/json", "Server": SERVER_NAME},
    )
    response.force_close()
    return response
