"""WebSockets: once both sides have agreed to switch, bytes go through as they are.

Frames are not looked at, so that subprotocols, extensions, pings and close codes are between
the client and its upstream; a WebSocket gets no session.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import StreamReader, web
from aiohttp.http import StreamWriter

from gateway_sessions.web.client import UpstreamResponse

BUFFER = 64 * 1024
"""Bytes held in each direction while the other side is slow."""
SWITCH = frozenset((b"connection", b"upgrade"))
"""Hop-by-hop headers that do go to the upstream when a client wants to switch."""


def wants_websocket(request: web.BaseRequest) -> bool:
    """Tell whether a request asks to switch to the WebSocket protocol."""
    upgrade = request.headers.get("Upgrade", "")
    if upgrade.lower() != "websocket" or request.method != "GET":
        return False
    values = request.headers.getall("Connection", ())
    return any(name.strip().lower() == "upgrade" for value in values for name in value.split(","))


async def tunnel(request: web.BaseRequest, upstream: UpstreamResponse) -> None:
    """Carry bytes both ways until either side is done; returns with all of them delivered."""
    loop = asyncio.get_running_loop()
    from_client = StreamReader(request.protocol, BUFFER, loop=loop)
    protocol = upstream.link.protocol
    from_upstream = StreamReader(protocol, BUFFER, loop=loop)
    to_upstream = StreamWriter(protocol, loop)
    # Silence is a WebSocket's normal state.
    protocol.read_timeout = None
    request.protocol.set_parser(_Inbox(from_client))  # type: ignore[arg-type]  # duck-typed
    protocol.set_parser(_Inbox(from_upstream), from_upstream)
    pumps = (
        loop.create_task(_pump(from_client, to_upstream)),
        loop.create_task(_pump(from_upstream, StreamWriter(request.protocol, loop))),
    )
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        # A client that says goodbye and leaves at once has its farewell still in here.
        with suppress(Exception):
            if last := from_client.read_nowait():
                await to_upstream.write(last, drain=False)


class _Inbox:
    """What aiohttp's protocols give the bytes to that follow the switch."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.readany():
        await writer.write(data, drain=False)
        await writer.drain()
