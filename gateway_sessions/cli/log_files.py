"""The logs that a command is given: opened, read, measured, and what is wrong with them told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from gateway_sessions.cli.progress import Meter
from gateway_sessions.converters import Notes, Source, exchanges
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.exchange_log import LoggedExchange
from gateway_sessions.logs import escaped

STDIN = "standard input"


class LogFiles:
    """The exchanges of several files, one after the other."""

    def __init__(
        self,
        files: Sequence[str],
        *,
        form: str | None = None,
        skip_bad_lines: bool = False,
        watched: bool = False,
    ) -> None:
        """Take files, "-" being standard input.

        Args:
            files: their paths.
            form: the format of all of them; None to find out for each.
            skip_bad_lines: whether to tell of rows that can not be read and go on.
            watched: whether somebody watches, who gets a progress bar.
        """
        self._files = files
        self._form = form
        self._skip = skip_bad_lines
        self._watched = watched
        self._notes = Notes()
        self._skipped = 0

    def exchanges(self) -> Iterator[LoggedExchange]:
        """Yield all exchanges; raises `UnreadableLog` naming file and line."""
        meter = Meter(_size(self._files), _title(self._files)) if self._watched else None
        try:
            for file in self._files:
                yield from self._file(file, meter)
        finally:
            if meter is not None:
                meter.stop()

    def tell(self) -> bool:
        """Say on standard error what the logs lack; return whether exchanges got lost by it."""
        if self._skipped:
            click.echo(f"Lines that were skipped: {self._skipped}.", err=True)
        for sentence in self._notes.sentences():
            click.echo(f"Note: {sentence}", err=True)
        return bool(self._skipped or self._notes.without_prompt)

    def _file(self, file: str, meter: Meter | None) -> Iterator[LoggedExchange]:
        name = escaped(STDIN if file == "-" else file)
        try:
            with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
                for exchange in exchanges(
                    _source(stream, name, meter), self._notes, self._bad, self._form
                ):
                    yield exchange
                    if meter is not None:
                        meter.placed()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnreadableLog(f"{name} can not be read: {reason}.") from None

    def _bad(self, error: UnreadableLog) -> None:
        if not self._skip:
            raise error
        self._skipped += 1
        click.echo(f"Warning: {escaped(str(error))}", err=True)


def _source(stream: BinaryIO, name: str, meter: Meter | None) -> Source:
    return Source(stream, name, meter.read) if meter is not None else Source(stream, name)


def _size(files: Sequence[str]) -> int | None:
    """Return the size of all files together, None where one has none (a pipe) or is not there."""
    paths = [Path(file) for file in files]
    if not all(path.is_file() for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)


def _title(files: Sequence[str]) -> str:
    if len(files) > 1:
        return f"{len(files)} files"
    return STDIN if files[0] == "-" else escaped(files[0])
