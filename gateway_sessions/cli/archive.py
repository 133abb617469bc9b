"""``archive``: old session files become compressed ones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import msgspec
from rich.progress import Progress, TaskID

from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.progress import WORTH_SECONDS, bar, wanted
from gateway_sessions.errors import StartError
from gateway_sessions.logs import escaped
from gateway_sessions.pages.amounts import plural, size
from gateway_sessions.recording.session_compressing import is_ours
from gateway_sessions.recording.session_files import SessionFile, SessionFolder
from gateway_sessions.recording.session_keeping import KeepLimits, SessionKeeper, Swept, free


class Report(msgspec.Struct):
    """What ``--json`` prints."""

    directory: str
    older_than_days: int
    dry_run: bool
    files: int
    """That were compressed, or would be."""
    bytes_before: int
    bytes_after: int | None
    """None in a dry run: nobody knows."""
    left: int
    """Old enough, and left alone."""
    failed: int
    problems: list[str]


@click.command(
    short_help="Compress session files of past days.",
    epilog="""\b
Examples:
  gateway-sessions archive --dry-run
  gateway-sessions archive --older-than 1
  gateway-sessions archive --directory /var/lib/gateway-sessions --json | jq .bytes_after
  zstdcat ~/.gateway-sessions/sessions/2025-10-01/*.zst | jq -r .type | sort | uniq -c

The gateway does the same once per session_recording.jsonl.retention.cleanup_interval_minutes,
and may be running meanwhile. A file is compressed whole or stays as it is.

Exit codes: 0 all is compressed that can be, 1 some files could not be, 2 there is no such folder
or the usage is wrong.
""",
)
@configured
@click.option(
    "--directory",
    metavar="DIR",
    help="Folder of the session files; default: session_recording.jsonl.directory.",
)
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="Compress days from this age on; default:"
    " session_recording.jsonl.retention.compress_after_days.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be compressed.")
@AS_JSON
def archive(
    config_file: str | None,
    settings: tuple[str, ...],
    directory: str | None,
    older_than: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Replace session files of past days (UTC) by compressed ones, .jsonl.zst.

    Sessions that are live, being those without an end that were written to within a day, are
    left alone; so are files of others. Nothing is deleted.
    """
    jsonl = loaded(config_file, settings).config.session_recording.jsonl
    folder = SessionFolder(Path(directory or jsonl.directory).expanduser())
    days = jsonl.retention.compress_after_days if older_than is None else older_than
    keeper = SessionKeeper(folder, KeepLimits(compress_after_days=days))
    now = time.time()
    try:
        due = [file for day in folder.days() for file in keeper.due(day, now)]
    except OSError as error:
        raise StartError(
            f"{folder.directory} can not be read ({error.strerror}); name the folder of the"
            " session files with --directory"
        ) from None
    swept = _looked_at(due, now) if dry_run else _compressed(keeper, due, now)
    report = Report(
        directory=str(folder.directory),
        older_than_days=days,
        dry_run=dry_run,
        files=swept.compressed,
        bytes_before=swept.before,
        bytes_after=None if dry_run else swept.after,
        left=swept.left,
        failed=swept.failed,
        problems=swept.problems,
    )
    _show(report, as_json=as_json)
    return 1 if swept.failed else 0


def _looked_at(due: Iterable[SessionFile], now: float) -> Swept:
    """Return what compressing files would come to."""
    swept = Swept()
    for file in due:
        try:
            with free(file, now) as is_free:
                if is_free and is_ours(file.path):
                    swept.compressed += 1
                    swept.before += file.size
                else:
                    swept.left += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            swept.fail(file.path, "read", error)
    return swept


def _compressed(keeper: SessionKeeper, due: list[SessionFile], now: float) -> Swept:
    swept = Swept()
    for file in _watched(due):
        keeper.compress(file, now, swept)
    return swept


def _watched(files: list[SessionFile]) -> Iterator[SessionFile]:
    """Yield files, with a progress bar where somebody waits for them for long."""
    started = time.monotonic()
    progress: Progress | None = None
    task = TaskID(0)
    try:
        for number, file in enumerate(files):
            if progress is not None:
                progress.update(task, completed=number)
            elif time.monotonic() - started > WORTH_SECONDS and wanted(speaks=False):
                progress = bar()
                progress.start()
                task = progress.add_task("compressing", total=len(files), completed=number)
            yield file
    finally:
        if progress is not None:
            progress.stop()


def _show(report: Report, *, as_json: bool) -> None:
    for problem in report.problems:
        click.echo(f"Warning: {escaped(problem)}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    after = report.bytes_after
    files = plural(report.files, "file")
    if not report.files:
        line = f"Nothing to compress in {escaped(report.directory)}"
    elif after is None:
        line = f"Would compress {files} of {size(report.bytes_before)}"
    else:
        saved = 100 * (1 - after / max(1, report.bytes_before))
        line = (
            f"Compressed {files}: {size(report.bytes_before)} to {size(after)}, {saved:.0f} % saved"
        )
    if report.left:
        line += f"; left {plural(report.left, 'file')} alone: live, or not of a session"
    click.echo(f"{line}.")
