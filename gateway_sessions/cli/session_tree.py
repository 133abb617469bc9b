"""``sessions tree``: what an agent did, from its prompts down to its sub-agents."""

from __future__ import annotations

import click
import msgspec

from gateway_sessions.cli.options import AS_JSON
from gateway_sessions.cli.recorded import console, database_path, on_database
from gateway_sessions.cli.tree_drawing import draw
from gateway_sessions.storage.reading import reading
from gateway_sessions.storage.search import Search
from gateway_sessions.storage.trees import family


@click.command(
    "tree",
    short_help="Draw what an agent did.",
    epilog="""\b
Examples:
  gateway-sessions sessions tree sess_15dgvm2xdn9499mey2g6
  gateway-sessions sessions tree sess_15dg --all | less
  gateway-sessions sessions tree sess_15dg --json | jq '.members[].session.session_id'

\b
Marks: ✓ it went well, ✗ it failed or was given up, … it goes on, ∥ it ran beside others,
⋮ something is left out, ≤ it took at most so long.

Exit codes: 0 it was drawn, 2 there is no such session, or more than one.
""",
)
@click.argument("session_id", metavar="ID")
@on_database
@click.option("--all", "everything", is_flag=True, help="Leave nothing out.")
@AS_JSON
def tree(
    session_id: str,
    database: str | None,
    config_file: str | None,
    settings: tuple[str, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """Draw a session: its prompts, the turns of each with their tools, and its sub-agents.

    Sub-agents stand below the tool call that they work for. ID may be the beginning of an id
    where no other session's begins so. A session that goes on is shown as it is now.
    """
    with reading(database_path(database, config_file, settings)) as connection:
        found = family(connection, Search(connection).resolve(session_id))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    console().print(draw(found, everything=everything))
