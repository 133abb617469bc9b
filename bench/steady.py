"""Latency at a steady rate, which the machine has room for: what clients wait for the gateway.

Under as much load as there can be, latency says no more than throughput.  Here requests come at
their own pace, so that it says what a single one costs, and whether anything beside traffic, as a
writer that stands still, makes it wait.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench import report, servers
from bench.bodies import talk
from bench.load import Load, Talker
from bench.throughput import BARE, CONNECTIONS, VARIANTS

SIZE_KB = 2
RATES = (500, 2_000)
"""Requests a second: a tenth and less than half of what the slowest of the targets can take."""
ROUNDS = {True: (1, 1.0), False: (5, 4.0)}
"""Of a quick run and of a real one: rounds, and seconds of load in each."""
OFF = "detection and metrics"
TARGETS = (
    OFF,
    "recording",
    "recording, stalled writer",
    "everything, traces without bodies",
)
HEADS = ("requests/s", "target", "p50 ms", "p99 ms", "p99, recording off", "failed")


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    rounds, seconds = ROUNDS[quick]
    conversations = talk(SIZE_KB, stream=False)
    rows: list[Sequence[str]] = []
    with servers.upstream(stream=False) as upstream, contextlib.ExitStack() as stack:
        targets = {BARE: stack.enter_context(servers.helper("proxy", upstream))}
        for name in TARGETS:
            targets[name] = stack.enter_context(servers.gateway(upstream, VARIANTS[name]))
        talkers = {name: Talker(one.url, conversations) for name, one in targets.items()}
        for talker in talkers.values():
            talker.warm_up(CONNECTIONS)
        for rate in RATES:
            loads: dict[str, list[Load]] = {name: [] for name in talkers}
            for number in range(rounds):
                for name in list(talkers)[:: 1 if number % 2 else -1]:
                    loads[name].append(talkers[name].pace(rate, seconds, CONNECTIONS))
            rows += latency_rows(rate, loads)
    return f"{report.machine()}\n\n{report.table(HEADS, rows)}"


def latency_rows(rate: int, loads: Mapping[str, Sequence[Load]]) -> Iterator[Sequence[str]]:
    """Yield the row of each target under `HEADS`."""
    off = loads[OFF]
    for name, ours in loads.items():
        pairs = zip(ours, off, strict=True)
        ratio = statistics.median(one.p99_ms / other.p99_ms for one, other in pairs)
        yield [
            f"{rate:,}",
            name,
            f"{statistics.median(one.p50_ms for one in ours):.2f}",
            f"{statistics.median(one.p99_ms for one in ours):.2f}",
            f"{ratio:.2f}",
            str(sum(one.failures for one in ours)),
        ]
