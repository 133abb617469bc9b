"""Requests that are passed on to another process's endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web
from yarl import URL

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import Exchange
from gateway_sessions.gateway import Gateway
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.web.passing import Passing
from gateway_sessions.web.server import make_runner

GO = web.AppKey("go", asyncio.Event)


async def echoed(request: web.Request) -> web.StreamResponse:
    """Answer with what arrived."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.decode(), value.decode()] for name, value in request.raw_headers],
            "body": (await request.read()).decode(),
        },
        status=207,
        headers={"X-Own": "1"},
    )


async def talked(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("own",))
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{message.data}!")
        if message.data == "bye":
            await socket.close(code=4001)
    return socket


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first")
    await request.app[GO].wait()
    await response.write(b"second")
    return response


class Seen:
    """An interceptor that must not see any of this."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def exchange_finished(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def client_headers(self, exchange: Exchange) -> tuple[tuple[str, str], ...]:
        return (("X-Added", "by an interceptor"),)


@asynccontextmanager
async def passing(folder: Path) -> AsyncIterator[tuple[str, web.AppRunner, Seen]]:
    """Yield where requests are passed on, what serves them there, and what sees them."""
    own = web.Application()
    own[GO] = asyncio.Event()
    own.router.add_get("/ws", talked)
    own.router.add_get("/stream", streamed)
    own.router.add_route("*", "/{path:.*}", echoed)
    there = make_runner(own, grace_seconds=0.01)
    await there.setup()
    await web.UnixSite(there, folder / "s").start()
    telemetry, seen = Telemetry(), Seen()
    chain = InterceptorChain([("seen", seen)], telemetry)
    gateway = Gateway(
        DetectionSettings(), secret=b"x" * 16, interceptors=chain, telemetry=telemetry
    )
    way = Passing(gateway, folder / "s")
    here = web.Application()
    here.add_routes(way.routes(["/ws", "/stream", "/own", "/v1/chat/completions"]))
    runner = make_runner(here, grace_seconds=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", there, seen
    finally:
        await runner.cleanup()
        await way.close()
        await there.cleanup()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_arrives_as_it_was_sent(method: str, tmp_path: Path) -> None:
    headers = {"Host": "localhost:9", "Origin": "http://a", "Authorization": "Bearer t", "X-A": "1"}
    body = None if method == "GET" else b"content"
    async with passing(tmp_path) as (url, _, seen), ClientSession() as client:
        for _ in range(2):  # on the same connections
            async with client.request(
                method, URL(f"{url}/own?a=%7E", encoded=True), headers=headers, data=body
            ) as answer:
                found: dict[str, Any] = await answer.json()
                assert (answer.status, answer.headers["X-Own"]) == (207, "1")
                assert not any(name.startswith("X-Gateway") for name in answer.headers)
                assert "X-Added" not in answer.headers
            assert (found["method"], found["path"]) == (method, "/own?a=%7E")
            assert found["body"] == (body or b"").decode()
            assert headers.items() <= dict(found["headers"]).items()
    assert seen.exchanges == []


async def test_bodies_without_a_length_and_answers_without_a_body_pass(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with passing(tmp_path) as (url, _, _), ClientSession() as client:
        async with client.post(f"{url}/own", data=pieces()) as answer:
            assert (await answer.json())["body"] == "one two"
        async with client.head(f"{url}/own") as answer:
            assert (answer.status, await answer.read()) == (207, b"")


async def test_streams_come_as_they_are_made(tmp_path: Path) -> None:
    async with (
        passing(tmp_path) as (url, there, _),
        ClientSession() as client,
        client.get(f"{url}/stream") as answer,
    ):
        assert await answer.content.readany() == b"first"
        assert there.app is not None
        there.app[GO].set()
        assert await answer.content.read() == b"second"


async def test_websockets_pass(tmp_path: Path) -> None:
    async with (
        passing(tmp_path) as (url, _, _),
        ClientSession() as client,
        client.ws_connect(f"{url}/ws", protocols=("own",)) as socket,
    ):
        assert socket.protocol == "own"
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"
        await socket.send_str("bye")
        assert await socket.receive_str() == "bye!"
        assert (await socket.receive()).type == WSMsgType.CLOSE
        assert socket.close_code == 4001


async def test_where_nobody_serves_any_more_it_is_said(tmp_path: Path) -> None:
    async with passing(tmp_path) as (url, there, _), ClientSession() as client:
        await there.cleanup()
        async with client.get(f"{url}/own") as answer:
            assert answer.status == 503
            assert await answer.text() == "The gateway is stopping."
