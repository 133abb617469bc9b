"""``bench``: what the gateway costs on this machine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.table import Table

from gateway_sessions.cli import load_run
from gateway_sessions.cli.load_run import Load
from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.recorded import console, waiting
from gateway_sessions.cli.root import OK, PROBLEMS

ALONE = 1
"""Connections of the run that shows how much later an answer comes."""


class Compared(msgspec.Struct, frozen=True):
    """The same load, straight to the upstream and through the gateway."""

    connections: int
    direct: Load
    gateway: Load


@click.command(
    short_help="Measure what the gateway costs here.",
    epilog="""\b
Examples:
  gateway-sessions bench
  gateway-sessions bench --config gateway.yaml --kilobytes 10 --stream
  gateway-sessions bench --json | jq '.[] | .gateway.p50_ms - .direct.p50_ms'

Exit codes: 0 measured, 1 some requests failed, 2 the gateway could not start.
""",
)
@configured
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=3.0,
    show_default=True,
    help="Length of each of four runs.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Clients at once in the second pair of runs; the first pair has one.",
)
@click.option(
    "--kilobytes",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Size of the message with which conversations open.",
)
@click.option("--stream", is_flag=True, help="Ask for streamed answers.")
@AS_JSON
def bench(
    config_file: str | None,
    settings: tuple[str, ...],
    seconds: float,
    connections: int,
    kilobytes: int,
    stream: bool,
    as_json: bool,
) -> int:
    """Send load to an embedded upstream, straight and through a gateway, and compare.

    The gateway is started with your configuration, but on a free port, and what it writes goes
    to a temporary folder. Neither your upstreams nor the network are used. Client, gateway and
    upstream share this machine, so throughput is that of all three together.
    """
    loaded(config_file, settings)  # What is wrong is said before anything is started.
    options = [option for setting in settings for option in ("--set", setting)]
    if config_file is not None:
        options += ["--config", str(Path(config_file).absolute())]

    def measured(url: str, clients: int) -> Load:
        return asyncio.run(
            load_run.run(
                url, kilobytes=kilobytes, stream=stream, seconds=seconds, connections=clients
            )
        )

    with (
        waiting("measuring", speaks=False),
        tempfile.TemporaryDirectory(prefix="gateway-sessions-") as folder,
        load_run.upstream() as direct,
        load_run.gateway(direct, options, Path(folder)) as through,
    ):
        results = [
            Compared(clients, measured(direct, clients), measured(through, clients))
            for clients in dict.fromkeys((ALONE, connections))
        ]
    if as_json:
        click.echo(msgspec.json.encode(results).decode())
    else:
        _print(results)
    failed = sum(load.failed for result in results for load in (result.direct, result.gateway))
    return PROBLEMS if failed else OK


def _print(results: list[Compared]) -> None:
    table = Table("clients", "way", box=None, pad_edge=False)
    for name in ("requests/s", "p50 ms", "p99 ms", "failed"):
        table.add_column(name, justify="right")
    for row in _rows(results):
        table.add_row(*row)
    console().print(table)
    alone = results[0]
    added = alone.gateway.p50_ms - alone.direct.p50_ms
    click.echo(f"The gateway adds {added:.2f} ms to an answer (median, one client).")


def _rows(results: list[Compared]) -> Iterator[tuple[str, ...]]:
    for result in results:
        for way, load in (("direct", result.direct), ("gateway", result.gateway)):
            yield (
                str(result.connections),
                way,
                f"{load.per_second:,.0f}",
                f"{load.p50_ms:.2f}",
                f"{load.p99_ms:.2f}",
                str(load.failed),
            )
