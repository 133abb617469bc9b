"""WebSockets through the gateway, with aiohttp's client and server at the ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestServer

from tests.web.harness import (
    LIMIT,
    Connection,
    Received,
    Running,
    answers,
    gateway,
    request,
    response,
    upstream,
)

UPGRADE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


CLOSED: web.AppKey[asyncio.Future[int | None]] = web.AppKey("closed")


async def talk(request: web.Request) -> web.StreamResponse:
    """Echo messages; close as a message says."""
    socket = web.WebSocketResponse(protocols=("realtime", "other"))
    await socket.prepare(request)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data.startswith("close "):
                await socket.close(code=int(message.data[6:]), message=b"as you wish")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
    finally:
        request.app[CLOSED].set_result(socket.close_code)
    return socket


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Running, asyncio.Future[int | None]]]:
    app = web.Application()
    closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    app[CLOSED] = closed
    app.router.add_get("/v1/realtime", talk)
    async with TestServer(app) as server, gateway(str(server.make_url("/"))) as gw:
        yield gw, closed


@asynccontextmanager
async def connected(
    gw: Running, protocols: tuple[str, ...] = (), compress: int = 0, autoping: bool = True
) -> AsyncIterator[ClientWebSocketResponse]:
    url = f"ws://127.0.0.1:{gw.port}/v1/realtime?model=m"
    async with (
        ClientSession() as session,
        session.ws_connect(
            url, protocols=protocols, compress=compress, autoping=autoping
        ) as socket,
    ):
        yield socket


async def test_messages_of_all_kinds_and_sizes_pass_both_ways() -> None:
    async with running() as (gw, _), connected(gw) as socket:
        for text in ("", "hi", "ü" * 100_000):
            await socket.send_str(text)
            assert await socket.receive_str(timeout=LIMIT) == text
        data = bytes(range(256)) * 4000
        await socket.send_bytes(data)
        assert await socket.receive_bytes(timeout=LIMIT) == data


async def test_the_subprotocol_is_the_upstreams_choice() -> None:
    async with running() as (gw, _), connected(gw, protocols=("x", "realtime")) as socket:
        assert socket.protocol == "realtime"


async def test_compression_is_between_the_ends() -> None:
    async with running() as (gw, _), connected(gw, compress=15) as socket:
        assert socket.compress
        await socket.send_str("a" * 10_000)
        assert await socket.receive_str(timeout=LIMIT) == "a" * 10_000


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4321])
async def test_a_close_code_of_the_upstream_reaches_the_client(code: int) -> None:
    async with running() as (gw, _), connected(gw) as socket:
        await socket.send_str(f"close {code}")
        message = await socket.receive(timeout=LIMIT)
        assert (message.type, message.data, message.extra) == (
            WSMsgType.CLOSE,
            code,
            "as you wish",
        )


@pytest.mark.parametrize("code", [1000, 4000])
async def test_a_close_code_of_the_client_reaches_the_upstream(code: int) -> None:
    async with running() as (gw, closed):
        async with connected(gw) as socket:
            await socket.close(code=code)
        assert await asyncio.wait_for(closed, LIMIT) == code


async def test_pings_are_answered_by_the_other_end() -> None:
    async with running() as (gw, _), connected(gw, autoping=False) as socket:
        await socket.ping(b"are you there")
        message = await socket.receive(timeout=LIMIT)
        assert (message.type, message.data) == (WSMsgType.PONG, b"are you there")


async def test_a_client_that_vanishes_takes_the_upstreams_connection_with_it() -> None:
    async with running() as (gw, closed):
        async with connected(gw) as socket:
            await socket.send_str("hi")
            await socket.receive_str(timeout=LIMIT)
            connection = socket._conn
            assert connection is not None
            assert connection.transport is not None
            connection.transport.abort()
        assert await asyncio.wait_for(closed, LIMIT) != 1000


async def test_a_refused_upgrade_is_an_ordinary_response() -> None:
    async with upstream(answers(response(b"no", status="403 No"))) as up, gateway(up.url) as gw:
        with pytest.raises(WSServerHandshakeError) as error:
            async with connected(gw):
                pass
        assert error.value.status == 403


async def test_the_handshake_passes_as_it_is() -> None:
    async def switch(connection: Connection, received: Received) -> None:
        connection.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nfirst bytes"
        )
        data = await connection.reader.readexactly(4)
        connection.writer.write(data[::-1])
        connection.writer.close()

    async with upstream(switch) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request(b"", *UPGRADE, method="GET", target="/v1/realtime", length=False))
        head = await peer.head()
        assert head.status_line == "HTTP/1.1 101 Switching Protocols"
        assert head.header("connection") == ["Upgrade"]
        assert head.header("upgrade") == ["websocket"]
        assert up.requests[0].header("connection") == ["keep-alive, Upgrade"]
        assert up.requests[0].header("sec-websocket-key") == ["dGhlIHNhbXBsZSBub25jZQ=="]
        assert await peer.reader.readexactly(11) == b"first bytes"
        peer.send(b"abcd")
        assert await peer.rest() == b"dcba"


async def test_silence_is_no_reason_to_end_a_websocket() -> None:
    async with running() as (gw, _), connected(gw) as socket:
        await socket.send_str("hi")
        await socket.receive_str(timeout=LIMIT)
        loop = asyncio.get_running_loop()
        timers = loop._scheduled  # type: ignore[attr-defined]
        due = [timer.when() - loop.time() for timer in timers if not timer.cancelled()]
        assert not [seconds for seconds in due if 590 < seconds < 610]


async def test_an_upgrade_to_something_else_is_not_passed_on() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
        answer = await gw.ask(request(b"{}", *lines))
        assert answer.status == 200
        assert up.requests[0].header("upgrade") == []
        assert up.requests[0].header("http2-settings") == []
        assert up.requests[0].header("connection") == []
