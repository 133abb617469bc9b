"""``import``: the database of sessions, made from session files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import click
import msgspec
from rich.progress import DownloadColumn, Progress, TaskProgressColumn, TimeRemainingColumn

from gateway_sessions.cli.options import AS_JSON, configured, loaded
from gateway_sessions.cli.progress import bar, wanted
from gateway_sessions.errors import StartError, UnreadableLog
from gateway_sessions.events import SessionEvent
from gateway_sessions.logs import escaped
from gateway_sessions.recording.files import private_directory
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_files import COMPRESSED, PLAIN
from gateway_sessions.recording.session_lines import BadLine
from gateway_sessions.recording.session_reading import read_events
from gateway_sessions.recording.sqlite_store import SqliteStore
from gateway_sessions.storage.readers import open_reader

BATCH = 1000
"""Events written at once: larger ones are no faster."""
TEXTS_AT_ONCE = 500


class Counts(msgspec.Struct):
    """What an import did; with ``--json``, what it prints."""

    database: str
    dry_run: bool
    files: int = 0
    sessions: int = 0
    events: int = 0
    skipped_sessions: int = 0
    """Sessions that the database had already."""
    errors: int = 0
    """Files, lines and events that were left out."""


@click.command(
    "import",
    short_help="Make the database from session files.",
    epilog="""\b
Examples:
  gateway-sessions import
  gateway-sessions import ~/.gateway-sessions/sessions/2026-01-31 --database january.db
  gateway-sessions import old/*.jsonl.zst --skip-existing --continue-on-error

Importing what is in the database already changes nothing: each event counts once. It is safe
while the gateway runs.

Exit codes: 0 everything was imported, 1 something was left out with --continue-on-error, 2 a file
can not be read or the database can not be written.
""",
)
@click.argument("files", nargs=-1, metavar="[FILE_OR_FOLDER]...")
@configured
@click.option(
    "--database", metavar="PATH", help="Database to write; default: session_recording.sqlite.path."
)
@click.option("--skip-existing", is_flag=True, help="Leave out sessions that are in it already.")
@click.option("--continue-on-error", is_flag=True, help="Name what can not be read and go on.")
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing.")
@AS_JSON
def import_(
    files: tuple[str, ...],
    config_file: str | None,
    settings: tuple[str, ...],
    database: str | None,
    skip_existing: bool,
    continue_on_error: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make the SQLite database from session files, or add to it.

    Reads .jsonl and .jsonl.zst FILEs, and those in FOLDERs and below; without any, the folder of
    session_recording.jsonl.directory.
    """
    recording = loaded(config_file, settings).config.session_recording
    path = Path(database or recording.sqlite.path).expanduser()
    found = sorted_files(files or (recording.jsonl.directory,))
    counts = Counts(database=str(path), dry_run=dry_run)
    try:
        with _target(path, dry_run=dry_run) as target:
            _Import(counts, target, skip_existing=skip_existing, go_on=continue_on_error).run(found)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(
            f"{path}: can not be written ({reason}); free it or some space, and import again"
        ) from error
    click.echo(msgspec.json.encode(counts).decode() if as_json else _told(counts))
    return 1 if counts.errors else 0


class _Target(Protocol):
    """Where events go."""

    def holds(self, session_id: str) -> bool: ...

    def write(self, batch: Sequence[SessionEvent]) -> None: ...

    def index(self, texts: int) -> int: ...


class _NoTarget:
    """Takes everything and keeps nothing; of a database that is there it tells what it holds."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def holds(self, session_id: str) -> bool:
        if self._connection is None:
            return False
        sql = "SELECT 1 FROM sessions WHERE session_id = ?"
        return self._connection.execute(sql, (session_id,)).fetchone() is not None

    def write(self, batch: Sequence[SessionEvent]) -> None:
        del batch

    def index(self, texts: int) -> int:
        del texts
        return 0


@contextmanager
def _target(path: Path, *, dry_run: bool) -> Iterator[_Target]:
    if dry_run:
        with closing(open_reader(path)) if path.exists() else nullcontext() as connection:
            yield _NoTarget(connection)
        return
    private_directory(path.parent)
    store = SqliteStore(path)
    with closing(store):
        store.open()
        yield store
        store.flush()


def sorted_files(names: Iterable[str]) -> list[Path]:
    """Return the session files of some files and folders, each session's in their order.

    Raises `UnreadableLog` for what is not there.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = [p for p in path.rglob("*") if p.name.endswith((PLAIN, COMPRESSED))]
            found += (p for p in inside if p.is_file() and not p.is_symlink())
        elif path.is_file():
            found.append(path)
        else:
            raise UnreadableLog(f"{escaped(name)} can not be read: there is no such file.")
    # What was compressed is older than what stands beside it.
    return sorted(dict.fromkeys(found), key=lambda p: (p.parent, stem(p), p.suffix == PLAIN))


def stem(path: Path) -> str:
    """Return a session file's name without its ending."""
    return path.name.removesuffix(".zst").removesuffix(PLAIN)


class _Import:
    def __init__(
        self, counts: Counts, target: _Target, *, skip_existing: bool, go_on: bool
    ) -> None:
        self._counts = counts
        self._target = target
        self._skip = skip_existing
        self._go_on = go_on
        self._known: dict[str, bool] = {}
        """Sessions seen, and whether the database had them before."""

    def run(self, files: list[Path]) -> None:
        """Import all files."""
        sizes = [path.stat().st_size for path in files]
        shown = wanted(speaks=False)
        columns = (TaskProgressColumn(), DownloadColumn(), TimeRemainingColumn())
        with bar(*columns) if shown else nullcontext() as progress:
            task = progress.add_task("import", total=sum(sizes)) if progress else None
            for path, size in zip(files, sizes, strict=True):
                self._file(path)
                self._counts.files += 1
                if isinstance(progress, Progress) and task is not None:
                    progress.advance(task, size)
            while self._target.index(TEXTS_AT_ONCE):
                pass

    def _file(self, path: Path) -> None:
        batch: list[SessionEvent] = []
        try:
            for event in self._events(path):
                batch.append(event)
                if len(batch) == BATCH:
                    self._write(batch)
                    batch = []
        except UnreadableLog as error:
            self._wrong(error)
        self._write(batch)

    def _events(self, path: Path) -> Iterator[SessionEvent]:
        for event in read_events(path):
            if isinstance(event, BadLine):
                self._wrong(UnreadableLog(event.problem))
            elif not (self._had(event.session_id) and self._skip):
                yield event

    def _had(self, session_id: str) -> bool:
        had = self._known.get(session_id)
        if had is None:
            had = self._known[session_id] = self._target.holds(session_id)
            if had and self._skip:
                self._counts.skipped_sessions += 1
            else:
                self._counts.sessions += 1
        return had

    def _write(self, batch: list[SessionEvent]) -> None:
        written = len(batch)
        try:
            self._target.write(batch)
        except PartlyWritten as partly:
            written = partly.written
            for event in partly.rest or ():
                self._wrong(_unstorable(event, partly.__cause__))
        self._counts.events += written

    def _wrong(self, error: UnreadableLog) -> None:
        if not self._go_on:
            raise error
        self._counts.errors += 1
        click.echo(f"Warning: {escaped(str(error))}", err=True)


def _unstorable(event: SessionEvent, reason: BaseException | None) -> UnreadableLog:
    return UnreadableLog(
        f"Session {event.session_id}: an event of {event.timestamp} can not be stored ({reason})."
    )


def _told(counts: Counts) -> str:
    verb = "would be imported" if counts.dry_run else "imported"
    text = (
        f"{counts.sessions} sessions with {counts.events} events from {counts.files} files"
        f" {verb} into {counts.database}."
    )
    if counts.skipped_sessions:
        text += f" {counts.skipped_sessions} sessions were there already."
    if counts.errors:
        text += f" {counts.errors} files, lines or events were left out."
    return text
