"""Passing requests for the gateway's own endpoints on to the process that serves them.

It is the reverse proxy with two differences: the way is a local socket, and the client's ``Host``
stays as it is, because whoever may call an endpoint is decided by it, there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiohttp import UnixConnector, web

from gateway_sessions.gateway import Gateway
from gateway_sessions.web.bodies import paced
from gateway_sessions.web.client import Origin, UpstreamFailed, local_connector
from gateway_sessions.web.headers import connection_names, request_fields
from gateway_sessions.web.middleware import Edge
from gateway_sessions.web.proxy import Proxy
from gateway_sessions.web.relay import relay, switch
from gateway_sessions.web.streams import Tee
from gateway_sessions.web.upstreams import UpstreamTable
from gateway_sessions.web.websocket import SWITCH, wants_websocket

SILENCE_SECONDS = 600.0
"""Longest silence of an endpoint: those who follow along hear something every 20 seconds."""


class Passing(Proxy):
    """Forwards requests to the server behind a local socket."""

    def __init__(self, gateway: Gateway, path: Path) -> None:
        """Take the gateway of this process and the socket's path; needs a running event loop."""
        edge = Edge(gateway)
        # What the other process answers gets no session headers from this one.
        edge.select = lambda headers: ()
        super().__init__(edge, UpstreamTable(()))
        self._connector: UnixConnector = local_connector(path)
        self._origin = Origin("http://localhost", self._connector, SILENCE_SECONDS)

    def routes(self, paths: Iterable[str]) -> list[web.RouteDef]:
        """Return routes that pass on whatever comes for some paths."""
        return [web.RouteDef("*", path, self.handle, {}) for path in paths]

    async def close(self) -> None:
        """Close all connections."""
        self._origin.close()
        await self._connector.close()

    async def _forward(
        self, request: web.Request, tee: Tee, body: bytes | None
    ) -> web.StreamResponse:
        upgrade = wants_websocket(request)
        chunked = "Transfer-Encoding" in request.headers
        try:
            upstream = await self._origin.send(
                request.method,
                _head(request, upgrade=upgrade, chunked=chunked),
                paced(request.content) if body is None else body,
                chunked=chunked,
                upgrade=upgrade,
            )
        except UpstreamFailed:
            return web.Response(status=503, text="The gateway is stopping.")
        try:
            forward = switch if upstream.message.code == 101 else relay
            return await forward(request, upstream, tee)
        finally:
            upstream.close()


def _head(request: web.Request, *, upgrade: bool, chunked: bool) -> bytes:
    kept = SWITCH if upgrade else frozenset()
    if chunked:
        kept |= {b"transfer-encoding"}
    path = request.raw_path.encode("utf-8", "surrogateescape")
    host = request.headers.get("Host", "").encode("utf-8", "surrogateescape")
    named = connection_names(request.headers.getall("Connection", ()))
    fields = request_fields(request.raw_headers, host, named=named, kept=kept)
    first = b"%b %b HTTP/1.1" % (request.method.encode(), path)
    return b"\r\n".join([first, *fields, b"\r\n"])
