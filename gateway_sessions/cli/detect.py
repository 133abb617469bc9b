"""``detect``: sessions for logged exchanges."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.progress import metered, wanted
from gateway_sessions.config import Config, detection_settings
from gateway_sessions.errors import StartError, UnreadableLog
from gateway_sessions.logs import escaped
from gateway_sessions.replay import LoggedExchange, LoggedVerdict, Replay, read_line
from gateway_sessions.secret import SECRET_BYTES, stored_secret
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.tracker import Tracker

STDIN = "standard input"


@click.command(
    short_help="Find the sessions in a log of exchanges.",
    epilog="""\b
Examples:
  gateway-sessions detect exchanges.jsonl > verdicts.jsonl
  gateway-sessions detect traces/*.json | jq -r .session_id | sort | uniq -c
  zcat old.jsonl.gz | gateway-sessions detect --set session.session_ttl_seconds=600
  gateway-sessions detect --explain exchanges.jsonl | less

Each line of a log is a JSON object with timestamp, request and response, in the order of
time; the files in traces/ have that form. Several files are read one after the other.

Exit codes: 0 all lines were read, 1 some were skipped, 2 a line or a file can not be read.
""",
)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@configured
@click.option("--explain", is_flag=True, help="Say which rules were asked and what they answered.")
@click.option("--skip-bad-lines", is_flag=True, help="Name lines that are no exchange and go on.")
@AS_JSON
def detect(
    files: tuple[str, ...],
    config_file: str | None,
    settings: tuple[str, ...],
    explain: bool,
    skip_bad_lines: bool,
    as_json: bool,
) -> int:
    """Put the exchanges of logs into sessions, as the gateway would have done live.

    Reads FILEs, or standard input where there are none (or for "-"), and writes one verdict a
    line as JSON. Time is the log's own. With --explain the verdicts are told in words, or with
    --json besides have the keys reason and explain.
    """
    if not files and sys.stdin.isatty():
        raise click.UsageError("Name a FILE, or pipe a log in; - stands for standard input.")
    config = loaded(config_file, settings).config
    log = Log(files or ("-",), skip_bad_lines)
    tracker = Tracker(
        detection_settings(config.session), _secret(config), Telemetry(), explain=explain
    )
    write = _told if explain and not as_json else _explained if explain else _plain
    out = sys.stdout.buffer
    for verdict in Replay(tracker).verdicts(log.exchanges()):
        out.write(write(verdict))
    out.flush()
    if log.skipped:
        click.echo(f"Lines that were skipped: {log.skipped}.", err=True)
    return 1 if log.skipped else 0


class Log:
    """The exchanges of several files, one after the other."""

    def __init__(self, files: Sequence[str], skip_bad_lines: bool) -> None:
        self._files = files
        self._skip = skip_bad_lines
        self.skipped = 0

    def exchanges(self) -> Iterator[LoggedExchange]:
        """Yield all exchanges; raises `UnreadableLog` naming file and line."""
        for file in self._files:
            name = STDIN if file == "-" else file
            try:
                with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
                    yield from self._read(stream, name)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise UnreadableLog(f"{escaped(name)} can not be read: {reason}.") from None

    def _read(self, stream: BinaryIO, name: str) -> Iterator[LoggedExchange]:
        lines: Iterator[bytes] = iter(stream)
        if wanted():
            size = None if name == STDIN else Path(name).stat().st_size
            lines = metered(lines, size, escaped(name))
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                exchange = read_line(line, escaped(name), number)
            except UnreadableLog as error:
                if not self._skip:
                    raise
                self.skipped += 1
                click.echo(f"Warning: {escaped(str(error))}", err=True)
                continue
            exchange.request_id = exchange.request_id or f"{name}:{number}"
            yield exchange


class _Plain(msgspec.Struct):
    """A verdict as it is written."""

    request_id: str
    session_id: str | None = None
    parent_session_id: str | None = None
    source: str | None = None
    relation: str | None = None
    confidence: float | None = None


class _Explained(_Plain):
    """A verdict with all that is known about it."""

    reason: str = ""
    explain: tuple[dict[str, object], ...] = ()


_encode = msgspec.json.Encoder().encode


def _plain(verdict: LoggedVerdict) -> bytes:
    tag = verdict.tag
    if tag is None:
        return _encode(_Plain(verdict.request_id)) + b"\n"
    line = _Plain(
        verdict.request_id,
        tag.session_id,
        tag.parent_session_id,
        tag.source,
        tag.relation,
        tag.confidence,
    )
    return _encode(line) + b"\n"


def _explained(verdict: LoggedVerdict) -> bytes:
    tag = verdict.tag
    if tag is None:
        line = _Explained(verdict.request_id, reason=NO_SESSION)
    else:
        line = _Explained(
            verdict.request_id,
            tag.session_id,
            tag.parent_session_id,
            tag.source,
            tag.relation,
            tag.confidence,
            tag.reason,
            tag.explain,
        )
    return _encode(line) + b"\n"


NO_SESSION = "no session: not a request for a conversation, or its body can not be read"


def _told(verdict: LoggedVerdict) -> bytes:
    """Return a verdict in words, the rules below it in the order in which they were asked."""
    tag = verdict.tag
    if tag is None:
        return f"{escaped(verdict.request_id)}  {NO_SESSION}\n".encode()
    parent = f", child of {tag.parent_session_id}" if tag.parent_session_id else ""
    lines = [
        (
            f"{verdict.request_id}  {tag.session_id}  {tag.relation}{parent}"
            f" (by {tag.source}, confidence {tag.confidence:g})"
        ),
        f"    {tag.reason}",
    ]
    for step in tag.explain:
        answer = "yes" if step["answers"] else "no"
        lines.append(f"    {step['rule']:<12}{answer:<5}{step['because']}")
    text = "".join(f"{escaped(line.rstrip())}\n" for line in lines)
    return text.encode("utf-8", "backslashreplace")


def _secret(config: Config) -> bytes:
    """Return the gateway's secret, so that ids which clients give lead to the same sessions."""
    if config.secret is not None:
        return config.secret.encode()
    try:
        return stored_secret(config.state_path) or secrets.token_bytes(SECRET_BYTES)
    except StartError:
        # Another user's secret, or none: sessions are the same, only some ids differ.
        return secrets.token_bytes(SECRET_BYTES)
