"""How cost grows: with sessions, history, body, streams, workers and replicas.

Each curve is a table and a plot in docs/performance.md.  CPU time is that of the process that has
the connections, so that curves do not depend on what else runs on the machine.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import uvloop

from bench import load, plots, quotas, report, servers, streams
from bench.bodies import conversation, encode, talk
from bench.core import Core
from bench.detection import measured, populate
from bench.load import Talker
from bench.plots import Curve
from bench.processes import Server
from bench.redis_server import redis_server
from bench.throughput import BARE, CONNECTIONS, VARIANTS

OURS = "everything, traces without bodies"
SECONDS = {True: 0.5, False: 3.0}
"""Of load for one point, in a quick run and in a real one."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What was measured of one dimension."""

    title: str
    across: str
    up: str
    curves: Mapping[str, Curve]
    logarithmic: bool = True


def sessions(*, quick: bool) -> Growth:
    """Return the time of one detection by the number of live sessions."""
    counts = (100, 1_000) if quick else (100, 1_000, 10_000, 100_000, 1_000_000)
    seeds = itertools.count()
    core = Core(2 * counts[-1])
    points: dict[str, list[tuple[float, float]]] = {
        "next turn, 10 messages": [],
        "first request": [],
    }
    for live in counts:
        populate(core, live)
        for messages, curve in zip((10, 2), points.values(), strict=True):
            times, _ = measured(core, messages, 100, seeds)
            curve.append((live, statistics.median(times)))
    return Growth("Detection by live sessions", "live sessions", "µs", points)


def history(*, quick: bool) -> Growth:
    """Return the time of one detection, and of parsing alone, by the length of the history."""
    counts = (2, 20) if quick else (2, 10, 50, 200, 1_000, 2_000)
    seeds = itertools.count()
    core = Core(100_000)
    detection, parsing = [], []
    for messages in counts:
        ours, theirs = measured(core, messages, 30, seeds)
        detection.append((float(messages), statistics.median(ours)))
        parsing.append((float(messages), statistics.median(theirs)))
    curves = {"detection": detection, "orjson.loads": parsing}
    return Growth("Detection by length of the history", "messages of 500 characters", "µs", curves)


def bodies(*, quick: bool) -> Growth:
    """Return the CPU time of one request by the size of its body."""
    sizes = (1, 10) if quick else (1, 10, 100, 1_000, 10_000)
    with servers.upstream(stream=False) as upstream, contextlib.ExitStack() as stack:
        targets = {
            BARE: stack.enter_context(servers.helper("proxy", upstream)),
            f"gateway, {OURS}": stack.enter_context(servers.gateway(upstream, VARIANTS[OURS])),
        }
        curves = {
            name: [(kb, uvloop.run(_cpu_us(one, kb, SECONDS[quick]))) for kb in sizes]
            for name, one in targets.items()
        }
    return Growth("A request by size of its body", "KB of body", "CPU µs", curves)


async def _cpu_us(server: Server, kilobytes: int, seconds: float) -> float:
    """Return the CPU time of requests that come one after the other, each another body."""
    number = 0

    def body() -> bytes:
        request = conversation(1, number, 1024 * kilobytes) if kilobytes < 100 else large
        return encode(request).replace(b'"content":"', b'"content":"%d ' % number, 1)

    large = conversation(1, kilobytes, 1024 * kilobytes)
    async with load.connect(server.url) as connection:
        for number in range(20):  # noqa: B007 - `body` reads it
            await connection.ask(body())
        began, cpu, asked = time.monotonic(), server.cpu_seconds(), 0
        while time.monotonic() - began < seconds:
            number += 1
            await connection.ask(body())
            asked += 1
        return (server.cpu_seconds() - cpu) / asked * 1e6


def open_streams(*, quick: bool) -> Growth:
    """Return the CPU time of one chunk by the number of streams that are open."""
    counts = (1, 10) if quick else (1, 10, 100, 1_000, 5_000)
    curves: dict[str, list[tuple[float, float]]] = {BARE: [], OURS: []}
    for count in counts:
        seconds = max(SECONDS[quick], min(20.0, 500 / count))
        for name, cost in streams.costs(count, seconds, [OURS]).items():
            curves[name].append((count, max(cost.cpu_us, 1.0)))
    return Growth("A chunk by open streams", "streams", "CPU µs a chunk", curves)


def workers(*, quick: bool) -> Growth:
    """Return the rate by the number of worker processes, each with the same part of a core.

    Where processes can not be limited, it is what their CPU time comes to.
    """
    points: list[tuple[float, float]] = []
    told = f"gateway, {quotas.PART:.0%} of a core a process"
    with servers.upstream(stream=False) as upstream:
        for count in (1, 2) if quick else (1, 2, 4):
            settings = VARIANTS["detection only"]
            with servers.gateway(upstream, settings, f"server.workers={count}") as server:
                talker = Talker(server.url, talk(2, stream=False))
                talker.warm_up(CONNECTIONS)
                with quotas.limited(server.pids()) as is_limited:
                    rate, cpu = _rate(server, talker, 4 * SECONDS[quick])
                if not is_limited:
                    rate, told = count * quotas.PART / cpu, "gateway, from CPU time"
                points.append((count, rate))
    return Growth("Rate by workers", "workers", "requests/s", {told: points}, logarithmic=False)


def replicas(*, quick: bool) -> Growth:
    """Return the CPU time of one request by the number of replicas that share a Redis."""
    gateway, store = [], []
    for count in (1, 2, 3):
        with (
            servers.upstream(stream=False) as upstream,
            redis_server() as redis,
            contextlib.ExitStack() as stack,
        ):
            shared = f"{{enabled: true, backend: redis, connection: '{redis.url}'}}"
            settings = (
                f"{VARIANTS['detection only']}\nsecret: a-secret-of-all-replicas\n"
                f"session: {{persistence: {shared}}}"
            )
            targets = [
                stack.enter_context(servers.gateway(upstream, settings)) for _ in range(count)
            ]
            ours, theirs = _shared_cpu_us(targets, redis, SECONDS[quick])
            gateway.append((float(count), ours))
            store.append((float(count), theirs))
    curves = {"gateway": gateway, "Redis": store}
    return Growth("A request by replicas", "replicas", "CPU µs", curves, logarithmic=False)


def _rate(server: Server, talker: Talker, seconds: float) -> tuple[float, float]:
    """Return requests per second, and the CPU seconds of one in all processes."""
    before = server.cpu_seconds() + server.children_cpu_seconds()
    load = talker.run(max(1, seconds), CONNECTIONS)
    after = server.cpu_seconds() + server.children_cpu_seconds()
    return load.per_second, (after - before) / (load.per_second * max(1, seconds))


def _shared_cpu_us(targets: Sequence[Server], redis: Server, seconds: float) -> tuple[float, float]:
    """Return the CPU time of a request in the gateways and in Redis, in µs.

    The replicas get the requests of the same conversations in turns.
    """
    talker = Talker(targets[0].url, talk(2, stream=False))
    talker.warm_up(CONNECTIONS)
    before = [server.cpu_seconds() for server in (*targets, redis)]
    requests = 0.0
    for number in range(2 * len(targets)):
        talker.url = targets[number % len(targets)].url
        requests += talker.run(max(1, seconds), CONNECTIONS).per_second * max(1, seconds)
    used = [
        server.cpu_seconds() - began
        for server, began in zip((*targets, redis), before, strict=True)
    ]
    return sum(used[:-1]) / requests * 1e6, used[-1] / requests * 1e6


DIMENSIONS: Mapping[str, Callable[..., Growth]] = {
    "sessions": sessions,
    "history": history,
    "body": bodies,
    "streams": open_streams,
    "workers": workers,
    "replicas": replicas,
}


def run(*, quick: bool) -> str:
    """Measure everything, draw the plots and return tables and pictures as Markdown."""
    blocks = [report.machine()]
    for name, measure in DIMENSIONS.items():
        growth = measure(quick=quick)
        if not quick:
            plots.draw(
                name,
                growth.title,
                growth.across,
                growth.up,
                growth.curves,
                logarithmic=growth.logarithmic,
            )
            blocks.append(f"![{growth.title}](images/growth-{name}.svg)")
        heads = [growth.across, *(f"{curve}: {growth.up}" for curve in growth.curves)]
        blocks.append(report.table(heads, _rows(growth.curves)))
    return "\n\n".join(blocks)


def _rows(curves: Mapping[str, Curve]) -> Iterator[Sequence[str]]:
    for points in zip(*curves.values(), strict=True):
        yield [f"{points[0][0]:,.0f}", *(f"{y:,.1f}" for _, y in points)]
