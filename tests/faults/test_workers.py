"""Several workers on one machine: nothing is torn, lost or counted twice, whichever of them dies.

``GATEWAY_SESSIONS_WORKER_EVENTS=50000`` makes four workers record as many events each.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector, web

from gateway_sessions.config import load
from gateway_sessions.recording.child import Spawned
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.workers import supervisor
from gateway_sessions.workers.supervisor import Supervised
from tests.cli.helpers import INSTALLED, service
from tests.faults.worker_records import SESSIONS, config
from tests.recording.writers import Ledger

WORKERS = 4
EVENTS_EACH = 4
"""Events that every exchange makes, besides those of sessions and loops."""
EVENTS = int(os.environ.get("GATEWAY_SESSIONS_WORKER_EVENTS", "1200"))
LIMIT = 30.0 + EVENTS / 100
"""Seconds after which what a test waits for counts as hanging."""
CARRIED_SECONDS = 5.0
"""What was answered so shortly before a kill may die with the worker: where the recorder keeps up,
a twentieth of a second; where tests share too few processors, it may be behind."""
CHAT = "/v1/chat/completions"


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of all session files; each has to be whole."""
    for path in folder.glob("sessions/*/*.jsonl"):
        text = path.read_text()
        assert text.endswith("\n")
        for line in text.splitlines():
            found = json.loads(line)
            assert found["session_id"] == path.stem
            yield found


def completed(folder: Path) -> set[str]:
    """Return the exchanges whose end is in session files; a line may be half written still."""
    return {
        json.loads(line)["request_id"]
        for path in folder.glob("sessions/*/*.jsonl")
        for line in path.read_text().splitlines()
        if '"request_completed"' in line and line.endswith("}")
    }


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "sessions.db")) as database:
        return list(database.execute(query))


async def test_no_line_is_torn_and_no_row_lost(tmp_path: Path) -> None:
    exchanges = EVENTS // EVENTS_EACH
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / "s"
    listener.bind(str(path))
    listener.listen()
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    main = RecordingProcess(
        config(tmp_path), telemetry, begin=partial(Spawned, listener), shared=True
    )
    with listener:
        await main.open()
        workers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.worker_records"),
                *(str(path), str(tmp_path), str(number), str(exchanges)),
            )
            for number in range(WORKERS)
        ]
        async with asyncio.timeout(LIMIT):
            codes = await asyncio.gather(*(worker.wait() for worker in workers))
        await main.shutdown(LIMIT)
    assert codes == [0] * WORKERS
    assert ledger.dropped == {}
    kinds = Counter(line["type"] for line in lines_of(tmp_path))
    for kind in ("request_recorded", "response_recorded", "request_completed"):
        assert kinds[kind] == WORKERS * exchanges
    assert kinds["started"] == kinds["completed"] == WORKERS * SESSIONS
    assert kinds["gap"] == 0
    assert rows(tmp_path, "SELECT COUNT(*), COUNT(DISTINCT request_id) FROM session_stats") == [
        (WORKERS * exchanges, WORKERS * exchanges)
    ]
    assert rows(tmp_path, "SELECT COUNT(*), SUM(request_count) FROM sessions") == [
        (WORKERS * SESSIONS, WORKERS * exchanges)
    ]


class Load:
    """Clients that ask until they are told to stop, some with connections that stay open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered: list[tuple[str, float]] = []
        """Request ids of those that were answered, and when, in the loop's seconds."""
        self.broken = 0
        self.totals: list[int] = []
        self._stop = False
        self._more = asyncio.Event()

    async def more(self, count: int = 1) -> None:
        """Return after so many more answers."""
        wanted = len(self.answered) + count
        async with asyncio.timeout(LIMIT):
            while len(self.answered) < wanted:
                self._more.clear()
                await self._more.wait()

    async def run(self, clients: int = 8) -> None:
        """Ask, and look at the metrics meanwhile."""
        await asyncio.gather(self._watch(), *(self._ask(number) for number in range(clients)))

    def stop(self) -> None:
        self._stop = True

    async def _ask(self, number: int) -> None:
        connector = TCPConnector(force_close=number % 2 == 0)
        async with ClientSession(connector=connector) as session:
            while not self._stop:
                body = {"model": "m", "messages": [{"role": "user", "content": f"hi {number}"}]}
                try:
                    async with session.post(f"{self.url}{CHAT}", json=body) as answer:
                        await answer.read()
                        assert answer.status == 200
                        name = answer.headers["X-Gateway-Request-Id"]
                        self.answered.append((name, asyncio.get_running_loop().time()))
                        self._more.set()
                except ClientError:
                    self.broken += 1

    async def _watch(self) -> None:
        async with ClientSession(connector=TCPConnector(force_close=True)) as session:
            while not self._stop:
                try:
                    async with session.get(f"{self.url}/metrics") as answer:
                        self.totals.append((await answer.json())["requests"]["total"])
                except ClientError:  # it was passing through the worker that died
                    continue


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Supervised]:
    running = await supervisor.start(
        load(
            {
                "server": {"port": 0, "workers": 2},
                "interceptors": [],
                "state_directory": str(folder / "state"),
                "session_recording": {
                    "jsonl": {"directory": str(folder / "sessions")},
                    "sqlite": {"path": str(folder / "sessions.db")},
                },
            },
            environ={},
        )
    )
    try:
        yield running
    finally:
        await running.stop()


async def test_a_worker_that_is_killed_under_load_harms_only_what_it_carried(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as running:
        work = Load(running.url)
        loading = asyncio.get_running_loop().create_task(work.run())
        await work.more(200)
        early = {name for name, _ in work.answered}
        async with asyncio.timeout(LIMIT):
            while not early <= completed(tmp_path):
                await work.more(50)  # to look takes long
        kills: list[float] = []
        for _ in range(3):
            before = len(work.answered)
            victim = random.choice(running.crew.ready)
            os.kill(victim.pid, signal.SIGKILL)
            kills.append(asyncio.get_running_loop().time())
            await victim.ended()
            while len(running.crew.ready) < 2 or len(work.answered) < before + 200:
                await work.more()
        work.stop()
        await loading
    # A connection that the dead worker had, at most one request on each.
    assert work.broken <= 3 * 9
    assert work.totals == sorted(work.totals)
    recorded = completed(tmp_path)
    assert early <= recorded
    for name, at in work.answered:
        if not any(0 <= kill - at < CARRIED_SECONDS for kill in kills):
            assert name in recorded
    assert rows(tmp_path, "SELECT COUNT(DISTINCT request_id) FROM session_stats") == [
        (len(recorded),)
    ]


async def test_a_recorder_that_is_killed_gets_everything_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        work = Load(running.url)
        loading = asyncio.get_running_loop().create_task(work.run())
        recording: Any = running.assembly.gateway._recording
        for _ in range(2):
            before = len(work.answered)
            child = recording._link._child
            child.kill()
            while recording._link._child in (child, None) or len(work.answered) < before + 200:
                await work.more()
        work.stop()
        await loading
    assert work.broken == 0
    recorded = completed(tmp_path)
    assert {name for name, _ in work.answered} == recorded


class Slow:
    """An upstream whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices": [{"delta": {"content": "so"}}]}\n\n')
        self.asked.release()
        await self.go.wait()
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Slow, str]]:
    upstream = Slow()
    app = web.Application()
    app.router.add_post(CHAT, upstream.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield upstream, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_streams_are_finished_when_it_is_told_to_stop(
    tmp_path: Path, slow: tuple[Slow, str]
) -> None:
    upstream, url = slow
    streams = 12
    with service(
        *("serve", "--port", "0", "--upstream", url, "--set", "server.workers=2"),
        cwd=tmp_path,
        command=INSTALLED,
    ) as gateway:

        async def stream(session: ClientSession) -> tuple[int, bytes]:
            body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            async with session.post(f"{gateway.url}{CHAT}", json=body) as answer:
                return answer.status, await answer.read()

        async with ClientSession(connector=TCPConnector(force_close=True)) as session:
            loop = asyncio.get_running_loop()
            talking = [loop.create_task(stream(session)) for _ in range(streams)]
            for _ in range(streams):
                await asyncio.wait_for(upstream.asked.acquire(), LIMIT)
            # As a service manager does it: to everybody.
            for pid in (gateway.process.pid, *children(gateway.process.pid)):
                os.kill(pid, signal.SIGTERM)
            async with asyncio.timeout(LIMIT):
                while await listens(gateway.url):
                    pass
            upstream.go.set()
            answers = await asyncio.gather(*talking)
        code, errors = await asyncio.to_thread(gateway.stop, 0)
    assert code == 0, errors
    assert all(status == 200 and text.endswith(b"[DONE]\n\n") for status, text in answers)
    done = [
        json.loads(line)
        for path in (tmp_path / ".gateway-sessions" / "sessions").glob("*/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    completed = [line for line in done if line["type"] == "request_completed"]
    assert [line["success"] for line in completed] == [True] * streams
    assert len(list((tmp_path / "traces").glob("*.json"))) == streams


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=True)
    return [int(each) for each in done.stdout.split()]


async def listens(url: str) -> bool:
    port = int(url.rpartition(":")[2])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
