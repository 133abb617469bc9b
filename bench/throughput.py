"""Requests per second, latency and time to first byte of the gateway against a bare proxy.

The bare proxy is what aiohttp and uvloop need to pass a request through.  Gateway and bare
proxy run at the same time on the same upstream and get load one after the other, so that a
machine that slows down slows both; the ratio is taken within each round, and its median
reported.  The load is many conversations that grow turn by turn, see `bench.bodies.Talk`.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import uvloop

from bench import load, report, servers
from bench.bodies import talk
from bench.load import Talker
from bench.processes import Server

SIZES_KB = (2, 10, 100)
CONNECTIONS = 32
STREAM_CONNECTIONS = 96
"""As many streams as fill the bare proxy nearly; beyond that, proxies fall behind and find
several events in one read, which makes the slower ones look better."""

ROUNDS = {True: (2, 1.0, 50), False: (3, 3.0, 120)}
"""Of a quick run and of a real one: rounds, seconds of load in each, single requests."""

BARE = "bare proxy"
HEADS = ("request", "target", "req/s", "of bare", "CPU µs a request", "recorder's")
_OFF = "session_recording: {enabled: false}"
_ON = "jsonl: {directory: sessions}, sqlite: {path: sessions.db}"
_TRACED = "interceptors: [{type: redact}, {type: trace%s}, {type: prometheus}]"
_STALLED = (
    "jsonl: {enabled: false}, sqlite: {enabled: false},"
    " writers: [{type: 'bench.recording:Stalled'}]"
)

VARIANTS: Mapping[str, str] = {
    "detection only": f"interceptors: [{{type: prometheus, enabled: false}}]\n{_OFF}",
    "detection and metrics": f"interceptors: []\n{_OFF}",
    "trace and metrics": f"{_TRACED % ''}\n{_OFF}",
    "recording": f"interceptors: []\nsession_recording: {{{_ON}}}",
    "recording of metadata": f"interceptors: []\nsession_recording: {{content: metadata, {_ON}}}",
    "recording, stalled writer": f"interceptors: []\nsession_recording: {{{_STALLED}}}",
    "everything, traces without bodies": (
        f"{_TRACED % ', config: {include_body: none}'}\nsession_recording: {{{_ON}}}"
    ),
    "everything": f"{_TRACED % ''}\nsession_recording: {{{_ON}}}",
}
"""What the gateway is run with: name and YAML of its configuration.  Metrics run unless they are
switched off, and look at every exchange."""


@dataclass(slots=True)
class Series:
    """The runs of one target, in order."""

    loads: list[load.Load] = field(default_factory=list)
    first_bytes_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    """CPU time of the process that has the connections, per request and run, in µs."""
    beside_us: list[float] = field(default_factory=list)
    """The same of its children: the recorder and its writers."""

    def add(self, server: Server, talker: Talker, seconds: float, connections: int) -> None:
        """Add a run."""
        before, beside = server.cpu_seconds(), server.children_cpu_seconds()
        one = talker.run(seconds, connections)
        answered = max(1.0, one.per_second * seconds)
        self.loads.append(one)
        self.cpu_us.append((server.cpu_seconds() - before) / answered * 1e6)
        self.beside_us.append((server.children_cpu_seconds() - beside) / answered * 1e6)


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    rounds, seconds, pings = ROUNDS[quick]
    speed: list[Sequence[str]] = []
    first: list[Sequence[str]] = []
    for stream in (False, True):
        with _targets(stream) as targets:
            for size in SIZES_KB:
                conversations = talk(size, stream=stream)
                talkers = {name: Talker(one.url, conversations) for name, one in targets.items()}
                series = _measure(targets, talkers, stream, rounds, seconds, pings)
                kind = f"{size} KB, {'streamed' if stream else 'plain'}"
                speed += speed_rows(kind, series)
                if stream:
                    first += _first_byte_rows(kind, series)
    return "\n\n".join(
        [
            report.machine(),
            report.table([*HEADS, "p50 ms", "p99 ms", "failed"], speed),
            "Time to the first byte of a streamed body, one request at a time:",
            report.table(["request", "target", "median ms", "added ms"], first),
        ]
    )


@contextlib.contextmanager
def _targets(stream: bool) -> Iterator[dict[str, Server]]:
    """Run upstream, bare proxy and every variant of the gateway; yield all but the upstream."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(stream))
        targets = {BARE: stack.enter_context(servers.helper("proxy", upstream))}
        for name, settings in VARIANTS.items():
            targets[name] = stack.enter_context(servers.gateway(upstream, settings))
        yield targets


def _measure(
    targets: Mapping[str, Server],
    talkers: Mapping[str, Talker],
    stream: bool,
    rounds: int,
    seconds: float,
    pings: int,
) -> dict[str, Series]:
    series = {name: Series() for name in talkers}
    connections = STREAM_CONNECTIONS if stream else CONNECTIONS
    for talker in talkers.values():
        talker.warm_up(connections)
    for number in range(rounds):
        for name in list(talkers)[:: 1 if number % 2 else -1]:
            series[name].add(targets[name], talkers[name], seconds, connections)
    if stream:
        uvloop.run(_first_bytes(talkers, series, pings))
    return series


async def _first_bytes(
    talkers: Mapping[str, Talker], series: dict[str, Series], pings: int
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        connections = {
            name: await stack.enter_async_context(load.connect(talker.url))
            for name, talker in talkers.items()
        }
        for _ in range(pings):
            for name, connection in connections.items():
                first, _, _ = await connection.ask(talkers[name].next())
                series[name].first_bytes_ms.append(first * 1000)


def speed_rows(kind: str, series: Mapping[str, Series]) -> Iterator[Sequence[str]]:
    """Yield the row of each target under `HEADS`, then latencies and failures."""
    bare = series[BARE].loads
    for name, one in series.items():
        pairs = zip(one.loads, bare, strict=True)
        ratio = statistics.median(ours.per_second / theirs.per_second for ours, theirs in pairs)
        yield [
            kind,
            name,
            f"{statistics.median(x.per_second for x in one.loads):,.0f}",
            f"{ratio:.2f}",
            f"{statistics.median(one.cpu_us):.0f}",
            f"{statistics.median(one.beside_us):.0f}",
            f"{statistics.median(x.p50_ms for x in one.loads):.1f}",
            f"{statistics.median(x.p99_ms for x in one.loads):.1f}",
            str(sum(x.failures for x in one.loads)),
        ]


def _first_byte_rows(kind: str, series: Mapping[str, Series]) -> Iterator[Sequence[str]]:
    bare = statistics.median(series[BARE].first_bytes_ms)
    for name, one in series.items():
        median = statistics.median(one.first_bytes_ms)
        yield [kind, name, f"{median:.2f}", f"{median - bare:+.2f}"]
