"""``check-config`` and ``generate-config``."""

from __future__ import annotations

import click

from gateway_sessions.app import admin_address
from gateway_sessions.assembly import check_interceptors
from gateway_sessions.cli.options import AS_JSON, configured, loaded, tell_notices
from gateway_sessions.config import as_json as config_as_json
from gateway_sessions.config import as_yaml, example


@click.command(
    "check-config",
    short_help="Show the effective configuration.",
    epilog="""\b
Examples:
  gateway-sessions check-config --config gateway.yaml
  gateway-sessions check-config --config gateway.yaml --set server.port=8080
  gateway-sessions check-config --json | jq .session

Exit codes: 0 the configuration is right, 2 it is not.
""",
)
@configured
@AS_JSON
def check_config(config_file: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Check a configuration and show what it amounts to, defaults and overrides included.

    Secrets are shown as ***. Settings that have no effect in this version are named on
    standard error.
    """
    configuration = loaded(config_file, settings)
    check_interceptors(configuration)
    admin_address(configuration.config)
    tell_notices(configuration)
    text = config_as_json(configuration.config) if as_json else as_yaml(configuration.config)
    click.echo(text.rstrip("\n"))


@click.command(
    "generate-config",
    short_help="Print a commented example.",
    epilog="""\b
Examples:
  gateway-sessions generate-config > gateway.yaml
  gateway-sessions serve --config gateway.yaml

Exit codes: 0 always.
""",
)
def generate_config() -> None:
    """Print a configuration file with every key, its default and what it is for."""
    click.echo(example(), nl=False)
