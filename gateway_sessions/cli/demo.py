"""``demo``: sample conversations through a real gateway, and the sessions it found."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway_sessions import app, logs
from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.progress import bar, wanted
from gateway_sessions.cli.tree_drawing import draw
from gateway_sessions.config import Loaded
from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.samples import LEAD, SampleExchange, run_samples
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.trees import family
from gateway_sessions.web.listening import PortInUse

WIDTH = 110
"""Columns of the table where no terminal says how wide it is."""

TRY = """
The gateway is running on {url}; Ctrl-C stops it. Try:

  curl -i {url}/v1/chat/completions -H 'Content-Type: application/json' \\
       -d '{{"model": "echo-1", "messages": [{{"role": "user", "content": "hello"}}]}}'
  curl {admin}/metrics | jq .sessions
  jq -r .session_id traces/*.json | sort | uniq -c
  tail -f logs/gateway.log | grep -i session"""


@dataclass(frozen=True, slots=True)
class Found:
    """A session that the gateway found."""

    session_id: str
    conversations: tuple[str, ...]
    """The sample conversations that its requests come from: one, if it is right."""
    requests: int
    relations: tuple[str, ...]
    """One for each request, in order."""
    sources: tuple[str, ...]
    """As ``relations``."""


@click.command(
    short_help="Show sessions found in sample conversations.",
    epilog="""\b
Examples:
  gateway-sessions demo
  gateway-sessions demo --once --json | jq .sessions
  gateway-sessions demo --port 8080

Traces are written to ./traces, the log to ./logs/gateway.log and records to
~/.gateway-sessions, as serve does.

Exit codes: 0 every conversation is one session, 1 some are not, 2 it could not start.
""",
)
@configured
@click.option("--once", is_flag=True, help="Stop after the table.")
@click.option("--host", metavar="HOST", help="Address to listen on (server.host).")
@click.option("--port", metavar="PORT", help="Port to listen on (server.port); 0: a free one.")
@AS_JSON
def demo(
    config_file: str | None,
    settings: tuple[str, ...],
    once: bool,
    host: str | None,
    port: str | None,
    as_json: bool,
) -> int:
    """Hold sample conversations through a gateway and show the sessions it found.

    Then it draws what one of them, an agent with sub-agents, did.

    The gateway is the real one, on a real port; behind it is an embedded upstream, so neither
    a key nor the network is needed. Afterwards it stays, to be tried, unless --once is given.
    """
    configuration = loaded(
        config_file,
        settings,
        host=("server.host", host),
        port=("server.port", port),
        upstream=("upstream", "builtin://echo"),
        response_headers=("server.response_headers", "all"),
    )
    log = logs.set_up(
        configuration.config.logging,
        file_wanted="logging.file" in configuration.places,
        console_level="WARNING",
    )
    try:
        return app.run(lambda: _demonstrate(configuration, once, as_json))
    finally:
        log.close()


async def _demonstrate(configuration: Loaded, once: bool, as_json: bool) -> int:
    running = await _start(configuration)
    try:
        exchanges = await _conversations(running.url)
        await running.assembly.gateway.interceptors.flush()
        sessions = found(exchanges)
        right = is_right(exchanges)
        show = _print_json if as_json else _print_table
        show(running, sessions, exchanges, right)
        if not as_json:
            await running.assembly.gateway.flush()
            _print_tree(running.assembly.config.session_recording, exchanges)
        if not once and not as_json:
            click.echo(TRY.format(url=running.url, admin=running.admin_url))
            if running.dashboard_url is not None:
                click.echo(f"\nSee them in a browser: {running.dashboard_url}")
        sys.stdout.flush()
        if not once:
            return await app.StopSignals().stop(running)
    finally:
        await running.stop()
    return 0 if right else 1


async def _start(configuration: Loaded) -> app.Running:
    """Start the gateway; if the default port is taken, on a free one."""
    try:
        return await app.start(configuration)
    except PortInUse as error:
        if "server.port" in configuration.places:
            raise
        click.echo(f"Note: {error} A free port is taken for now.", err=True)
        config = configuration.config
        server = msgspec.structs.replace(config.server, port=0)
        config = msgspec.structs.replace(config, server=server)
        return await app.start(Loaded(config, configuration.places))


async def _conversations(url: str) -> list[SampleExchange]:
    if not wanted():
        return await run_samples(url)
    with bar() as progress:
        task = progress.add_task("Sample conversations", total=None)
        return await run_samples(url, lambda _: progress.advance(task))


def found(exchanges: Iterable[SampleExchange]) -> list[Found]:
    """Return the sessions in the order in which they began."""
    by_session: dict[str, list[SampleExchange]] = {}
    for exchange in exchanges:
        by_session.setdefault(exchange.session_id, []).append(exchange)
    return [
        Found(
            session_id=session_id,
            conversations=tuple(dict.fromkeys(exchange.thread for exchange in members)),
            requests=len(members),
            relations=tuple(exchange.relation for exchange in members),
            sources=tuple(exchange.source for exchange in members),
        )
        for session_id, members in by_session.items()
    ]


def is_right(exchanges: Iterable[SampleExchange]) -> bool:
    """Tell whether sessions and conversations are one to one."""
    pairs = {(exchange.session_id, exchange.thread) for exchange in exchanges}
    sessions = {session for session, _ in pairs}
    threads = {thread for _, thread in pairs}
    return len(pairs) == len(sessions) == len(threads) and "" not in sessions


def _print_json(
    running: app.Running,
    sessions: Sequence[Found],
    exchanges: Sequence[SampleExchange],
    right: bool,
) -> None:
    summary = {
        "url": running.url,
        "requests": len(exchanges),
        "right": right,
        "sessions": [asdict(session) for session in sessions],
    }
    click.echo(json.dumps(summary, indent=2))


def _print_table(
    running: app.Running,
    sessions: Sequence[Found],
    exchanges: Sequence[SampleExchange],
    right: bool,
) -> None:
    table = Table(title="Sessions found in sample conversations", title_justify="left")
    table.add_column("Session", no_wrap=True)
    table.add_column("Conversation")
    table.add_column("Requests", justify="right")
    table.add_column("What they are")
    table.add_column("How we know")
    for session in sessions:
        table.add_row(
            session.session_id or "(none)",
            ", ".join(session.conversations),
            str(session.requests),
            _counted(session.relations),
            _counted(session.sources),
        )
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    threads = len({exchange.thread for exchange in exchanges})
    verdict = "each of them is one session" if right else "not each of them is one session"
    click.echo(f"{len(exchanges)} requests of {threads} conversations: {verdict}.")


def _print_tree(recording: SessionRecording, exchanges: Iterable[SampleExchange]) -> None:
    """Draw what was recorded of the sample session whose agent has others work for it."""
    leads = [each.session_id for each in exchanges if each.conversation == LEAD and each.session_id]
    if not (recording.enabled and recording.sqlite.enabled and leads):
        return
    with reading(Path(recording.sqlite.path).expanduser()) as connection:
        tree = draw(family(connection, leads[0]))
    click.echo("\nWhat the lead agent and its sub-agents did, as recorded:\n")
    width = None if sys.stdout.isatty() else WIDTH
    Console(width=width, markup=False, emoji=False, highlight=False).print(tree)


def _counted(words: Iterable[str]) -> str:
    """Return words in order, repeats counted: ``first, continue ×2``."""
    runs = [(word or "(none)", len(list(run))) for word, run in groupby(words)]
    return ", ".join(word if count == 1 else f"{word} ×{count}" for word, count in runs)
