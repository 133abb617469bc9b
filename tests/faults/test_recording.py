"""Recording fails in every way there is; traffic does not notice, and the books are right."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from gateway_sessions import app
from gateway_sessions.config import load
from gateway_sessions.config.recording import Jsonl, SessionRecording, Sqlite
from gateway_sessions.recording.child import Spawned
from gateway_sessions.recording.jsontext import json_line
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import WRITER, ended, lines, missing
from tests.recording.writers import Ledger

REQUESTS = 60


@asynccontextmanager
async def gateway(folder: Path, **writer: Any) -> AsyncIterator[app.Running]:
    """Yield a gateway that records with a `LineWriter` into ``lines``."""
    options = {"path": str(folder / "lines"), **writer}
    running = await app.start(
        load(
            {
                "server": {"port": 0},
                "interceptors": [],
                "state_directory": str(folder / "state"),
                "session_recording": {
                    "jsonl": {"enabled": False},
                    "sqlite": {"enabled": False},
                    "writers": [{"type": WRITER, "config": options}],
                    "worker": {"channel_buffer_size": 50, "batch_timeout_ms": 1},
                },
            },
            environ={},
        )
    )
    try:
        yield running
    finally:
        await running.stop()


async def chat(running: app.Running, count: int) -> set[str]:
    """Send requests side by side; all must succeed.  Return their ids."""

    async def one(number: int) -> str:
        messages = [{"role": "user", "content": f"question {number}"}]
        body = {"model": "gpt-4o", "messages": messages, "stream": bool(number % 2)}
        async with client.post(f"{running.url}/v1/chat/completions", json=body) as response:
            assert response.status == 200
            assert await response.read()
            return response.headers["X-Gateway-Request-Id"]

    async with ClientSession() as client, asyncio.timeout(30):
        return set(await asyncio.gather(*map(one, range(count))))


async def readiness(running: app.Running) -> tuple[int, list[str]]:
    async with ClientSession() as client, client.get(f"{running.url}/readyz") as response:
        return response.status, (await response.json())["problems"]


def completed(path: Path) -> set[str]:
    found = lines(path)
    return {line["request_id"] for line in found if line["type"] == "request_completed"}


async def test_a_stalled_writer_does_not_touch_traffic(tmp_path: Path) -> None:
    stall = tmp_path / "stall"
    stall.touch()
    async with gateway(tmp_path, stall=str(stall)) as running:
        sent = await chat(running, 3 * REQUESTS)
        assert lines(tmp_path / "lines") == []
        stall.unlink()
    assert missing(lines(tmp_path / "lines")) > 0  # only 50 may wait
    assert completed(tmp_path / "lines") <= sent


async def test_a_full_disk_is_a_problem_that_goes_away_by_itself(tmp_path: Path) -> None:
    full = tmp_path / "full"
    async with gateway(tmp_path, fail=str(full)) as running:
        assert await readiness(running) == (200, [])
        full.touch()
        await chat(running, 5)
        async with asyncio.timeout(20):
            while (await readiness(running))[0] == 200:
                pass
        assert "No space left on device" in (await readiness(running))[1][0]
        full.unlink()
        sent = await chat(running, 5)
        await running.assembly.gateway.flush()
        assert await readiness(running) == (200, [])
        assert sent <= completed(tmp_path / "lines")


async def test_a_recorder_that_is_killed_over_and_over_does_not_touch_traffic(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        process = running.assembly.gateway._recording
        assert isinstance(process, RecordingProcess)
        sent: set[str] = set()
        for _ in range(3):
            child = process._link._child
            assert isinstance(child, Spawned)
            sent |= await chat(running, 10)
            child.process.send_signal(signal.SIGKILL)
            sent |= await chat(running, 10)
            await process.flush()
        assert await readiness(running) == (200, [])
    assert sent <= completed(tmp_path / "lines")


async def test_a_recorder_that_stands_still_does_not_touch_traffic(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        process = running.assembly.gateway._recording
        assert isinstance(process, RecordingProcess)
        child = process._link._child
        assert isinstance(child, Spawned)
        child.process.send_signal(signal.SIGSTOP)
        sent = await chat(running, REQUESTS)
        child.process.send_signal(signal.SIGCONT)
        await process.flush()
    assert completed(tmp_path / "lines") <= sent


async def test_sessions_of_exchanges_that_break_off_are_completed(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with ClientSession() as client:
            response = await client.post(f"{running.url}/v1/chat/completions", json=body)
            await response.content.readany()
            response.close()
        async with asyncio.timeout(10):
            while not completed(tmp_path / "lines"):
                await running.assembly.gateway.flush()
    by_type = {str(line["type"]): line for line in lines(tmp_path / "lines")}
    assert by_type["request_completed"]["error"] == "client_closed"
    assert by_type["completed"]["reason"] == "shutdown"


class Books:
    """Session files, and a recorder process that may not write more than so much into one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(telemetry := Telemetry())
        config = SessionRecording(
            jsonl=Jsonl(directory=str(folder / "sessions")), sqlite=Sqlite(enabled=False)
        )
        self.process = RecordingProcess(config, telemetry)
        self.offered = 0

    def offer(self, *sessions: str) -> None:
        for session in sessions:
            self.offered += 1
            assert self.process.record(ended(self.offered, session))

    def limit(self, size: int) -> None:
        """Limit the size of files that the writers' processes may write, in bytes."""
        child = self.process._link._child
        assert isinstance(child, Spawned)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        pid = child.process.pid
        for writer in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            resource.prlimit(int(writer), resource.RLIMIT_FSIZE, (size, hard))

    @property
    def written(self) -> list[dict[str, Any]]:
        return [line for path in self.folder.glob("sessions/*/*") for line in lines(path)]


async def test_on_a_full_disk_what_is_offered_is_written_or_counted(tmp_path: Path) -> None:
    books = Books(tmp_path)
    await books.process.open()
    line = len(json_line(ended(1)))
    books.offer(*["sess_a"] * 10)
    await books.process.flush()
    books.limit(20 * line)
    books.offer(*["sess_a"] * 50, *["sess_b"] * 5)
    await books.process.flush()
    assert "File too large" in books.process.problems()[0]
    books.limit(resource.RLIM_INFINITY)
    books.offer(*["sess_a"] * 5)
    await books.process.flush()
    assert books.process.problems() == []
    await books.process.shutdown()
    dropped = sum(books.ledger.dropped.values())
    assert dropped > 0
    assert books.ledger.written["jsonl"] + dropped == books.offered
    assert missing(books.written) == dropped
    events = [line for line in books.written if line["type"] != "gap"]
    assert len(events) == books.ledger.written["jsonl"]


async def test_a_folder_that_is_gone_comes_back(tmp_path: Path) -> None:
    books = Books(tmp_path)
    await books.process.open()
    books.offer("sess_a")
    await books.process.flush()
    shutil.rmtree(tmp_path / "sessions")
    books.offer("sess_b", "sess_c")
    await books.process.flush()
    await books.process.shutdown()
    assert {line["session_id"] for line in books.written} == {"sess_b", "sess_c"}
    assert books.ledger.dropped == {}
