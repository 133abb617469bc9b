"""The group of all commands, and what they have in common: errors and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from gateway_sessions.errors import GatewaySessionsError

OK, PROBLEMS, WRONG, INTERRUPTED = 0, 1, 2, 128 + signal.SIGINT
"""Exit codes."""

NAME = "gateway-sessions"


class Entry(NamedTuple):
    """A command that is not imported yet."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "serve": Entry("serve", "serve", "Run the gateway in front of an upstream."),
    "demo": Entry("demo", "demo", "Show sessions found in sample conversations."),
    "detect": Entry("detect", "detect", "Find the sessions in a log of exchanges."),
    "replay": Entry("replay", "replay", "Send logged requests to a server again."),
    "sessions": Entry("sessions", "sessions", "Look at recorded sessions."),
    "report": Entry("report", "report", "Report cost, tokens, latency and tools."),
    "archive": Entry("archive", "archive", "Compress session files of past days."),
    "import": Entry("import_", "import_", "Make the database from session files."),
    "recover": Entry("recover", "recover", "Get a reported session back from a server."),
    "doctor": Entry("doctor", "doctor", "Find what is wrong with a set-up."),
    "bench": Entry("bench", "bench", "Measure what the gateway costs here."),
    "check-config": Entry("configuration", "check_config", "Show the effective configuration."),
    "generate-config": Entry("configuration", "generate_config", "Print a commented example."),
}
"""All commands, in the order in which a newcomer needs them."""

EPILOG = """\b
Examples:
  gateway-sessions demo
  gateway-sessions serve --upstream http://localhost:4000
  gateway-sessions detect exchanges.jsonl > verdicts.jsonl

\b
Exit codes:
  0    all is well
  1    the command found problems in what it was given to look at
  2    wrong usage, wrong configuration, or it could not start
  130  interrupted (Ctrl-C)

Every command has examples of its own: gateway-sessions COMMAND --help
"""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"gateway_sessions.cli.{entry.module}")
        command: click.Command = getattr(module, entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    # Only --version needs it, and start-up time counts.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        click.echo(f"{NAME} {version(NAME)}")
    except PackageNotFoundError:
        click.echo(f"{NAME}, not installed")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def root() -> None:
    """Give every LLM request a session.

    Stands in front of any LLM gateway or provider and works out which requests belong to one
    conversation, without any change to the clients.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors become one sentence on standard error."""
    try:
        # Not root.main(), which turns a closed pipe into a failure.
        with root.make_context(NAME, list(sys.argv[1:] if arguments is None else arguments)) as ctx:
            result: Any = root.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return WRONG
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except GatewaySessionsError as error:
        click.echo(f"Error: {error}", err=True)
        return WRONG
    except BrokenPipeError:
        # Whoever reads our output (head, less) has seen enough.  Python would complain again
        # when it flushes what is left on exit, so that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return result if isinstance(result, int) else OK


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run())
