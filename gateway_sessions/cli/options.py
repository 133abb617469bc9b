"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from gateway_sessions.config import Loaded, Override, load, notices

F_ = TypeVar("F_", bound=Callable[..., Any])

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""For every command that prints data."""


def configured(command: F_) -> F_:
    """Add the options that make up a configuration: ``--config`` and ``--set``."""
    command = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one key, as server.port=3001; may be repeated, wins over file and environment.",
    )(command)
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        help="Configuration file (YAML); default: $GATEWAY_SESSIONS_CONFIG, or none.",
    )(command)


def loaded(
    config_file: str | None, settings: Iterable[str], **options: tuple[str, str | None]
) -> Loaded:
    """Return the configuration that the options make.

    ``options`` are further options by name with the key that each sets and the value given:
    ``port=("server.port", "3001")``; those that are None were not used.
    """
    own = [
        Override(f"--{name.replace('_', '-')}", key, value)
        for name, (key, value) in options.items()
        if value is not None
    ]
    return load(config_file, overrides=[*settings, *own])


def tell_notices(configuration: Loaded) -> None:
    """Tell on standard error what a user should know of a configuration that is right."""
    for sentence in notices(configuration):
        click.echo(f"Warning: {sentence}", err=True)
