"""``report``: cost, tokens, latency and tools of recorded sessions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import click
import msgspec
from rich.console import Console

from gateway_sessions.cli.options import AS_JSON
from gateway_sessions.cli.recorded import (
    PAGING,
    SORTING,
    Given,
    console,
    database_path,
    filtered,
    given_pairs,
    on_database,
    waiting,
    wanted,
)
from gateway_sessions.cli.session_export import whole_file
from gateway_sessions.cli.session_tables import groups_table, sums_line, tools_table
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.reports import TOP, Grouping, Report, Reports

TABLES: tuple[Grouping, ...] = ("day", "model", "provider", "tool", "session")
"""In the order in which a report without ``--by`` shows them."""
_TITLES: dict[Grouping, str] = {
    "day": "Day",
    "model": "Model",
    "provider": "Provider",
    "tool": "Tool",
    "session": "Session",
}


@click.command(
    short_help="Report cost, tokens, latency and tools.",
    epilog="""\b
Examples:
  gateway-sessions report --since 7d
  gateway-sessions report --by model --provider anthropic
  gateway-sessions report --since 2026-01-01 --until 2026-01-31 --html january.html
  gateway-sessions report --by tool --json | jq .tools

The HTML file stands alone: it can be mailed, printed, and opened without a network.

Exit codes: 0 all is well, 2 wrong usage, or there is no database.
""",
)
@on_database
@click.option("--by", type=click.Choice(get_args(Grouping)), help="Only one table, by this.")
@filtered({*PAGING, *SORTING})
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=1000),
    default=TOP,
    show_default=True,
    help="Sessions in the table of the most expensive ones.",
)
@click.option("--html", metavar="FILE", help="Write a page with plots.")
@AS_JSON
def report(
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    by: Grouping | None,
    limit: int,
    html: str | None,
    as_json: bool,
    **given: Given,
) -> None:
    """Report on the sessions for which all conditions hold: by day, model, provider, tool, session.

    A session that is chosen counts with all its requests. Costs are estimates from public prices.
    """
    if html is not None and (by or as_json):
        raise click.UsageError("--html goes without --by and --json: the page has all tables.")
    chosen, now = wanted(given), datetime.now(UTC)
    path = database_path(database, config_file, settings)
    with waiting("Adding up", speaks=False), reading(path) as connection:
        made = Reports(connection).report(chosen, now, limit)
    if html is not None:
        _write_page(made, Path(html), _shown(given))
    elif as_json:
        _print_json(made, by)
    else:
        _print(made, by)


def _shown(given: Mapping[str, Given]) -> dict[str, str]:
    """Return the conditions as the page shows them."""
    filters: dict[str, str] = {}
    for name, text in given_pairs(given):
        filters[name] = f"{filters[name]}, {text}" if name in filters else text
    return filters


def _write_page(made: Report, file: Path, filters: dict[str, str]) -> None:
    # Only a page needs templates, and start-up time counts.
    from gateway_sessions.cli.report_page import page  # noqa: PLC0415

    with whole_file(file) as stream:
        stream.write(page(made, filters).encode("utf-8", "backslashreplace"))


def _print_json(made: Report, by: Grouping | None) -> None:
    value = msgspec.to_builtins(made)
    if by is not None:
        keys = ("generated_at", "first_at", "last_at", "total", f"{by}s")
        value = {key: value[key] for key in keys}
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _print(made: Report, by: Grouping | None) -> None:
    click.echo(sums_line(made.total))
    if not made.total.requests:
        return
    screen = console()
    for table in TABLES if by is None else (by,):
        _print_table(screen, made, table)


def _print_table(screen: Console, made: Report, by: Grouping) -> None:
    if by == "tool":
        if made.tools:
            screen.print()
            screen.print(tools_table(made.tools))
        return
    groups = {
        "day": made.days,
        "model": made.models,
        "provider": made.providers,
        "session": made.sessions,
    }[by]
    screen.print()
    screen.print(groups_table(_TITLES[by], groups, screen.width))
