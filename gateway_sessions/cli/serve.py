"""``serve``: the gateway in front of an upstream."""

from __future__ import annotations

import contextlib
import sys

import click

from gateway_sessions import app, logs
from gateway_sessions.cli.options import configured, loaded
from gateway_sessions.config import Config
from gateway_sessions.config.masking import masked_text
from gateway_sessions.workers import supervisor


@click.command(
    short_help="Run the gateway in front of an upstream.",
    epilog="""\b
Examples:
  gateway-sessions serve --upstream http://localhost:4000
  gateway-sessions serve --config gateway.yaml --port 8080
  gateway-sessions serve                     # an embedded upstream that needs no key

Environment variables set keys too: GATEWAY_SESSIONS_SERVER__PORT=8080 is server.port.

SIGTERM and Ctrl-C stop it: exchanges under way get 30 seconds to finish, and what was
recorded is written. A second signal does not wait.

Exit codes: 0 stopped as told, 2 it could not start (port in use, wrong configuration, a
folder that can not be written), 130 stopped without waiting.
""",
)
@configured
@click.option("--upstream", metavar="URL", help="Where to forward to, in place of upstreams.")
@click.option("--host", metavar="HOST", help="Address to listen on (server.host).")
@click.option("--port", metavar="PORT", help="Port to listen on (server.port); 0: a free one.")
@click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR (logging.level).")
def serve(
    config_file: str | None,
    settings: tuple[str, ...],
    upstream: str | None,
    host: str | None,
    port: str | None,
    log_level: str | None,
) -> int:
    """Stand in front of an LLM gateway or provider and give every request its session.

    Clients need no change but the address. The session comes back in the response header
    X-Gateway-Session-Id; traces are written to ./traces, the log to ./logs/gateway.log.
    """
    configuration = loaded(
        config_file,
        settings,
        upstream=("upstream", upstream),
        host=("server.host", host),
        port=("server.port", port),
        log_level=("logging.level", log_level),
    )
    log = logs.set_up(
        configuration.config.logging, file_wanted="logging.file" in configuration.places
    )
    try:
        several = configuration.config.server.workers > 1
        starting = supervisor.start if several else app.start
        return app.run(lambda: app.serve(configuration, _ready, starting))
    finally:
        log.close()


def _ready(running: app.Running) -> None:
    """Print the line that tells people and scripts that clients can connect, and what to see."""
    targets = ", ".join(_targets(running.assembly.config))
    # That nobody reads this is no reason not to serve.
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"Ready on {running.url}, forwarding to {targets}.")
        if running.admin_url != running.url:
            click.echo(f"Own endpoints (/health, /metrics, ...) on {running.admin_url}.")
        if running.dashboard_url is not None:
            click.echo(f"Dashboard: {running.dashboard_url}")
        sys.stdout.flush()


def _targets(config: Config) -> list[str]:
    return list(dict.fromkeys(masked_text(upstream.url) for upstream in config.upstreams))
