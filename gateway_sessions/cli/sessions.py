"""``sessions``: recorded sessions listed, shown, searched, followed and exported."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from gateway_sessions.cli import session_export, session_story, session_tables
from gateway_sessions.cli.options import AS_JSON
from gateway_sessions.cli.recorded import (
    PAGING,
    SORTING,
    Given,
    console,
    database_path,
    filtered,
    on_database,
    waiting,
    wanted,
)
from gateway_sessions.cli.session_tail import Tail, line
from gateway_sessions.cli.session_tree import tree as tree_command
from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.queries import conditions
from gateway_sessions.storage.reading import following, reading
from gateway_sessions.storage.reports import Reports
from gateway_sessions.storage.results import Exchange, Result, SessionRow, ToolCall
from gateway_sessions.storage.search import Search
from gateway_sessions.storage.trees import tree


@click.group(
    short_help="Look at recorded sessions.",
    epilog="""\b
Examples:
  gateway-sessions sessions list --since 24h --sort cost
  gateway-sessions sessions show sess_15dg
  gateway-sessions sessions tree sess_15dg
  gateway-sessions sessions search "umbrella in Oslo"
  gateway-sessions sessions tail
  gateway-sessions sessions export --since 30d --output sessions.parquet

Exit codes: 0 all is well, 2 wrong usage, or there is no database.
""",
)
def sessions() -> None:
    """List, show, draw, search, follow and export the sessions that the gateway has recorded."""


@sessions.command(
    "list",
    short_help="List recorded sessions.",
    epilog="""\b
Examples:
  gateway-sessions sessions list
  gateway-sessions sessions list --since yesterday --until yesterday --model 'claude-*'
  gateway-sessions sessions list --success no --min-cost 0.50 --sort cost --totals
  gateway-sessions sessions list --root sess_15dgvm2xdn9499mey2g6 --json | jq .sessions

Exit codes: 0 also where none is found, 2 wrong usage, or there is no database.
""",
)
@on_database
@filtered()
@click.option("--totals", is_flag=True, help="Add the sums over all that are found.")
@AS_JSON
def list_sessions(
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    totals: bool,
    as_json: bool,
    **given: Given,
) -> None:
    """List the sessions for which all conditions hold, the newest first."""
    chosen = wanted(given)
    with reading(database_path(database, config_file, settings)) as connection:
        page = Search(connection).page(chosen)
        sums = Reports(connection).sums(chosen) if totals else None
    if as_json:
        extra = {} if sums is None else {"totals": sums}
        _print_json(msgspec.structs.asdict(page) | extra)
        return
    if page.sessions:
        screen = console()
        screen.print(session_tables.sessions_table(page, screen.width))
    click.echo(session_tables.page_line(page))
    if sums is not None:
        click.echo(session_tables.sums_line(sums))


@sessions.command(
    "show",
    short_help="Show one session.",
    epilog="""\b
Examples:
  gateway-sessions sessions show sess_15dgvm2xdn9499mey2g6
  gateway-sessions sessions show sess_15dg --full | less
  gateway-sessions sessions show sess_15dg --json | jq '.exchanges[].response_text'

Exit codes: 0 it was shown, 2 there is no such session, or more than one.
""",
)
@click.argument("session_id", metavar="ID")
@on_database
@click.option("--full", is_flag=True, help="Show texts of any length.")
@AS_JSON
def show(
    session_id: str,
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    full: bool,
    as_json: bool,
) -> None:
    """Show a session: its requests in order, how each was placed, what it cost and said.

    ID may be the beginning of an id where no other session's begins so.
    """
    with reading(database_path(database, config_file, settings)) as connection:
        search = Search(connection)
        detail = search.detail(search.resolve(session_id))
        grown = tree(connection, detail.session.session_id) if as_json else None
    if as_json:
        _print_json(msgspec.structs.asdict(detail) | {"tree": grown})
        return
    screen = console()
    for part in session_story.told(detail, full=full):
        screen.print(part)


sessions.add_command(tree_command)


@sessions.command(
    "search",
    short_help="Search what was said.",
    epilog="""\b
Examples:
  gateway-sessions sessions search umbrella
  gateway-sessions sessions search '"two words together"' invoice
  gateway-sessions sessions search timeout --since 7d --provider anthropic --json

Exit codes: 0 also where nothing is found, 2 wrong usage, or there is no database.
""",
)
@click.argument("text", nargs=-1, required=True, metavar="TEXT...")
@on_database
@filtered({"text"})
@AS_JSON
def search(
    text: tuple[str, ...],
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    **given: Given,
) -> None:
    """Find sessions by what was asked or answered.

    All words have to occur in one request and its response, upper and lower case alike; words
    in double quotes, one after the other.
    """
    chosen = wanted({**given, "text": " ".join(text)})
    with reading(database_path(database, config_file, settings)) as connection:
        asked = Search(connection)
        page = asked.page(chosen)
        snippets = asked.snippets(chosen, [row.session_id for row in page.sessions])
    if as_json:
        rows = [
            msgspec.structs.asdict(row) | {"snippet": snippets.get(row.session_id)}
            for row in page.sessions
        ]
        _print_json(msgspec.structs.asdict(page) | {"sessions": rows})
        return
    screen = console()
    for part in session_tables.found_texts(page, snippets):
        screen.print(part)
    click.echo(session_tables.page_line(page))


@sessions.command(
    "tail",
    short_help="Follow requests as they are recorded.",
    epilog="""\b
Examples:
  gateway-sessions sessions tail
  gateway-sessions sessions tail --session sess_15dgvm2xdn9499mey2g6 --lines 100
  gateway-sessions sessions tail --once --json | jq .cost_usd

Exit codes: 0 with --once, 2 wrong usage, or there is no database, 130 stopped by Ctrl-C.
""",
)
@on_database
@filtered({*PAGING, *SORTING, "text"})
@click.option(
    "--lines", type=click.IntRange(min=0), default=10, show_default=True, help="Begin with so many."
)
@click.option("--once", is_flag=True, help="Stop after them.")
@AS_JSON
def tail(
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    lines: int,
    once: bool,
    as_json: bool,
    **given: Given,
) -> None:
    """Show the newest requests, then each one as its response is complete."""
    where = conditions(wanted(given))
    with following(database_path(database, config_file, settings)) as connection:
        newest = Tail(connection, where)
        _print_lines(newest.last(lines), as_json=as_json)
        if not once:
            _print_lines(newest.follow(time.sleep), as_json=as_json)


def _print_lines(exchanges: Iterable[Exchange], *, as_json: bool) -> None:
    screen = console()
    for exchange in exchanges:
        if as_json:
            click.echo(msgspec.json.encode(exchange).decode())
        else:
            screen.print(line(exchange), soft_wrap=True)
        sys.stdout.flush()


Rows = Literal["sessions", "exchanges", "tools"]
_KINDS: dict[Rows, type[Result]] = {
    "sessions": SessionRow,
    "exchanges": Exchange,
    "tools": ToolCall,
}


@sessions.command(
    "export",
    short_help="Export to CSV, Parquet or JSON lines.",
    epilog="""\b
Examples:
  gateway-sessions sessions export --output sessions.csv
  gateway-sessions sessions export --rows exchanges --since 30d --output exchanges.parquet
  gateway-sessions sessions export --format jsonl --success no | jq .error_message

Parquet needs pyarrow: pip install 'gateway-sessions[parquet]'. In CSV a text that a spreadsheet
would run as a formula has a ' in front.

Exit codes: 0 all was written, 2 wrong usage, or something is missing.
""",
)
@on_database
@filtered(PAGING)
@click.option(
    "--rows",
    type=click.Choice(list(_KINDS)),
    default="sessions",
    show_default=True,
    help="One row for each session, request or tool call.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(session_export.FORMS),
    help="By default what the file's name ends with.",
)
@click.option("--output", metavar="FILE", help="File to write; default: standard output.")
def export(
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    rows: Rows,
    form: session_export.Form | None,
    output: str | None,
    **given: Given,
) -> None:
    """Write all sessions for which the conditions hold, or what is in them, to a file."""
    file = None if output is None else Path(output)
    form = form or session_export.form_of(file)
    if form is None:
        raise click.UsageError(
            f"Say the format: --format {'|'.join(session_export.FORMS)}, or an --output that ends"
            " with one of them."
        )
    if form == "parquet" and file is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; name a file with --output.")
    chosen = wanted(given)
    with following(database_path(database, config_file, settings)) as connection:
        found = _rows(Search(connection), rows, chosen)
        with waiting("Exporting", speaks=file is None):
            session_export.export(found, _KINDS[rows], form, file)


def _rows(search: Search, rows: Rows, chosen: SessionFilter) -> Iterator[Result]:
    where = search.where(chosen)
    if rows == "exchanges":
        return search.exchanges(where)
    return search.tool_calls(where) if rows == "tools" else search.every(chosen)


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
