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

from bench.bodies import Talk

PATH = "/v1/chat/completions"
HEADERS = {
    "Host": "bench",
    "Content-Type": "application/json",
    "Authorization": "Bearer sk-bench",
    "User-Agent": "bench",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of load gave: requests per second, latencies in ms, failures."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failures: int


@dataclass(slots=True)
class Talker:
    """Holds the conversations of one target: each run goes on where the one before ended."""

    url: str
    talk: Talk
    asked: int = 0

    def run(self, seconds: float, connections: int) -> Load:
        """Send requests over that many connections, each as soon as the one before is answered."""
        if shutil.which("wrk"):
            load, sent = _wrk(self, seconds, connections)
        else:
            load, sent = uvloop.run(_own(self, seconds, connections))
        self.asked += sent
        return load

    def pace(self, per_second: float, seconds: float, connections: int) -> Load:
        """Send that many requests a second, over connections that take turns."""
        return uvloop.run(_paced(self, per_second, seconds, connections))

    def warm_up(self, connections: int) -> None:
        """Let the first conversations come to their end, which are shorter than later ones."""
        while self.asked < self.talk.conversations * self.talk.turns:
            self.run(1, connections)

    def next(self) -> bytes:
        """Return the body of the next request."""
        self.asked += 1
        return self.talk.request(self.asked - 1)


_WRK_SCRIPT = """
number = %(start)d - 2 -- wrk asks for one request before it begins, which is not sent
local threads = {}
function setup(thread)
  table.insert(threads, thread)
end
local function content(name)
  local file = io.open("%(folder)s/" .. name, "rb")
  local all = file:read("*a")
  file:close()
  return all
end
local before, after, last, later = content("before"), content("after"), content("end"), {}
for turn = 0, %(turns)d - 1 do
  later[turn] = after .. content(tostring(turn)) .. last
end
wrk.method = "POST"
%(headers)s
function request()
  number = number + 1
  if number < 0 then
    return wrk.format()
  end
  local place = number %% %(conversations)d
  local ahead = place %% %(turns)d
  local step = (number - place) / %(conversations)d + ahead
  local turn = step %% %(turns)d
  local name = (step - turn) / %(turns)d * %(conversations)d + place
  if step < %(turns)d then
    turn = turn - ahead
  end
  return wrk.format(nil, nil, nil, before .. string.format("%%.0f", name) .. later[turn])
end
function done(summary, latency, requests)
  local e = summary.errors
  local failures = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("\\nRESULT [%%d, %%d, %%f, %%f, %%d, %%d]\\n", summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), failures,
    threads[1]:get("number")))
end
"""


def _wrk(talker: Talker, seconds: float, connections: int) -> tuple[Load, int]:
    """Return what wrk measured, and how many requests it sent."""
    talk = talker.talk
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, after = talk.opening
        for piece, content in (("before", before), ("after", after), ("end", talk.end)):
            (folder / piece).write_bytes(content)
        for turn, content in enumerate(talk.later):
            (folder / str(turn)).write_bytes(content)
        script = folder / "load.lua"
        script.write_text(
            _WRK_SCRIPT
            % {
                "folder": folder,
                "start": talker.asked,
                "turns": talk.turns,
                "conversations": talk.conversations,
                "headers": "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in HEADERS.items()),
            }
        )
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
        out = subprocess.run(
            [*command, "--timeout", "10s", talker.url + PATH],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    requests, microseconds, p50, p99, failures, number = found
    load = Load(requests / microseconds * 1e6, p50 / 1000, p99 / 1000, failures)
    return load, number + 1 - talker.asked


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
        head = "".join(f"{k}: {v}\r\n" for k, v in HEADERS.items())
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


async def _own(talker: Talker, seconds: float, connections: int) -> tuple[Load, int]:
    latencies: list[float] = []
    failures = 0
    end = time.perf_counter() + seconds
    numbers = itertools.count(talker.asked)

    async def loop() -> None:
        nonlocal failures
        async with connect(talker.url) as connection:
            while time.perf_counter() < end:
                _, taken, ok = await connection.ask(talker.talk.request(next(numbers)))
                latencies.append(taken * 1000)
                failures += not ok

    began = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(connections)))
    cuts = statistics.quantiles(latencies, n=100)
    per_second = len(latencies) / (time.perf_counter() - began)
    return Load(per_second, cuts[49], cuts[98], failures), len(latencies)


async def _paced(talker: Talker, per_second: float, seconds: float, connections: int) -> Load:
    latencies: list[float] = []
    failures = 0
    began = time.perf_counter()

    async def loop(place: int) -> None:
        nonlocal failures
        async with connect(talker.url) as connection:
            due = began + place / per_second
            while due < began + seconds:
                await asyncio.sleep(due - time.perf_counter())
                _, taken, ok = await connection.ask(talker.next())
                latencies.append(taken * 1000)
                failures += not ok
                due += connections / per_second

    await asyncio.gather(*(loop(place) for place in range(connections)))
    cuts = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / (time.perf_counter() - began), cuts[49], cuts[98], failures)
