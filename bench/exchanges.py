"""A run of many exchanges through the gateway that records all it can, and what is left of them.

Throughput is compared with the bare proxy's as `bench.throughput` does it, in the same run; then
the files and the database are counted, so that what was offered to each writer is known to be
there or to be among the drops that the gateway owns up to.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from bench import report, servers
from bench.bodies import talk
from bench.load import Talker
from bench.processes import Server
from bench.throughput import BARE, CONNECTIONS, HEADS, VARIANTS, Series, speed_rows

EXCHANGES = 100_000
SECONDS = {True: 1.0, False: 5.0}
"""Of load before it is another target's turn."""
KINDS = {
    "trace and metrics": "off",
    "recording of metadata": "metadata",
    "everything, traces without bodies": "everything",
}
"""The targets beside the bare proxy, of `bench.throughput`, and the folder of each."""
WRITERS = ("jsonl", "sqlite")
RECORDER = "recorder"
"""As the gateway calls what is on its way to the recorder, before any writer: the beginning of an
exchange and its end."""
SETTLE_SECONDS = 300.0
"""What a recorder gets for what waits when the load ends."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one writer was offered and what can be found of it."""

    writer: str
    offered: int
    """Events; of the recorder's own queue, beginnings and ends of exchanges."""
    dropped: int
    """Of these, as the gateway counts them."""
    found: str
    """What its files hold, counted there."""
    megabytes: float


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    exchanges = 2_000 if quick else EXCHANGES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _targets(folder) as targets:
            series = _loaded(targets, exchanges, SECONDS[quick])
            kept: list[Sequence[str]] = []
            for one, place in KINDS.items():
                # Counted before they end, when each session that is live gets one more event.
                url = targets[one].url
                seconds = settled(url)
                sent = requests.get(f"{url}/metrics", timeout=30).json()["requests"]["total"]
                rows = left(folder / place, counters(url), sent) if place != "off" else ()
                kept += [[one, *_row(each), f"{seconds:.1f}"] for each in rows]
    heads = ["target", "writer", "offered", "dropped", "found", "MB", "written after s"]
    return "\n\n".join(
        [
            report.machine(),
            report.table([*HEADS, "p50 ms", "p99 ms", "failed"], speed_rows("2 KB", series)),
            report.table(heads, kept),
        ]
    )


@contextlib.contextmanager
def _targets(folder: Path) -> Iterator[dict[str, Server]]:
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(stream=False))
        targets = {BARE: stack.enter_context(servers.helper("proxy", upstream))}
        for name, place in KINDS.items():
            where = (
                f"session_recording.jsonl.directory={folder / place / 'sessions'}",
                f"session_recording.sqlite.path={folder / place / 'sessions.db'}",
            )
            overrides = where if place != "off" else ()
            targets[name] = stack.enter_context(
                servers.gateway(upstream, VARIANTS[name], *overrides)
            )
        yield targets


def _loaded(targets: Mapping[str, Server], exchanges: int, seconds: float) -> dict[str, Series]:
    """Load the targets in turns until each has answered that many exchanges."""
    conversations = talk(2, stream=False)
    talkers = {name: Talker(server.url, conversations) for name, server in targets.items()}
    series = {name: Series() for name in targets}
    while min(talker.asked for talker in talkers.values()) < exchanges:
        for name, server in targets.items():
            series[name].add(server, talkers[name], seconds, CONNECTIONS)
    return series


def settled(url: str) -> float:
    """Wait until nothing waits for a writer any more; return the seconds that it took."""
    began = time.monotonic()
    while any(one["waiting"] for one in counters(url).values()):
        if time.monotonic() - began > SETTLE_SECONDS:
            raise TimeoutError("events still wait for a writer")
        time.sleep(0.2)
    return time.monotonic() - began


def counters(url: str) -> dict[str, dict[str, int]]:
    """Return what a gateway says of its writers: events ``written``, ``dropped``, ``waiting``."""
    asked = requests.get(f"{url}/metrics", headers={"Accept": "text/plain"}, timeout=30)
    found: dict[str, dict[str, int]] = {}
    names = {"written_total": "written", "dropped_total": "dropped", "queue_events": "waiting"}
    for line in asked.text.splitlines():
        name, _, rest = line.partition("{")
        kind = names.get(name.removeprefix("gateway_sessions_recorder_"))
        if kind is None:
            continue
        labels, _, value = rest.rpartition("} ")
        writer = next(each for each in labels.split(",") if each.startswith("writer="))
        own = found.setdefault(
            writer.partition("=")[2].strip('"'), dict.fromkeys(names.values(), 0)
        )
        own[kind] += int(float(value))
    return {name: own for name, own in found.items() if name in (*WRITERS, RECORDER)}


def left(folder: Path, counted: Mapping[str, Mapping[str, int]], sent: int) -> Sequence[Kept]:
    """Return what the recorder and each writer were offered, and what is left in a folder.

    ``sent`` are the exchanges that the gateway carried.
    """
    files = list((folder / "sessions").rglob("*.jsonl"))
    lines = sum(file.read_bytes().count(b"\n") for file in files)
    with contextlib.closing(sqlite3.connect(folder / "sessions.db")) as database:
        exchanges: int = database.execute("SELECT count(*) FROM session_stats").fetchone()[0]
        sessions: int = database.execute("SELECT count(*) FROM sessions").fetchone()[0]
    found = {
        "jsonl": (f"{lines:,} events of {len(files):,} sessions", files),
        "sqlite": (f"{exchanges:,} exchanges of {sessions:,} sessions", [folder / "sessions.db"]),
    }
    lost = counted[RECORDER]["dropped"] if RECORDER in counted else 0
    return [
        Kept(RECORDER, 2 * sent, lost, f"{exchanges:,} of {sent:,} exchanges", 0.0),
        *(
            Kept(
                writer,
                own["written"] + own["dropped"],
                own["dropped"],
                found[writer][0],
                sum(file.stat().st_size for file in found[writer][1]) / 2**20,
            )
            for writer, own in sorted(counted.items())
            if writer in WRITERS
        ),
    ]


def _row(kept: Kept) -> Sequence[str]:
    return [
        kept.writer,
        f"{kept.offered:,}",
        f"{kept.dropped:,}",
        kept.found,
        f"{kept.megabytes:.0f}",
    ]
