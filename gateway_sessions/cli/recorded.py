"""What the commands that look at recorded sessions share: options, database, console."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import TimeElapsedColumn

from gateway_sessions.cli.options import configured, loaded
from gateway_sessions.cli.progress import WORTH_SECONDS, bar
from gateway_sessions.cli.progress import wanted as wanted_by_somebody
from gateway_sessions.storage.filters import PARAMETERS, SessionFilter, parse_filter

F_ = TypeVar("F_", bound=Callable[..., Any])
Given = str | tuple[str, ...] | None
"""What the command line has of an option."""

WIDTH = 140
"""Columns of tables where no terminal says how wide it is."""
PAGING = frozenset({"page", "page_size"})
SORTING = frozenset({"sort", "order"})


def on_database(command: F_) -> F_:
    """Add the options that say which database is meant."""
    return configured(
        click.option(
            "--database",
            metavar="FILE",
            help="Database of recorded sessions; default: session_recording.sqlite.path.",
        )(command)
    )


def database_path(database: str | None, config_file: str | None, settings: tuple[str, ...]) -> Path:
    """Return the database that the options of `on_database` name."""
    if database is not None:
        return Path(database).expanduser()
    config = loaded(config_file, settings).config
    return Path(config.session_recording.sqlite.path).expanduser()


def filtered(without: Collection[str] = ()) -> Callable[[F_], F_]:
    """Add an option for everything that can be asked for, but for some."""

    def add(command: F_) -> F_:
        for parameter in reversed(PARAMETERS):
            if parameter.name not in without:
                command = click.option(
                    option_name(parameter.name),
                    parameter.name,
                    multiple=parameter.many,
                    metavar=_metavar(parameter.name),
                    help=parameter.help,
                )(command)
        return command

    return add


def option_name(parameter: str) -> str:
    """Return what a parameter is called on the command line."""
    return f"--{parameter.replace('_', '-')}"


def _metavar(parameter: str) -> str:
    kind = parameter.rpartition("_")[2]
    return {"since": "TIME", "until": "TIME", "success": "YES|NO", "streaming": "YES|NO"}.get(
        parameter, kind.upper()
    )


def wanted(given: Mapping[str, Given]) -> SessionFilter:
    """Return the filter that options make; raises `WrongQuery`."""
    return parse_filter(given_pairs(given), now=datetime.now(UTC), called=option_name)


def given_pairs(given: Mapping[str, Given]) -> list[tuple[str, str]]:
    """Return what was given of options, one pair for each value."""
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        texts = (value,) if isinstance(value, str) else value or ()
        pairs += [(name, text) for text in texts]
    return pairs


@contextmanager
def waiting(what: str, *, speaks: bool) -> Iterator[None]:
    """Show that a command is at work, once that has taken a second and somebody watches.

    ``speaks`` is whether it writes to standard output meanwhile.
    """
    if not wanted_by_somebody(speaks=speaks):
        yield
        return
    shown = bar(TimeElapsedColumn())
    shown.add_task(what, total=None)
    timer = Timer(WORTH_SECONDS, shown.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown.live.is_started:
            shown.stop()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line what a reader that has seen enough means."""
        raise BrokenPipeError


def console() -> Console:
    """Return a console that takes texts as they are: what was recorded is no markup."""
    width = None if sys.stdout.isatty() else WIDTH
    return _Console(width=width, markup=False, emoji=False, highlight=False)
