"""One worker, started and ended as the main process does it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway_sessions.config import load
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.web.listening import listeners
from gateway_sessions.workers.messages import Begin
from gateway_sessions.workers.process import WorkerProcess, fate


def asked(url: str) -> requests.Response:
    question = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
    return requests.post(f"{url}/v1/chat/completions", data=question, timeout=10)


@asynccontextmanager
async def hired(tmp_path: Path, **blocks: Any) -> AsyncIterator[tuple[WorkerProcess, str]]:
    """Yield a worker without a recorder, not started, and where it will serve."""
    quiet: dict[str, Any] = {
        "interceptors": [],
        "session_recording": {"enabled": False},
        "state_directory": str(tmp_path / "state"),
        "logging": {"file": None},
    }
    (group,) = listeners("127.0.0.1", 0, 1, "server.port")
    begin = Begin(
        load(quiet | blocks, environ={}),
        "worker-1",
        str(tmp_path),
        (tuple(each.fileno() for each in group),),
        0,
        (),
    )
    with ExitStack() as held:
        for each in group:
            held.enter_context(each)
        worker = WorkerProcess(begin, {}, group)
        try:
            yield worker, f"http://127.0.0.1:{group[0].getsockname()[1]}"
        finally:
            worker.kill()
            await worker.ended()


async def test_it_serves_until_it_is_stopped(tmp_path: Path) -> None:
    async with hired(tmp_path) as (worker, url):
        await worker.start()
        assert worker.ready
        answer = await asyncio.to_thread(asked, url)
        assert answer.headers["X-Gateway-Session-Id"].startswith("sess_")
        worker.stop()
        assert await worker.ended() == 0
        assert not worker.ready


async def test_signals_are_for_the_main_process(tmp_path: Path) -> None:
    async with hired(tmp_path) as (worker, url):
        await worker.start()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            worker._process.send_signal(number)
        answer = await asyncio.to_thread(asked, url)
        assert answer.status_code == 200


async def test_it_ends_when_the_main_process_is_gone(tmp_path: Path) -> None:
    async with hired(tmp_path) as (worker, _):
        await worker.start()
        await worker.channel.close()
        assert await worker.ended() == 0


async def test_what_keeps_it_from_starting_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("a file where the folder should be")
    traces = {"type": "trace", "config": {"directory": str(tmp_path / "traces")}}
    async with hired(tmp_path, interceptors=[traces]) as (worker, _):
        with pytest.raises(StartError, match=r"interceptor trace: .*can not write there"):
            await worker.start()
        assert await worker.ended() == 2


async def test_a_configuration_that_it_can_not_take_is_a_sentence(tmp_path: Path) -> None:
    entry = {"type": "nowhere:Nothing"}
    async with hired(tmp_path, interceptors=[entry]) as (worker, _):
        with pytest.raises(ConfigError, match="nowhere:Nothing"):
            await worker.start()


async def test_one_that_dies_before_it_is_ready_is_said(tmp_path: Path) -> None:
    async with hired(tmp_path) as (worker, _):
        worker.kill()
        with pytest.raises(StartError, match="worker-1 ended, or was not ready in time"):
            await worker.start()
        assert await worker.ended() == -signal.SIGKILL


def test_how_it_ended() -> None:
    assert [fate(code) for code in (0, 2, -9, -99)] == [
        "exit code 0",
        "exit code 2",
        "SIGKILL",
        "signal 99",
    ]


async def test_a_system_without_room_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    begin = Begin(load({}, environ={}), "worker-1", str(tmp_path), (), 0, ())
    with pytest.raises(FileNotFoundError):
        WorkerProcess(begin, {})
