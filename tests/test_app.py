"""The standalone gateway: its listeners, their start and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from gateway_sessions import app
from gateway_sessions.config import Loaded, load
from gateway_sessions.errors import StartError
from gateway_sessions.web.listening import PortInUse

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def loaded(tmp_path: Path, **blocks: Any) -> Loaded:
    server = {"port": 0} | blocks.pop("server", {})
    quiet: dict[str, Any] = {"interceptors": [], "state_directory": str(tmp_path / "state")}
    return load(quiet | {"server": server} | blocks, environ={})


async def get(url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    async with ClientSession() as client, client.get(url, headers=headers) as response:
        return response.status, await response.json()


async def test_it_serves_once_started_and_no_longer_once_stopped(tmp_path: Path) -> None:
    running = await app.start(loaded(tmp_path))
    async with ClientSession() as client:
        async with client.post(f"{running.url}/v1/chat/completions", json=BODY) as response:
            assert response.status == 200
            assert response.headers["X-Gateway-Session-Id"].startswith("sess_")
        assert await running.stop() is True
        with pytest.raises(OSError, match="onnect"):
            await client.get(running.url)


async def test_own_endpoints_share_a_loopback_port(tmp_path: Path) -> None:
    running = await app.start(loaded(tmp_path))
    assert running.admin_url == running.url
    status, health = await get(f"{running.url}/health")
    assert (status, health["version"]) == (200, app.own_version())
    assert (await get(f"{running.url}/config"))[1]["session"]["enabled"] is True
    assert (await get(f"{running.url}/metrics"))[0] == 200
    await running.stop()


async def test_own_endpoints_can_have_a_listener_of_their_own(tmp_path: Path) -> None:
    running = await app.start(loaded(tmp_path, admin={"listen": "127.0.0.1:0"}))
    assert running.admin_url != running.url
    assert (await get(f"{running.admin_url}/health"))[0] == 200
    # On the main port the path belongs to the upstream, which has no such page.
    assert (await get(f"{running.url}/health"))[0] == 404
    await running.stop()


async def test_own_endpoints_can_ask_for_a_token_and_move(tmp_path: Path) -> None:
    admin = {"token": "letmein", "prefix": "/own"}
    running = await app.start(loaded(tmp_path, admin=admin))
    assert (await get(f"{running.url}/own/health"))[0] == 401
    status, _ = await get(f"{running.url}/own/health", Authorization="Bearer letmein")
    assert status == 200
    await running.stop()


@pytest.mark.parametrize(
    ("host", "admin", "address"),
    [
        ("127.0.0.1", {}, None),
        ("localhost", {}, None),
        ("0.0.0.0", {}, ("127.0.0.1", 3001)),
        ("0.0.0.0", {"token": "x"}, None),
        ("0.0.0.0", {"token": "x", "listen": "[::1]:9"}, ("::1", 9)),
        ("127.0.0.1", {"listen": "127.0.0.1:9"}, ("127.0.0.1", 9)),
        ("127.0.0.1", {"listen": "0.0.0.0:9", "token": "x"}, ("0.0.0.0", 9)),
    ],
)
def test_strangers_never_reach_own_endpoints_without_a_token(
    host: str, admin: dict[str, str], address: tuple[str, int] | None, tmp_path: Path
) -> None:
    config = loaded(tmp_path, server={"host": host}, admin=admin).config
    assert app.admin_address(config) == address


async def test_own_endpoints_for_everybody_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError) as caught:
        await app.start(loaded(tmp_path, admin={"listen": "[::]:0"}))
    assert str(caught.value) == (
        "admin.listen [::]:0 can be reached from other machines; set admin.token, or listen on"
        " 127.0.0.1."
    )


@pytest.fixture
async def taken() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


async def test_a_taken_port_is_told_apart(taken: int, tmp_path: Path) -> None:
    with pytest.raises(PortInUse) as caught:
        await app.start(loaded(tmp_path, server={"port": taken}))
    assert str(caught.value) == (
        f"port {taken} of 127.0.0.1 is in use by another program; stop that, or set server.port"
        " to another."
    )


async def test_a_failed_start_leaves_nothing_open(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[str] = []
    listen = app.listen_on

    async def noted(*arguments: Any) -> str:
        urls.append(await listen(*arguments))
        return urls[-1]

    monkeypatch.setattr(app, "listen_on", noted)
    with pytest.raises(PortInUse, match=r"set admin\.listen to another"):
        await app.start(loaded(tmp_path, admin={"listen": f"127.0.0.1:{taken}"}))
    (main,) = urls
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(main.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no such host", "no such host is no address of this machine; change server.port."),
        (
            "192.0.2.1",
            (
                "can not listen on port 0 of 192.0.2.1 (this machine does not have that address);"
                " change server.port."
            ),
        ),
    ],
)
async def test_an_address_that_is_not_ours_is_one_sentence(
    host: str, sentence: str, tmp_path: Path
) -> None:
    admin = {"listen": "127.0.0.1:0"}
    with pytest.raises(StartError) as caught:
        await app.start(loaded(tmp_path, server={"host": host}, admin=admin))
    assert str(caught.value) == sentence


class Slow:
    """An upstream whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        own = web.Application()
        own.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(own)

    async def start(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.reached.set()
        await self.go.wait()
        return web.json_response({"done": True})


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    upstream = Slow()
    yield upstream
    upstream.go.set()
    await upstream.runner.cleanup()


async def test_exchanges_under_way_are_finished(slow: Slow, tmp_path: Path) -> None:
    running = await app.start(loaded(tmp_path, upstream=await slow.start()))
    serving = asyncio.get_running_loop().create_task(app.StopSignals().stop(running))
    asking = asyncio.get_running_loop().create_task(get(f"{running.url}/x"))
    await slow.reached.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await _refuses(running.url)
    slow.go.set()
    assert await asking == (200, {"done": True})
    assert await serving == 0


async def test_a_second_signal_does_not_wait(slow: Slow, tmp_path: Path) -> None:
    running = await app.start(loaded(tmp_path, upstream=await slow.start()))
    serving = asyncio.get_running_loop().create_task(app.StopSignals().stop(running))
    asking = asyncio.get_running_loop().create_task(get(f"{running.url}/x"))
    await slow.reached.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await _refuses(running.url)
    os.kill(os.getpid(), signal.SIGINT)
    assert await serving == app.INTERRUPTED
    asking.cancel()


async def _refuses(url: str) -> None:
    """Return when nobody listens there any more."""
    port = int(url.rpartition(":")[2])
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.close()


async def test_ready_is_told_once_clients_can_connect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[app.Running] = []

    def ready(running: app.Running) -> None:
        told.append(running)
        socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2]))).close()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(app, "notices", lambda loaded: ["this should be known"])
    assert await app.serve(loaded(tmp_path), ready) == 0
    assert len(told) == 1
    assert caplog.messages[0] == "this should be known"


def test_a_loop_is_made_and_closed() -> None:
    async def main() -> tuple[str, asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        return type(loop).__module__, loop

    module, loop = app.run(main)
    assert module.startswith("uvloop")
    assert loop.is_closed()


def test_where_there_is_no_uvloop_the_usual_loop_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert app.run(main).startswith("asyncio")


def test_a_bare_checkout_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    assert app.own_version()[0].isdigit()
    monkeypatch.setattr(app, "version", missing)
    assert app.own_version() == "unknown"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://localhost:1"),
        ("::", "http://localhost:1"),
        ("::1", "http://[::1]:1"),
        ("gateway", "http://gateway:1"),
    ],
)
def test_urls_can_be_used_as_they_are(host: str, url: str) -> None:
    assert app.url_of(host, 1) == url


@pytest.mark.parametrize(
    ("entries", "place"),
    [
        ([], "/own/sessions"),
        ([{"type": "dashboard"}], "/own/sessions"),
        ([{"type": "dashboard", "enabled": False}], None),
    ],
)
async def test_the_dashboard_is_where_it_is_said_to_be(
    tmp_path: Path, entries: list[dict[str, Any]], place: str | None
) -> None:
    running = await app.start(
        loaded(tmp_path, interceptors=entries, admin={"prefix": "/own", "listen": "127.0.0.1:0"})
    )
    assert running.dashboard_url == (place and running.admin_url + place)
    async with ClientSession() as client:
        answer = await client.get(f"{running.admin_url}/own/sessions")
        assert answer.status == (200 if place else 404)
    await running.stop()
