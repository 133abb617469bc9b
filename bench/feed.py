"""The live feed of the recording API: many subscribers, all of whom want every event.

One process is the gateway, one has the subscribers, and one the client that reports.  The time of
an event goes from just before it is sent until a subscriber has it, so it contains the journal's
write to the disk.  Of events that arrive together, all are taken to be as late as the oldest.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import aiohttp
import uvloop

from bench import report
from bench.processes import Server

SUBSCRIBERS = 1000
PER_SECOND = 200
SECONDS = 20.0
SESSION = "bench"
_READY = re.compile(r"Ready on http://127\.0\.0\.1:(\d+)")
_TIME = re.compile(rb'"content":"(\d+)')
_HANDSHAKE = (
    b"GET /recording/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def run(*, quick: bool) -> str:
    """Measure and return it as Markdown."""
    subscribers, seconds = (200, 3.0) if quick else (SUBSCRIBERS, SECONDS)
    with tempfile.TemporaryDirectory() as folder, _started(Path(folder)) as server:
        try:
            port = _port(server)
            row = _measured(port, subscribers, seconds)
            process = Server("", server.pid)
            memory, cpu = process.peak() / 2**20, process.cpu_seconds() / seconds
        finally:
            server.send_signal(signal.SIGTERM)
    heads = ["subscribers", "events/s", "deliveries", "missed", "p50 ms", "p99 ms", "max ms"]
    heads += ["gateway MB", "gateway CPU"]
    table = report.table(heads, [[*row, f"{memory:.0f}", f"{cpu:.0%} of a core"]])
    return f"{report.machine()}\n\n{table}"


def _started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway_sessions", "serve", "--port", "0"],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    found = _READY.search(server.stdout.readline())
    assert found is not None
    return int(found[1])


def _measured(port: int, subscribers: int, seconds: float) -> list[str]:
    """Return what the subscribers say, as a row."""
    count = int(PER_SECOND * seconds)
    arguments = ["-m", "bench.feed", str(port), str(subscribers), str(count)]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True
    ) as listener:
        assert listener.stdout is not None
        listener.stdout.readline()  # all are subscribed
        uvloop.run(_send(port, count))
        got = json.loads(listener.stdout.readline())
    return [
        f"{subscribers:,}",
        f"{PER_SECOND}",
        f"{got['delivered']:,} of {subscribers * count:,}",
        f"{got['missed']:,}",
        *(f"{got[name]:.1f}" for name in ("p50", "p99", "max")),
    ]


async def _send(port: int, count: int) -> None:
    """Report messages at an even rate, each with the time at which it is sent."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://localhost:{port}/recording/ws") as socket,
    ):
        event = {"type": "session_start", "session_id": SESSION, "provider": "bench"}
        await socket.send_json({"type": "events", "events": [event]})
        loop = asyncio.get_running_loop()
        answers = loop.create_task(_answers(socket, count + 1))
        began = loop.time()
        for number in range(count):
            await asyncio.sleep(began + number / PER_SECOND - loop.time())
            event = {
                "type": "message_add",
                "session_id": SESSION,
                "message_id": f"m{number}",
                "role": "user",
                "content": f"{time.time_ns()} {'x' * 100}",
            }
            await socket.send_json({"type": "events", "events": [event]})
        await answers


async def _answers(socket: aiohttp.ClientWebSocketResponse, count: int) -> None:
    """Return when so many events are acknowledged."""
    async for message in socket:
        count -= message.data.count('"ack"')
        if count <= 0:
            return


class _Subscriber(asyncio.Protocol):
    """Counts events without taking frames apart, which would cost more than the gateway does."""

    def __init__(self, hall: _Hall) -> None:
        self._hall = hall
        self._transport: asyncio.Transport | None = None
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses
        self._transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if not self._greeted and b"\r\n\r\n" in data:
            self._greeted = True
            assert self._transport is not None
            text = json.dumps({"type": "subscribe", "session_id": SESSION}).encode()
            head = struct.pack("!BB", 0x81, 0x80 | len(text))
            self._transport.write(head + bytes(4) + text)
        if b'"subscribed"' in data:
            self._hall.subscribed()
        if data.startswith(b"\x89\x00"):
            assert self._transport is not None
            self._transport.write(b"\x8a\x80\x00\x00\x00\x00")
        self._hall.heard(data)


class _Hall:
    """All subscribers together."""

    def __init__(self, subscribers: int, count: int) -> None:
        self._waiting = subscribers
        self._wanted = subscribers * count
        self.ready, self.done = asyncio.Event(), asyncio.Event()
        self._delivered = self._missed = 0
        self._times: list[tuple[float, int]] = []

    def subscribed(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self.ready.set()

    def heard(self, data: bytes) -> None:
        count = data.count(b'"message_add"')
        if not count:
            return
        first = _TIME.search(data)
        if first is not None:
            self._times.append(((time.time_ns() - int(first[1])) / 1e6, count))
        self._delivered += count
        for lost in re.findall(rb'"missed":(\d+)', data):
            self._missed += int(lost)
        if self._delivered + self._missed >= self._wanted:
            self.done.set()

    def result(self) -> dict[str, float]:
        times = [ms for ms, count in self._times for _ in range(count)]
        cuts = statistics.quantiles(times, n=100)
        return {
            "delivered": self._delivered,
            "missed": self._missed,
            "p50": cuts[49],
            "p99": cuts[98],
            "max": max(times),
        }


async def _listen(port: int, subscribers: int, count: int) -> None:
    hall = _Hall(subscribers, count)
    loop = asyncio.get_running_loop()
    for _ in range(subscribers):
        await loop.create_connection(lambda: _Subscriber(hall), "127.0.0.1", port)
    await hall.ready.wait()
    print("ready", flush=True)
    try:
        async with asyncio.timeout(count / PER_SECOND * 3 + 10):
            await hall.done.wait()
    except TimeoutError:
        pass
    print(json.dumps(hall.result()), flush=True)


if __name__ == "__main__":
    uvloop.run(_listen(*map(int, sys.argv[1:])))
