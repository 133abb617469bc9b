"""From what one request costs here to what a deployment needs.

What is measured: CPU time of a request, memory of a session, and what Redis spends on both.
What is computed from it: processes and stores for a rate, and, by simulation, how long requests
wait for a process that is busy with others.  The assumptions are `ASSUMPTIONS`; they stand beside
the table.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from bench import report, servers
from bench.bodies import talk
from bench.load import Talker
from bench.processes import Server
from bench.redis_server import redis_server
from bench.throughput import CONNECTIONS, VARIANTS

OURS = "everything, traces without bodies"
SECONDS = {True: 1.0, False: 6.0}
RATES = (1_000, 10_000, 100_000)
"""Requests per second of the deployments that are worked out."""
SESSIONS = (100_000, 1_000_000, 100_000_000)
"""Live sessions of these deployments."""
BUSY = 0.6
"""How busy a process should be at most: what is left takes bursts, and the share of a process
that has gone."""
REDIS_BUSY = 0.5
LONG_SHARE, LONG_TIMES = 0.05, 10
"""One request in twenty brings a long history or a large file and takes ten times as long."""
SIMULATED = 200_000
"""Requests of one process that are simulated for each row."""
SEED = 11

ASSUMPTIONS = f"""
- Requests arrive independently of each other (Poisson). One in {1 / LONG_SHARE:.0f} takes
  {LONG_TIMES} times as long as the others; the mean is what was measured.
- A load balancer spreads requests evenly, whatever session they belong to.
- A gateway process is busy for {BUSY:.0%} of the time and a Redis for {REDIS_BUSY:.0%}; the
  recorder's processes have cores of their own.
- The cost of a request does not depend on the number of sessions ([growth](#growth): it hardly
  does), and scopes spread over the shards of a Redis cluster; one scope has one shard.
- Network and disks are not the limit.
""".strip()


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured."""

    gateway_us: float
    """CPU time of a request in a gateway with everything on."""
    recorder_us: float
    """CPU time of a request in the recorder and its writers."""
    shared_us: float
    """CPU time of a request in a gateway that shares sessions through Redis, nothing else on."""
    alone_us: float
    """The same without Redis."""
    redis_us: float
    redis_commands: float
    """Of a request."""
    redis_bytes: float
    """Of a session, two turns long in the mean."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a rate and a number of sessions need."""

    rate: int
    sessions: int
    processes: int
    recorder_cores: int
    redis_shards: int
    redis_gb: float
    wait_p99_ms: float


def run(*, quick: bool) -> str:
    """Measure, compute and return it as Markdown."""
    costs = measured(SECONDS[quick])
    measured_rows = [
        [
            "gateway, everything on but bodies in traces",
            f"{costs.gateway_us:,.0f} CPU µs a request",
        ],
        ["recorder and its writers", f"{costs.recorder_us:,.0f} CPU µs a request"],
        ["gateway, detection only", f"{costs.alone_us:,.0f} CPU µs a request"],
        ["the same, sessions in Redis", f"{costs.shared_us:,.0f} CPU µs a request"],
        ["Redis", f"{costs.redis_us:,.0f} CPU µs a request"],
        ["Redis", f"{costs.redis_commands:.1f} commands a request"],
        ["Redis", f"{costs.redis_bytes / 1024:,.1f} KB a session"],
    ]
    rows = [_row(deployment(costs, *size)) for size in zip(RATES, SESSIONS, strict=True)]
    heads = [
        "requests/s",
        "live sessions",
        "gateway processes (cores)",
        "recorder cores",
        "Redis shards",
        "Redis GB",
        "p99 of waiting, ms",
    ]
    return "\n\n".join(
        [
            report.machine(),
            report.table(["what", "measured"], measured_rows, figures=False),
            "Worked out from that:",
            report.table(heads, rows),
            ASSUMPTIONS,
        ]
    )


def measured(seconds: float) -> Costs:
    """Return what a request costs here."""
    with servers.upstream(stream=False) as upstream:
        with servers.gateway(upstream, VARIANTS[OURS]) as server:
            gateway_us, recorder_us, _ = _cpu_us(server, seconds)
        with servers.gateway(upstream, VARIANTS["detection only"]) as server:
            alone_us, _, _ = _cpu_us(server, seconds)
        with redis_server() as store, contextlib.closing(redis.Redis.from_url(store.url)) as client:
            shared = f"{{enabled: true, backend: redis, connection: '{store.url}'}}"
            block = f"secret: a-secret-of-all-replicas\nsession: {{persistence: {shared}}}"
            with servers.gateway(upstream, f"{VARIANTS['detection only']}\n{block}") as server:
                empty, asked = client.info(), store.cpu_seconds()
                shared_us, _, requests = _cpu_us(server, seconds)
                full = client.info()
                used = (store.cpu_seconds() - asked) / requests * 1e6
    commands = full["total_commands_processed"] - empty["total_commands_processed"]
    # Each conversation that was begun is a session; as many are under way as take turns.
    held = talk(2, stream=False)
    sessions = held.conversations + requests / held.turns
    return Costs(
        gateway_us=gateway_us,
        recorder_us=recorder_us,
        shared_us=shared_us,
        alone_us=alone_us,
        redis_us=used,
        redis_commands=commands / requests,
        redis_bytes=(full["used_memory"] - empty["used_memory"]) / sessions,
    )


def _cpu_us(server: Server, seconds: float) -> tuple[float, float, int]:
    """Return the CPU time of a request, in the gateway and beside it, and how many there were."""
    talker = Talker(server.url, talk(2, stream=False))
    cpu, beside = server.cpu_seconds(), server.children_cpu_seconds()
    talker.warm_up(CONNECTIONS)
    talker.run(seconds, CONNECTIONS)
    requests = talker.asked
    ours, theirs = server.cpu_seconds() - cpu, server.children_cpu_seconds() - beside
    return ours / requests * 1e6, theirs / requests * 1e6, requests


def deployment(costs: Costs, rate: int, sessions: int) -> Deployment:
    """Return what a rate and a number of live sessions need."""
    request_us = costs.gateway_us + max(0.0, costs.shared_us - costs.alone_us)
    processes = max(1, math.ceil(rate * request_us / 1e6 / BUSY))
    redis_cores = rate * costs.redis_us / 1e6 / REDIS_BUSY
    return Deployment(
        rate=rate,
        sessions=sessions,
        processes=processes,
        recorder_cores=math.ceil(rate * costs.recorder_us / 1e6),
        redis_shards=max(1, math.ceil(redis_cores)),
        redis_gb=sessions * costs.redis_bytes / 2**30,
        wait_p99_ms=waiting(rate / processes, request_us / 1e6) * 1000,
    )


def waiting(rate: float, mean_seconds: float, requests: int = SIMULATED) -> float:
    """Return the 99th percentile of how long requests wait for one process, in seconds.

    ``rate`` are its requests per second, ``mean_seconds`` is what one takes.  Each begins when
    it has arrived and the one before is done (Lindley's recursion).
    """
    rng = random.Random(SEED)
    short = mean_seconds / (1 - LONG_SHARE + LONG_SHARE * LONG_TIMES)
    waits: list[float] = []
    wait = 0.0
    for _ in itertools.repeat(None, requests):
        waits.append(wait)
        takes = short * (LONG_TIMES if rng.random() < LONG_SHARE else 1)
        wait = max(0.0, wait + takes - rng.expovariate(rate))
    waits.sort()
    return waits[math.ceil(0.99 * requests) - 1]


def _row(needed: Deployment) -> Sequence[str]:
    return [
        f"{needed.rate:,}",
        f"{needed.sessions:,}",
        f"{needed.processes:,}",
        f"{needed.recorder_cores:,}",
        f"{needed.redis_shards:,}",
        f"{needed.redis_gb:,.1f}",
        f"{needed.wait_p99_ms:.1f}",
    ]
