"""Many streams at once: memory of each, and CPU time of each chunk, beside a bare proxy.

Every stream is a conversation of its own and gets an event a second, so all of them are open
together.  Client, upstream and proxy are processes of their own; what is counted is the proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench import report, servers
from bench.bodies import talk
from bench.load import HEADERS, PATH
from bench.processes import Server
from bench.throughput import BARE, VARIANTS

STREAMS = (100, 1_000, 5_000)
SECONDS = 15.0
INTERVAL_SECONDS = 1.0
TARGETS = ("detection only", "recording", "everything, traces without bodies")
_OPENED_AT_ONCE = 100
"""Connections opened in one go: fewer than a listener lets wait."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What streams took of a proxy."""

    opened: int
    chunks: int
    cpu_us: float
    """Of one chunk."""
    beside_us: float
    """Of one chunk, in the processes that the proxy has started."""
    memory_kb: float
    """Of one stream."""


class _Client:
    """Counts streams that have begun, and the chunks of all."""

    def __init__(self, streams: int) -> None:
        self.all_begun = asyncio.Event()
        self.chunks = 0
        self.lost = 0
        """Streams that ended before they began."""
        self._missing = streams

    def began(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.all_begun.set()

    def ended(self) -> None:
        self.lost += 1
        self.began()

    async def open(self, url: str, body: bytes) -> asyncio.BaseTransport:
        parts = urlsplit(url)
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: _Reader(self, _request(body)), parts.hostname or "", parts.port or 80
        )
        return transport


class _Reader(asyncio.Protocol):
    """One stream."""

    def __init__(self, client: _Client, request: bytes) -> None:
        self._client = client
        self._request = request
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._begun:
            self._begun = True
            self._client.ended()

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._client.began()
        self._client.chunks += data.count(b"data: ")


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    numbers, seconds = ((20,), 2.0) if quick else (STREAMS, SECONDS)
    rows: list[Sequence[str]] = []
    for streams in numbers:
        for name, cost in costs(streams, seconds).items():
            rows.append(
                [
                    f"{streams:,}",
                    name,
                    f"{cost.opened:,}",
                    f"{cost.chunks:,}",
                    f"{cost.cpu_us:.0f}",
                    f"{cost.beside_us:.0f}",
                    f"{cost.memory_kb:.0f}",
                ]
            )
    heads = ["streams", "target", "opened", "chunks", "CPU µs a chunk", "recorder's", "KB a stream"]
    return f"{report.machine()}\n\n{report.table(heads, rows)}"


def costs(streams: int, seconds: float, targets: Sequence[str] = TARGETS) -> dict[str, Cost]:
    """Return what that many streams cost the bare proxy and each target, one after the other."""
    events = round(4 * (seconds + streams / 500) / INTERVAL_SECONDS) + 20  # open to the end
    found = {}
    with servers.helper("upstream", f"{INTERVAL_SECONDS}", f"{events}") as upstream:
        with servers.helper("proxy", upstream.url) as server:
            found[BARE] = uvloop.run(_cost(server, streams, seconds))
        for name in targets:
            with servers.gateway(upstream.url, VARIANTS[name]) as server:
                found[name] = uvloop.run(_cost(server, streams, seconds))
    return found


async def _cost(server: Server, streams: int, seconds: float) -> Cost:
    client = _Client(streams)
    memory = server.resident()
    conversations = talk(2, stream=True)
    async with contextlib.AsyncExitStack() as stack:
        transports: list[asyncio.BaseTransport] = []
        for first in range(0, streams, _OPENED_AT_ONCE):
            numbers = range(first, min(streams, first + _OPENED_AT_ONCE))
            opening = [client.open(server.url, conversations.request(n)) for n in numbers]
            for transport in await asyncio.gather(*opening):
                stack.callback(transport.close)
                transports.append(transport)
        await client.all_begun.wait()
        if client.lost:
            raise RuntimeError(f"{client.lost} streams ended before they began")
        await asyncio.sleep(INTERVAL_SECONDS)
        chunks, cpu, beside = client.chunks, server.cpu_seconds(), server.children_cpu_seconds()
        await asyncio.sleep(seconds)
        taken = client.chunks - chunks
        if any(transport.is_closing() for transport in transports):
            raise RuntimeError("some streams ended before they were measured")
        return Cost(
            streams,
            taken,
            cpu_us=(server.cpu_seconds() - cpu) / taken * 1e6,
            beside_us=(server.children_cpu_seconds() - beside) / taken * 1e6,
            memory_kb=(server.resident() - memory) / streams / 1024,
        )


def _request(body: bytes) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return f"POST {PATH} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
