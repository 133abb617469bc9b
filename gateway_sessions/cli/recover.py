"""``recover``: a session that an editor reported, out of a running gateway."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway_sessions.cli.root import OK, PROBLEMS
from gateway_sessions.client import RecordingClient, ServerRefused
from gateway_sessions.errors import StartError
from gateway_sessions.recording.files import open_private, write_all


@click.command(
    short_help="Get a reported session back from a server.",
    epilog="""\b
Examples:
  gateway-sessions recover --server http://localhost:3000 --session editor-4711 --output chat.json
  gateway-sessions recover --server http://localhost:3000 --session editor-4711 --output -

Exit codes: 0 the session is in the file, 1 the server does not know it, 2 the server can not
be reached or wants another token, or the file can not be written.
""",
)
@click.option("--server", metavar="URL", required=True, help="The gateway's own endpoints.")
@click.option("--session", "session_id", metavar="ID", required=True, help="Which session.")
@click.option(
    "--output", metavar="FILE", required=True, help="Where to write it as JSON; - is the terminal."
)
@click.option(
    "--token",
    metavar="TOKEN",
    envvar="GATEWAY_SESSIONS_TOKEN",
    help="Its admin.token or recording_api.token; or GATEWAY_SESSIONS_TOKEN in the environment.",
)
def recover(server: str, session_id: str, output: str, token: str | None) -> int:
    """Write all acknowledged messages of a session into a file.

    The session is one that a client reported through the recording API, live or ended not
    longer than a day ago.
    """
    try:
        recovery = asyncio.run(_recovery(server, session_id, token))
    except ServerRefused as error:
        if error.status != 404 or not error.code:
            raise
        click.echo(f"Error: {error}", err=True)
        return PROBLEMS
    except OSError as error:
        raise StartError(f"{server} can not be reached ({error}); check --server.") from error
    text = msgspec.json.format(msgspec.json.encode(recovery), indent=2) + b"\n"
    if output == "-":
        click.echo(text, nl=False)
    else:
        _write(Path(output), text)
        click.echo(f"{recovery['message_count']} messages of {session_id} are in {output}.")
    return OK


async def _recovery(server: str, session_id: str, token: str | None) -> dict[str, Any]:
    async with RecordingClient(server, token=token, live=False) as client:
        return await client.recovery(session_id)


def _write(path: Path, text: bytes) -> None:
    try:
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            write_all(descriptor, text)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"{path}: can not be written ({reason}); name another file.") from error
