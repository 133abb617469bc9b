"""``detect``: sessions for logged exchanges."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
import msgspec

from gateway_sessions.cli.comparison import Comparison, Side
from gateway_sessions.cli.comparison_report import as_json as report_as_json
from gateway_sessions.cli.comparison_report import as_text
from gateway_sessions.cli.log_files import LogFiles
from gateway_sessions.cli.offline import Detection, check_enabled, secret_of
from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.progress import wanted
from gateway_sessions.cli.verdict_lines import explained, plain, told
from gateway_sessions.config import Config, Loaded
from gateway_sessions.converters import FORMATS
from gateway_sessions.logs import escaped
from gateway_sessions.replay import LoggedVerdict
from gateway_sessions.telemetry import SessionEnded


@click.command(
    short_help="Find the sessions in a log of exchanges.",
    epilog="""\b
Examples:
  gateway-sessions detect exchanges.jsonl > verdicts.jsonl
  gateway-sessions detect traces/*.json | jq -r .session_id | sort | uniq -c
  zcat old.jsonl.gz | gateway-sessions detect --set session.session_ttl_seconds=600
  gateway-sessions detect --explain spend_logs.csv | less
  gateway-sessions detect --explain --only req_4711 exchanges.jsonl
  gateway-sessions detect --compare now.yaml wanted.yaml exchanges.jsonl

Each line of a log is a JSON object with timestamp, request and response, in the order of
time; the files in traces/ have that form. LiteLLM's spend logs (JSON, JSON lines or CSV), lines
with messages and a response in OpenAI's style, and HTTP archives (HAR) are read as well.
Several files are read one after the other.

Exit codes: 0 all was read, 1 something was skipped or holds no prompt, 2 a line or a file can
not be read. With --compare, 0 also means that both find the same sessions, 1 that they do not.
""",
)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@configured
@click.option("--explain", is_flag=True, help="Say which rules were asked and what they answered.")
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    help="Write only verdicts with this session id or request id; may be repeated.",
)
@click.option(
    "--compare",
    nargs=2,
    metavar="A.yaml B.yaml",
    help="Show what the second configuration merges and splits against the first.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="With --compare: cases shown of each kind.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What the logs are; by default found out from their first lines.",
)
@click.option("--skip-bad-lines", is_flag=True, help="Name lines that are no exchange and go on.")
@AS_JSON
def detect(
    files: tuple[str, ...],
    config_file: str | None,
    settings: tuple[str, ...],
    explain: bool,
    only: tuple[str, ...],
    compare: tuple[str, str] | None,
    limit: int,
    form: str | None,
    skip_bad_lines: bool,
    as_json: bool,
) -> int:
    """Put the exchanges of logs into sessions, as the gateway would have done live.

    Reads FILEs, or standard input where there are none (or for "-"), and writes one verdict a
    line as JSON. Time is the log's own. With --explain the verdicts are told in words, or with
    --json besides have the keys reason and explain. With --compare no verdicts are written but
    what two configurations make different of the same log; only their session blocks matter.
    """
    if not files and sys.stdin.isatty():
        raise click.UsageError("Name a FILE, or pipe a log in; - stands for standard input.")
    if compare and (config_file or explain or only):
        raise click.UsageError("--compare goes without --config, --explain and --only.")
    log = LogFiles(
        files or ("-",),
        form=form,
        skip_bad_lines=skip_bad_lines,
        watched=wanted(speaks=not compare),
    )
    if compare:
        sides = [loaded(file, settings) for file in compare]
        for side in sides:
            check_enabled(side)
        return _compared(log, sides, compare, limit, as_json=as_json)
    configuration = loaded(config_file, settings)
    check_enabled(configuration)
    return _detected(log, configuration.config, only, explain=explain, as_json=as_json)


def _detected(
    log: LogFiles, config: Config, only: tuple[str, ...], *, explain: bool, as_json: bool
) -> int:
    """Write the verdicts on a log; return the exit code."""
    detection = Detection(config, secret_of(config), explain=explain)
    write = told if explain and not as_json else explained if explain else plain
    out = sys.stdout.buffer
    missing = set(only)
    for exchange in log.exchanges():
        verdict = detection.verdict(exchange)
        if not only:
            out.write(write(verdict))
        elif found := _ids(verdict).intersection(only):
            missing -= found
            out.write(write(verdict))
    out.flush()
    for name in sorted(missing):
        click.echo(f"No session and no request of the log has the id {escaped(name)}.", err=True)
    return 1 if log.tell() or missing else 0


def _ids(verdict: LoggedVerdict) -> set[str]:
    return {verdict.request_id, verdict.tag.session_id if verdict.tag else ""}


def _compared(
    log: LogFiles, sides: list[Loaded], names: tuple[str, str], limit: int, *, as_json: bool
) -> int:
    """Write what two configurations make different of a log; return the exit code."""
    secret = secret_of(sides[0].config)
    comparison = Comparison()
    detections = []
    for side, configuration in enumerate(sides):
        detection = Detection(configuration.config, secret)
        detection.telemetry.listen(SessionEnded, _listener(comparison, side))
        detections.append(detection)
    for exchange in log.exchanges():
        verdicts = [detection.verdict(exchange) for detection in detections]
        comparison.add(exchange, verdicts[0].tag, verdicts[1].tag)
    if as_json:
        click.echo(msgspec.json.encode(report_as_json(comparison, names, limit)).decode())
    else:
        for line in as_text(comparison, names, limit):
            click.echo(line)
    return 1 if log.tell() or comparison.moved else 0


def _listener(comparison: Comparison, side: Side) -> Callable[[SessionEnded], None]:
    return lambda event: comparison.ended(side, event.session_id)
