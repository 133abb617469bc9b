"""A long run: whether memory, descriptors or anything else grows with the requests answered.

Most of the load comes from wrk; a client beside it breaks off one request in twenty, before or
in the midst of a streamed answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import uvloop

from bench import report, servers
from bench.bodies import talk
from bench.load import HEADERS, PATH, Talker
from bench.processes import Server
from bench.throughput import CONNECTIONS

REQUESTS = 2_000_000
SESSIONS = 100_000
ABORTED = 0.05
"""The share of requests that their client breaks off."""
SLICE_SECONDS = {True: 1.0, False: 20.0}
WARM_UP = 0.25
"""The share of the run after which caches and sessions are as full as they get."""
SETTINGS = (
    f"session: {{max_sessions: {SESSIONS}}}\n"
    "interceptors: [{type: redact}, {type: trace, config: {include_body: none}},"
    " {type: prometheus}]\n"
    "session_recording: {jsonl: {directory: sessions}, sqlite: {path: sessions.db}}"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway's process after some requests."""

    requests: int
    memory: int
    """Bytes."""
    descriptors: int


def run(*, quick: bool) -> str:
    """Measure and return it as Markdown."""
    requests = 5_000 if quick else REQUESTS
    with (
        servers.upstream(stream=False) as upstream,
        servers.helper("upstream", "0.01", "20") as streaming,
        servers.gateway(None, f"{_both(upstream, streaming.url)}\n{SETTINGS}") as server,
    ):
        samples, aborted = soak(server, requests, SLICE_SECONDS[quick])
    rows = [
        [f"{sample.requests:,}", f"{sample.memory / 2**20:.0f}", f"{sample.descriptors}"]
        for sample in _spread(samples)
    ]
    table = report.table(["requests", "gateway MB", "descriptors"], rows)
    grown = slope(samples[int(len(samples) * WARM_UP) :]) * 100_000 / 2**20
    return (
        f"{report.machine()}\n\n{table}\n\nAfter the first quarter memory grows by {grown:.2f} MB"
        f" in 100,000 requests; {aborted:,} requests were broken off by their client."
    )


def soak(server: Server, requests: int, slice_seconds: float) -> tuple[list[Sample], int]:
    """Send that many requests; return a sample after each slice, and how many were broken off."""
    talker = Talker(server.url, talk(2, stream=False))
    samples: list[Sample] = []
    with _Aborter(server.url) as aborter:
        while talker.asked + aborter.aborted < requests:
            sent = talker.asked
            talker.run(slice_seconds, CONNECTIONS)
            aborter.owe(round((talker.asked - sent) * ABORTED))
            done = talker.asked + aborter.aborted
            samples.append(Sample(done, server.resident(), server.descriptors()))
    return samples, aborter.aborted


def slope(samples: Sequence[Sample]) -> float:
    """Return by how many bytes memory grows with a request, by least squares."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(sample.requests for sample in samples) / len(samples)
    mean_y = sum(sample.memory for sample in samples) / len(samples)
    across = sum((s.requests - mean_x) * (s.memory - mean_y) for s in samples)
    return across / sum((s.requests - mean_x) ** 2 for s in samples)


def _spread(samples: Sequence[Sample], most: int = 10) -> Sequence[Sample]:
    """Return a few samples, evenly, the last among them."""
    step = max(1, -(-len(samples) // most))
    return samples[::-1][::step][::-1]


def _both(plain: str, streaming: str) -> str:
    """Return the upstreams as YAML: those who will break off ask for streams."""
    match = "{headers: {x-bench-stream: wanted}}"
    return f"upstreams: [{{url: '{streaming}', match: {match}}}, {{url: '{plain}'}}]"


class _Aborter:
    """A client on a thread of its own that breaks requests off, as many as it is told to."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._talk = talk(2, stream=True)
        self._numbers = itertools.count()
        self._random = random.Random(5)
        self._owed: asyncio.Queue[int] = asyncio.Queue()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self.aborted = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.owe(0)
        self._thread.join()
        self._loop.close()

    def owe(self, number: int) -> None:
        """Break that many more requests off; none ends it."""
        self._loop.call_soon_threadsafe(self._owed.put_nowait, number)

    async def _run(self) -> None:
        while number := await self._owed.get():
            for _ in range(number):
                await self._abort(self._talk.request(next(self._numbers)))
                self.aborted += 1

    async def _abort(self, body: bytes) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        head += f"X-Bench-Stream: wanted\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + body)
        if self._random.random() < 0.5:  # the others leave before there is an answer
            await reader.read(1)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
