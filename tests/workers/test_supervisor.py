"""A main process and its workers, all of them real."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector

from gateway_sessions.config import Loaded, load
from gateway_sessions.errors import StartError
from gateway_sessions.web.listening import PortInUse
from gateway_sessions.workers import supervisor
from gateway_sessions.workers.supervisor import Supervised

LIMIT = 30.0
"""Seconds after which what a test waits for counts as hanging."""
CHAT = "/v1/chat/completions"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have folders of local sockets made in a place with a short name: it has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="w") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def loaded(tmp_path: Path, **blocks: Any) -> Loaded:
    quiet: dict[str, Any] = {
        "interceptors": [],
        "session_recording": {"enabled": False},
        "state_directory": str(tmp_path / "state"),
        "logging": {"file": None},
    }
    server = {"port": 0, "workers": 2} | blocks.pop("server", {})
    return load(quiet | {"server": server} | blocks, environ={})


@asynccontextmanager
async def serving(tmp_path: Path, **blocks: Any) -> AsyncIterator[Supervised]:
    running = await supervisor.start(loaded(tmp_path, **blocks))
    try:
        yield running
    finally:
        await running.stop()


def modes_in(folder: Path) -> dict[str, int]:
    """Return the mode of everything in a folder, by name."""
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.rglob("*")}


def client() -> ClientSession:
    """Return a client that makes a new connection for each request."""
    return ClientSession(connector=TCPConnector(force_close=True))


async def asked(url: str, count: int) -> None:
    """Send requests on connections of their own; all have to be answered."""
    async with client() as session:
        for _ in range(count):
            async with session.post(f"{url}{CHAT}", json=QUESTION) as answer:
                assert answer.status == 200
                await answer.read()


async def back(running: Supervised) -> None:
    """Return when all workers serve; meanwhile every request has to be answered."""
    async with asyncio.timeout(LIMIT):
        while len(running.crew.ready) < 2:
            await asked(running.url, 1)


async def test_all_workers_serve_one_port_and_own_endpoints_are_one(tmp_path: Path) -> None:
    async with serving(tmp_path, admin={"prefix": "/own"}) as running:
        await asked(running.url, 16)
        async with client() as session:
            for _ in range(4):
                async with session.get(f"{running.admin_url}/own/metrics") as answer:
                    assert (await answer.json())["requests"]["total"] == 16
            async with session.get(f"{running.url}/own/readyz") as answer:
                assert await answer.json() == {"status": "ready", "problems": []}
            foreign = {"Host": "evil.example"}
            async with session.get(f"{running.url}/own/config", headers=foreign) as answer:
                assert answer.status == 403
            async with session.delete(f"{running.url}/own/config") as answer:
                assert answer.status == 405


async def test_own_endpoints_can_have_a_listener_of_their_own(tmp_path: Path) -> None:
    async with serving(tmp_path, admin={"listen": "127.0.0.1:0"}) as running:
        assert running.admin_url != running.url
        async with client() as session:
            async with session.get(f"{running.admin_url}/healthz") as answer:
                assert answer.status == 200
            async with session.get(f"{running.url}/healthz") as answer:
                assert answer.status == 404  # the embedded upstream's


async def test_local_sockets_are_for_this_user_alone(tmp_path: Path, sockets: Path) -> None:
    async with serving(tmp_path):
        modes = modes_in(sockets)
    ((_, folder),) = [pair for pair in modes.items() if pair[0].startswith("gateway-sessions-")]
    assert folder == 0o700
    assert modes["recorder.sock"] == modes["own.sock"] == 0o600
    assert modes_in(sockets) == {}


async def test_a_worker_that_dies_is_started_again_and_meanwhile_nobody_notices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as running, client() as session:
        victim = running.crew.ready[0]
        await asked(running.url, 16)
        caplog.clear()
        with caplog.at_level(logging.INFO, supervisor.__name__):
            os.kill(victim.pid, signal.SIGKILL)
            await victim.ended()
            await asked(running.url, 16)
            async with session.get(f"{running.url}/metrics") as answer:
                assert (await answer.json())["requests"]["total"] >= 16
            await back(running)
        assert caplog.messages == [
            "worker 1 died (SIGKILL) and is started again",
            "worker 1 serves again",
        ]
        assert {worker.name for worker in running.crew.ready} == {"worker-1.2", "worker-2"}
        await asked(running.url, 16)


async def test_a_worker_that_can_not_be_started_again_is_a_problem_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    traces = tmp_path / "traces"
    entry = {"type": "trace", "config": {"directory": str(traces)}}
    async with serving(tmp_path, interceptors=[entry]) as running, client() as session:
        traces.rmdir()
        traces.write_text("in the way")
        with caplog.at_level(logging.ERROR, supervisor.__name__):
            os.kill(running.crew.ready[0].pid, signal.SIGKILL)
            async with asyncio.timeout(LIMIT):
                while not any("can not be started again" in text for text in caplog.messages):
                    await asked(running.url, 1)
        async with session.get(f"{running.url}/readyz") as answer:
            assert "worker 1 died and is started again" in (await answer.json())["problems"]
        await asked(running.url, 8)
        traces.unlink()
        await back(running)


async def test_what_no_worker_can_start_with_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, sockets: Path
) -> None:
    (tmp_path / "traces").write_text("a file where the folder should be")
    entry = {"type": "trace", "config": {"directory": str(tmp_path / "traces")}}
    with pytest.raises(StartError, match=r"^interceptor trace: .*can not write there"):
        await supervisor.start(loaded(tmp_path, interceptors=[entry]))
    assert modes_in(sockets) == {}


async def test_a_taken_port_is_told_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse):
            await supervisor.start(loaded(tmp_path, server={"port": port, "workers": 2}))


async def test_a_system_without_local_sockets_has_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(StartError, match=r"set server\.workers to 1"):
        await supervisor.start(loaded(tmp_path))


async def test_workers_that_do_not_end_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "CLOSE_SECONDS", 0.0)
    running = await supervisor.start(loaded(tmp_path))
    pids = [worker.pid for worker in running.crew.ready]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert not await running.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
