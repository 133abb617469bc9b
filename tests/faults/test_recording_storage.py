"""What records are kept on fails under a real gateway: traffic goes on, and the books are right."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import yaml
from aiohttp import ClientSession

from tests.cli.helpers import COMMAND, Service, service
from tests.recording.recordings import HURRIED, lines, missing

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds after which a state that a test waits for will not come."""
POLL_SECONDS = 0.02
"""Between two looks at something that nobody tells of.  Who asks without a pause keeps a gateway
busy and so its recorder, which stands back, from getting there."""
EVENTS = 5
"""Events of an exchange that begins a session: started, request_recorded, response_recorded,
request_completed and, of its loop, loop_recorded."""
MORE = 80
"""Exchanges whose events are more than a buffer and a batch hold."""
BOUND_BY_MODES = (
    sys.executable,
    "-c",
    (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 1, 0, 0, 0);"
        "os.execv(sys.executable, [sys.executable, '-m', 'gateway_sessions', *sys.argv[1:]])"
    ),
)
"""The command, without a superuser's right to write where modes do not let him
(`PR_CAPBSET_DROP` of `CAP_DAC_OVERRIDE`)."""


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when something holds."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - of another process, which tells nobody
            await asyncio.sleep(POLL_SECONDS)


class Gateway:
    """A gateway in a process of its own, and what it has written so far."""

    def __init__(self, storage: Path, running: Service, http: ClientSession) -> None:
        self.running = running
        self._storage, self._http = storage, http
        self.sent = 0

    async def talk(self, count: int, size: int = 10) -> None:
        """Send so many requests, each of a session of its own; all must succeed."""
        for number in range(self.sent, self.sent + count):
            said = f"question {number} " + "x" * size
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": said}]}
            url = f"{self.running.url}/v1/chat/completions"
            async with self._http.post(url, json=body) as answer:
                assert answer.status == 200
                assert await answer.read()
        self.sent += count

    async def readiness(self, status: int) -> str:
        """Wait until the gateway says so of itself; return its problems."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self._http.get(f"{self.running.url}/readyz") as answer:
                    state = await answer.json()
                if answer.status == status:
                    return "; ".join(state["problems"])
                await asyncio.sleep(POLL_SECONDS)

    async def settled(self) -> dict[str, tuple[int, int]]:
        """Wait until what was offered to each writer is written or dropped; return both counts."""
        async with asyncio.timeout(PATIENCE):
            while True:
                books = await self._books()
                sums = {book["written"] + book["dropped"] for book in books.values()}
                if sums == {self.sent * EVENTS} and not any(b["queued"] for b in books.values()):
                    return {name: (b["written"], b["dropped"]) for name, b in books.items()}
                await asyncio.sleep(POLL_SECONDS)

    async def talk_while(self, writer: str) -> None:
        """Send as many requests as overflow a buffer, no faster than a writer follows."""

        async def followed() -> bool:
            return (await self._books())[writer]["written"] == self.sent * EVENTS

        for _ in range(MORE // 10):
            await self.talk(10)
            await until(followed)

    async def drops(self, writer: str) -> None:
        """Wait until a writer has no more room for what is offered to it."""

        async def has_dropped() -> bool:
            return (await self._books())[writer]["dropped"] > 0

        await until(has_dropped)

    async def in_files(self, dropped: int) -> int:
        """Wait until gaps tell of so many dropped events; return how many others are in files."""
        async with asyncio.timeout(PATIENCE):
            while True:
                paths = self._storage.glob("sessions/*/*.jsonl")
                found = [line for path in paths for line in lines(path)]
                if missing(found) == dropped:
                    return sum(line["type"] != "gap" for line in found)
                await asyncio.sleep(POLL_SECONDS)

    async def _books(self) -> dict[str, dict[str, int]]:
        async with self._http.get(f"{self.running.url}/metrics") as answer:
            books: dict[str, dict[str, int]] = (await answer.json())["recording"]
        assert books.pop("recorder")["dropped"] == 0
        return books


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, storage: Path, command: tuple[str, ...] = COMMAND
) -> AsyncIterator[Gateway]:
    """Yield a `Gateway` that records into ``storage``; what it prints is in ``folder``."""
    config = folder / "gateway.yaml"
    recording = {
        "jsonl": {"directory": str(storage / "sessions")},
        "sqlite": {"path": str(storage / "sessions.db")},
        "worker": {"channel_buffer_size": 200, "batch_timeout_ms": 5},
        "writers": [{"type": HURRIED}],
    }
    config.write_text(
        yaml.safe_dump(
            {"interceptors": [], "logging": {"file": None}, "session_recording": recording}
        )
    )
    words = ("serve", "--config", str(config), "--port", "0")
    with (
        (folder / "errors").open("ab") as errors,
        service(*words, cwd=folder, errors=errors, command=command) as running,
    ):
        async with ClientSession() as http:
            yield Gateway(storage, running, http)
        assert running.stop(signal.SIGTERM)[0] == 0


def exchanges(database: Path) -> int:
    """Return how many exchanges are in a database, whole."""
    with closing(sqlite3.connect(database)) as connection:
        query = """
            SELECT COUNT(*) FROM session_stats JOIN session_texts USING (session_id, request_id)
            WHERE success IS NOT NULL AND request_text IS NOT NULL AND response_text IS NOT NULL"""
        return int(connection.execute(query).fetchone()[0])


async def test_a_database_that_another_process_holds(tmp_path: Path) -> None:
    database = tmp_path / "sessions.db"
    async with gateway(tmp_path, tmp_path) as under_test:
        await under_test.talk(5)
        await under_test.settled()
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await under_test.talk_while("jsonl")
            assert "locked" in await under_test.readiness(503)
            await under_test.drops("sqlite")
            other.rollback()
        await under_test.talk(5)
        assert await under_test.readiness(200) == ""
        books = await under_test.settled()
        assert books["jsonl"] == (under_test.sent * EVENTS, 0)
        assert books["sqlite"][1] > 0

        async def has_all() -> bool:
            return exchanges(database) == under_test.sent

        await until(has_all)  # the rest is read from the files, with the writer's next tick
    assert exchanges(database) == under_test.sent


async def test_a_folder_that_can_not_be_written_to(tmp_path: Path) -> None:
    async with gateway(tmp_path, tmp_path, command=BOUND_BY_MODES) as under_test:
        await under_test.talk(5)
        await under_test.settled()
        (day,) = (tmp_path / "sessions").iterdir()
        day.chmod(0o500)
        await under_test.talk_while("sqlite")
        assert "Permission denied" in await under_test.readiness(503)
        await under_test.drops("jsonl")
        day.chmod(0o700)
        await under_test.talk(5)
        assert await under_test.readiness(200) == ""
        books = await under_test.settled()
        assert books["sqlite"] == (under_test.sent * EVENTS, 0)
        written, dropped = books["jsonl"]
        assert dropped > 0
        assert await under_test.in_files(dropped) == written
    assert exchanges(tmp_path / "sessions.db") == under_test.sent


class Disk:
    """A file system of its own that is soon full; where that can not be had, a limit of files."""

    SIZE = 64 * 1024 * 1024

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mounted = False

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount it, where we may."""
        self.folder.mkdir()
        words = ("mount", "-t", "tmpfs", "-o", f"size={self.SIZE},mode=700", "tmpfs")
        with suppress(FileNotFoundError):
            done = subprocess.run([*words, str(self.folder)], capture_output=True, check=False)
            self._mounted = done.returncode == 0
        try:
            yield
        finally:
            if self._mounted:
                subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def fill(self, gateway: int) -> None:
        """Leave no byte free; ``gateway`` is a process whose child may then write no more."""
        if not self._mounted:
            self._limit(gateway, 1)
            return
        with (self.folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(65536)):
                pass

    def free(self, gateway: int) -> None:
        """Leave as much free as there was."""
        if self._mounted:
            (self.folder / "filler").unlink()
        else:
            self._limit(gateway, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(gateway: int, size: int) -> None:
        """Limit the files of all processes that a gateway has started."""
        for process in descendants(gateway):
            _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
            resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))


def descendants(process: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have."""
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            yield child
            yield from descendants(child)


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    with disk.mounted():
        async with gateway(tmp_path, disk.folder) as under_test:
            process = under_test.running.process.pid
            await under_test.talk(5)
            await under_test.settled()
            disk.fill(process)
            await under_test.talk(MORE)
            problems = await under_test.readiness(503)
            assert any(words in problems for words in ("No space left", "File too large"))
            await under_test.drops("jsonl")
            disk.free(process)
            await under_test.talk(5)
            assert await under_test.readiness(200) == ""
            books = await under_test.settled()
            written, dropped = books["jsonl"]
            assert dropped > 0
            assert await under_test.in_files(dropped) == written
