"""``replay``: a log's requests, sent to a server again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from urllib.parse import urlsplit

import click
import msgspec
from rich.table import Table

from gateway_sessions.cli.log_files import LogFiles
from gateway_sessions.cli.options import AS_JSON
from gateway_sessions.cli.progress import wanted
from gateway_sessions.cli.recorded import console
from gateway_sessions.cli.root import OK, PROBLEMS
from gateway_sessions.errors import StartError
from gateway_sessions.exchange_log import LoggedExchange
from gateway_sessions.logs import escaped
from gateway_sessions.web.resending import AT_ONCE, Resender, Resent

SHOWN = 20
"""Exchanges with another outcome that are listed; --json has all."""


@click.command(
    short_help="Send logged requests to a server again.",
    epilog="""\b
Examples:
  gateway-sessions replay traces/*.json --to http://localhost:3000
  gateway-sessions replay calls.jsonl --to http://localhost:4000 \\
      --header "Authorization: Bearer $KEY" --speed 1
  gateway-sessions replay traces/*.json --to http://localhost:3000 --json | jq .session_id

Exit codes: 0 every answer has the status that the log has, 1 some have another or there was
none, 2 wrong usage, or a log that can not be read.
""",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--to", "url", required=True, metavar="URL", help="The server; paths are the log's.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this in place of a logged one, as credentials, which logs hide; may be repeated.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="1 keeps the log's pauses, 10 makes them a tenth; default: none.",
)
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    default=AT_ONCE,
    show_default=True,
    help="Requests under way at most.",
)
@AS_JSON
def replay(
    files: tuple[str, ...],
    url: str,
    headers: tuple[str, ...],
    speed: float | None,
    at_once: int,
    as_json: bool,
) -> int:
    """Send the requests of logs to a server again, and compare what it answers.

    FILE is a trace, or a log in any format that detect reads; - is standard input. Requests
    keep the log's order: each is sent when everything has been answered that was answered
    before it. Answers are compared by their status; a gateway names their sessions too.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise click.BadParameter("it must be a URL, as http://localhost:3000.", param_hint="--to")
    log = LogFiles(files, watched=wanted(speaks=as_json))
    resender = Resender(url, headers=_pairs(headers), speed=speed, at_once=at_once)
    tally = asyncio.run(_replayed(resender, log.exchanges(), as_json))
    if not tally.sent:
        raise StartError("the logs hold no exchange; name traces or other logs of requests.")
    if not as_json:
        _print(tally)
    return PROBLEMS if log.tell() or tally.others else OK


class _Tally:
    """What became of all exchanges together."""

    def __init__(self) -> None:
        self.sent = 0
        self.others: list[Resent] = []
        """The first of those with another outcome than in the log."""
        self.different = 0
        self.statuses: Counter[str] = Counter()
        self.sessions: set[str] = set()
        self.duration_ms = 0.0

    def add(self, one: Resent) -> None:
        self.sent += 1
        self.statuses[str(one.status or "none")] += 1
        self.duration_ms += one.duration_ms or 0.0
        if one.session_id is not None:
            self.sessions.add(one.session_id)
        if not one.as_logged:
            self.different += 1
            if len(self.others) < SHOWN:
                self.others.append(one)


async def _replayed(
    resender: Resender, exchanges: Iterable[LoggedExchange], as_json: bool
) -> _Tally:
    tally = _Tally()
    async with aclosing(resender.resent(exchanges)) as results:
        async for one in results:
            tally.add(one)
            if as_json:
                click.echo(msgspec.json.encode(one).decode())
    return tally


def _pairs(headers: Iterable[str]) -> Mapping[str, str]:
    pairs = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(
                f"{escaped(name)!r} has no value; write 'NAME: VALUE'.", param_hint="--header"
            )
        pairs[name.strip()] = value.strip()
    return pairs


def _print(tally: _Tally) -> None:
    statuses = ", ".join(
        f"{number} × {status}" for status, number in sorted(tally.statuses.items())
    )
    click.echo(f"{tally.sent} requests sent, answers: {statuses}.")
    click.echo(f"Mean duration {tally.duration_ms / tally.sent:.0f} ms.")
    if tally.sessions:
        click.echo(f"Sessions named by the server: {len(tally.sessions)}.")
    if not tally.different:
        click.echo("Every answer has the status that the log has.")
        return
    click.echo(f"Other than in the log: {tally.different}.")
    table = Table("request", "path", "logged", "now", "why", box=None, pad_edge=False)
    for one in tally.others:
        logged, now = (str(status or "-") for status in (one.logged_status, one.status))
        table.add_row(*map(escaped, (one.request_id, one.path, logged, now, one.error or "")))
    console().print(table)
    if tally.different > len(tally.others):
        click.echo(f"… and {tally.different - len(tally.others)} more; --json tells all.")
