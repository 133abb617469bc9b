"""``doctor``: what is wrong with a set-up, before users notice."""

from __future__ import annotations

import asyncio
from collections import Counter

import click
import msgspec
from rich.table import Table

from gateway_sessions.app import admin_address
from gateway_sessions.assembly import check_interceptors
from gateway_sessions.cli.check_ups import Finding, examine
from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.recorded import console
from gateway_sessions.cli.root import OK, PROBLEMS
from gateway_sessions.logs import escaped

_MARKS = {"ok": "ok", "warning": "!", "problem": "PROBLEM"}


@click.command(
    short_help="Find what is wrong with a set-up.",
    epilog="""\b
Examples:
  gateway-sessions doctor
  gateway-sessions doctor --config gateway.yaml
  gateway-sessions doctor --json | jq '.[] | select(.state != "ok")'

Exit codes: 0 nothing, or warnings only; 1 problems were found; 2 the configuration is wrong.
""",
)
@configured
@AS_JSON
def doctor(config_file: str | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Look at everything that a gateway with this configuration needs.

    That is: the configuration itself, folders, disks, the database, the secret, the port, each
    upstream, and what a running gateway says of itself. Nothing is changed, and it may run
    beside a gateway that serves.
    """
    configuration = loaded(config_file, settings)
    check_interceptors(configuration)
    admin_address(configuration.config)
    findings = asyncio.run(examine(configuration))
    if as_json:
        click.echo(msgspec.json.encode([finding._asdict() for finding in findings]).decode())
    else:
        _print(findings)
    return PROBLEMS if any(finding.state == "problem" for finding in findings) else OK


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(_MARKS[finding.state], escaped(finding.what), escaped(finding.said))
    console().print(table)
    states = Counter(finding.state for finding in findings)
    click.echo(f"Problems: {states['problem']}, warnings: {states['warning']}.")
