"""A worker, in the process of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, web

from gateway_sessions import app
from gateway_sessions.config import load
from gateway_sessions.errors import StartError
from gateway_sessions.web.listening import listeners
from gateway_sessions.workers import worker
from gateway_sessions.workers.channel import Channel
from gateway_sessions.workers.messages import (
    PROBLEMS,
    AnyMessage,
    Begin,
    Cover,
    Hurry,
    Ready,
    Refused,
    Stop,
    frame,
    sentences,
)
from gateway_sessions.workers.worker import REFUSED, Worker

CHAT = "/v1/chat/completions"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
LIMIT = 30.0
ASKED = web.AppKey("asked", asyncio.Event)


class Main:
    """The main process's end, of a worker that is the first of two."""

    def __init__(self, folder: Path, held: ExitStack, **blocks: Any) -> None:
        quiet: dict[str, Any] = {
            "interceptors": [],
            "session_recording": {"enabled": False},
            "state_directory": str(folder / "state"),
        }
        groups = listeners("127.0.0.1", 0, 2, "server.port")
        self.sockets = [held.enter_context(each) for group in groups for each in group]
        self.url = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        ours, theirs = socket.socketpair()
        copies = tuple((each.dup().detach(),) for each in self.sockets)
        loaded = load(quiet | blocks, environ={})
        begin = Begin(loaded, "worker-1", str(folder), copies, 0, ("/health",))
        self.channel = Channel(ours, "worker-1", {})
        self.worker = Worker(theirs, begin)
        self.heard: asyncio.Queue[AnyMessage] = asyncio.Queue()
        self.tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> AnyMessage:
        """Start the worker; return the first thing that it says."""
        await self.channel.open()
        loop = asyncio.get_running_loop()
        self.tasks.append(loop.create_task(self.channel.listen(self.heard.put_nowait)))
        self.tasks.append(loop.create_task(self.worker.serve()))
        return await asyncio.wait_for(self.heard.get(), LIMIT)

    async def ended(self) -> int:
        """Return the worker's exit code."""
        code: int = await asyncio.wait_for(self.tasks[1], LIMIT)
        await self.tasks[0]
        return code

    async def ask(self) -> int:
        """Send a request on a connection of its own; return the status."""
        async with (
            ClientSession(connector=TCPConnector(force_close=True)) as session,
            session.post(f"{self.url}{CHAT}", json=QUESTION) as answer,
        ):
            return answer.status


@pytest.fixture
async def main(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Main]:
    with ExitStack() as held:
        found = Main(tmp_path, held, **getattr(request, "param", {}))
        yield found
        if not found.tasks[1].done():
            found.channel.send(Stop())
            await found.ended()


async def test_it_serves_and_covers_until_it_is_told_to_stop(main: Main) -> None:
    assert await main.start() == Ready()
    # Half of the connections are the other worker's, which is not there.
    main.channel.send(Cover((1,)))
    for _ in range(16):
        assert await asyncio.wait_for(main.ask(), LIMIT) == 200
    main.channel.send(Cover(()))
    main.channel.send(Cover((0, 1)))  # itself among them: nothing to do
    for _ in range(16):
        assert await asyncio.wait_for(main.ask(), LIMIT) == 200
    main.channel.send(Stop())
    assert await main.ended() == 0


async def test_it_says_what_does_not_work(main: Main) -> None:
    assert await main.start() == Ready()
    assert main.worker._circle.names() == {"main"}
    answer = await main.channel.ask(PROBLEMS, b"")
    assert answer is not None
    assert sentences(answer) == []


@pytest.mark.parametrize("main", [{"interceptors": [{"type": "no:Such"}]}], indirect=True)
async def test_it_says_why_it_can_not_start(main: Main) -> None:
    said = await main.start()
    assert isinstance(said, Refused)
    assert "no:Such" in said.sentence
    assert said.misconfigured
    assert await main.ended() == REFUSED


async def test_what_fails_halfway_is_closed(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: web.SockSite) -> None:
        raise StartError("no")

    monkeypatch.setattr(web.SockSite, "start", fail)
    assert await main.start() == Refused("no", misconfigured=False)
    assert await main.ended() == REFUSED


async def test_it_ends_with_the_main_process(main: Main) -> None:
    assert await main.start() == Ready()
    await main.channel.close()
    assert await main.ended() == 0


async def slow(request: web.Request) -> web.StreamResponse:
    """Answer never."""
    request.app[ASKED].set()
    await asyncio.Event().wait()
    return web.Response()


async def test_it_hurries_when_it_is_told_to(tmp_path: Path) -> None:
    upstream = web.Application()
    upstream[ASKED] = asyncio.Event()
    upstream.router.add_post(CHAT, slow)
    runner = web.AppRunner(upstream, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with ExitStack() as held:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        main = Main(tmp_path, held, upstream=url)
        assert await main.start() == Ready()
        main.channel.send(Cover((1,)))
        asking = asyncio.get_running_loop().create_task(main.ask())
        await asyncio.wait_for(upstream[ASKED].wait(), LIMIT)
        main.channel.send(Stop())
        main.channel.send(Hurry())
        assert await main.ended() == app.INTERRUPTED
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await runner.cleanup()


def test_the_first_message_is_read_and_nothing_after_it(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    begin = Begin(load({}, environ={}), "worker-1", str(tmp_path), (), 0, ())
    with ours, theirs:
        ours.sendall(frame(begin) + b"rest")
        assert worker._first_message(theirs) == begin
        assert theirs.recv(10) == b"rest"


def test_without_a_main_process_there_is_nothing_to_do() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        assert worker._first_message(theirs) is None
