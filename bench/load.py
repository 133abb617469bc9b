"""Load on a proxy: wrk where it is installed, else a small client of our own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench.bodies import CONVERSATIONS, Turn

PATH = "/v1/chat/completions"
_HEADERS = {
    "Host": "bench",
    "Content-Type": "application/json",
    "Authorization": "Bearer sk-bench",
    "User-Agent": "bench",
}
_OPENERS = 64
"""Connections over which conversations are opened."""
_SPAN = 10_000_000
"""Numbers set aside for each run, so that no two requests of a measurement are equal."""
_numbers = itertools.count(0, _SPAN)


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of load gave: requests per second, latencies in ms, failures."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failures: int


def run(url: str, turn: Turn, seconds: float, connections: int) -> Load:
    """Send turns over that many connections, each as soon as the one before is answered."""
    if shutil.which("wrk"):
        return _wrk(url, turn, seconds, connections)
    return uvloop.run(_own(url, turn, seconds, connections))


_WRK_SCRIPT = """
local count = %(start)d
local function content(name)
  local file = io.open("%(folder)s/" .. name, "rb")
  local all = file:read("*a")
  file:close()
  return all
end
local before, between, after = content("0"), content("1"), content("2")
wrk.method = "POST"
%(headers)s
function request()
  count = count + 1
  local conversation, number = count %% %(conversations)d, string.format("%%.0f", count)
  return wrk.format(nil, nil, nil, before .. conversation .. between .. number .. after)
end
function done(summary, latency, requests)
  local e = summary.errors
  local failures = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("\\nRESULT [%%d, %%d, %%f, %%f, %%d]\\n", summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), failures))
end
"""


def _wrk(url: str, turn: Turn, seconds: float, connections: int) -> Load:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, part in enumerate(turn.newest):
            (folder / str(place)).write_bytes(part)
        headers = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in _HEADERS.items())
        script = folder / "load.lua"
        values = {"folder": folder, "headers": headers, "conversations": CONVERSATIONS}
        script.write_text(_WRK_SCRIPT % (values | {"start": next(_numbers)}))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
        out = subprocess.run(
            [*command, "--timeout", "10s", url + PATH], capture_output=True, text=True, check=True
        ).stdout
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    requests, microseconds, p50, p99, failures = json.loads(line.removeprefix("RESULT "))
    return Load(requests / microseconds * 1e6, p50 / 1000, p99 / 1000, failures)


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends a request and times its answer."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body_at = -1
        self._first = 0.0
        self._waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way."""
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        """Note the first byte of the body, and the end of the answer."""
        self._buffer += data
        if self._body_at < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 or len(self._buffer) == end + 4:
                return
            self._body_at = end + 4
            self._first = time.perf_counter()
        if self._waiting and not self._waiting.done() and self._complete():
            self._waiting.set_result(None)

    def _complete(self) -> bool:
        head = bytes(self._buffer[: self._body_at]).lower()
        if b"transfer-encoding: chunked" in head:
            return self._buffer.endswith(b"\r\n0\r\n\r\n")
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return len(self._buffer) - self._body_at >= length

    async def ask(self, body: bytes) -> tuple[float, float, bool]:
        """Send one request; return seconds to the body's first byte, to its end, and success."""
        head = "".join(f"{k}: {v}\r\n" for k, v in _HEADERS.items())
        lines = f"POST {PATH} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n"
        self._buffer.clear()
        self._body_at = -1
        self._waiting = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(lines.encode() + body)
        await asyncio.wait_for(self._waiting, 10)
        ok = self._buffer.startswith(b"HTTP/1.1 200 ")
        return self._first - began, time.perf_counter() - began, ok


@contextlib.asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """Open a connection to the server of that URL, and close it in the end."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_connection(
        Connection, parts.hostname or "", parts.port or 80
    )
    try:
        yield connection
    finally:
        transport.close()


def open_conversations(url: str, turn: Turn) -> None:
    """Hold the exchange before the measured turn, in every conversation."""

    async def work() -> None:
        left = iter(range(CONVERSATIONS))

        async def ask() -> None:
            async with connect(url) as connection:
                for number in left:
                    await connection.ask(turn.first(number))

        await asyncio.gather(*(ask() for _ in range(_OPENERS)))

    uvloop.run(work())


async def _own(url: str, turn: Turn, seconds: float, connections: int) -> Load:
    latencies: list[float] = []
    failures = 0
    end = time.perf_counter() + seconds
    numbers = itertools.count(next(_numbers))

    async def loop() -> None:
        nonlocal failures
        async with connect(url) as connection:
            while time.perf_counter() < end:
                _, taken, ok = await connection.ask(turn.next(next(numbers)))
                latencies.append(taken * 1000)
                failures += not ok

    began = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(connections)))
    cuts = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / (time.perf_counter() - began), cuts[49], cuts[98], failures)
