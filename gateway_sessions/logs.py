"""The gateway's own log: to the terminal and to a file, off the request path.

A log call only appends its record to a bounded queue; a thread formats and writes what has
gathered, some twenty times a second.  So neither a slow terminal nor a full disk is felt by a
request, and under load a line costs a fraction of what writing it at once would.

What clients and upstreams say (paths, model names, error texts) ends up in lines.  Control
characters in them are escaped, so that nobody can forge a line or drive a terminal.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TextIO

from gateway_sessions.config import Logging
from gateway_sessions.config.masking import masked_text
from gateway_sessions.errors import StartError
from gateway_sessions.recording.files import (
    FILE_MODE,
    line_pieces,
    make_private_directory,
    open_private,
    write_all,
)

QUEUE_LINES = 10_000
"""Records that wait at most, some seconds of full load; more are dropped and counted."""
GATHER_SECONDS = 0.05
"""How long the writer lets lines gather: a person does not notice, a busy processor does."""

CLOSE_SECONDS = 5.0
"""How long the last lines may take at the end; a terminal that nobody reads takes for ever."""

_FRAMES = 8
"""Innermost frames of a traceback that are shown."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, text-direction marks and lone surrogates."""

logger = logging.getLogger(__name__)


def escaped(text: str) -> str:
    r"""Return ``text`` on one line, everything that is not plain text as ``\n`` or ``\u2028``."""
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


class ConsoleFormatter(logging.Formatter):
    """One line a record for people; of a traceback, one indented line for each of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text without a line break at its end."""
        line = f"{_time(record)} {record.levelname:<7} {_message(record)}"
        return "\n    | ".join([line, *_traceback(record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a record for machines.

    The values of a record whose arguments are a mapping (as those of the line for each
    request) become keys of their own.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry = {
            "timestamp": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if isinstance(record.args, dict):
            entry |= {key: value for key, value in record.args.items() if key not in entry}
        trace = list(_traceback(record))
        if trace:
            entry["traceback"] = "\n".join(trace)
        return json.dumps(entry, default=str)


class Sink(Protocol):
    """Somewhere to write lines to."""

    def write(self, text: str) -> None:
        """Write whole lines; raises `OSError`."""


class Console:
    """The terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def write(self, text: str) -> None:
        """Write whole lines; raises `OSError`."""
        for piece in line_pieces(text):
            self._stream.write(piece)
            self._stream.flush()


class LogFile:
    """A log file, mode 0600 in a folder of mode 0700, that may be moved away at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = self._opened()

    def write(self, text: str) -> None:
        """Append whole lines; raises `OSError`."""
        if self._moved():
            before, self._descriptor = self._descriptor, self._opened()
            os.close(before)
        write_all(self._descriptor, text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _opened(self) -> int:
        make_private_directory(self._path.parent)
        descriptor = open_private(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        # An earlier file may be readable by others; what is written from now on shall not be.
        os.fchmod(descriptor, FILE_MODE)
        return descriptor

    def _moved(self) -> bool:
        try:
            there, ours = self._path.stat(), os.fstat(self._descriptor)
        except FileNotFoundError:
            return True
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)


class BackgroundHandler(logging.Handler):
    """Queues records for a thread that writes them to all sinks."""

    def __init__(
        self,
        formatter: logging.Formatter,
        sinks: Iterable[tuple[Sink, int]],
        *,
        limit: int = QUEUE_LINES,
        gather: float = GATHER_SECONDS,
    ) -> None:
        """Write to ``sinks``, each with its lowest level."""
        super().__init__()
        self.setFormatter(formatter)
        self._sinks = list(sinks)
        self._limit = limit
        self._gather = gather
        self._waiting: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._awake = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it if too many wait."""
        if len(self._waiting) >= self._limit:
            self._dropped += 1
            return
        self._waiting.append(record)
        if not self._awake:
            # Only the first of a batch wakes the thread: waking it costs more than the rest.
            self._awake = True
            self._wake.set()

    def close(self) -> None:
        """Write what waits and end the thread; later records are not written."""
        self._closing.set()
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        logging.getLogger().removeHandler(self)
        if not self._thread.is_alive():
            for sink, _ in self._sinks:
                if isinstance(sink, LogFile):
                    sink.close()
            self._sinks.clear()
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(self._gather)
            self._awake = False
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        records = []
        while self._waiting:
            records.append(self._waiting.popleft())
        dropped, self._dropped = self._dropped, 0
        if dropped:
            text = f"log lines lost: {dropped}; too many at once, or the log was not writable"
            records.append(
                logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
            )
        written = [(record.levelno, _line(self, record)) for record in records]
        for sink, lowest in self._sinks:
            lines = [line for level, line in written if level >= lowest]
            if lines:
                try:
                    sink.write("".join(lines))
                except (OSError, ValueError):
                    # A full disk or a closed terminal: the next batch may fare better, and
                    # there is nowhere left to complain.
                    self._dropped += len(lines)


def set_up(
    settings: Logging,
    *,
    file_wanted: bool = False,
    console_level: str | None = None,
    stream: TextIO | None = None,
) -> BackgroundHandler:
    """Send all log records of the process to the terminal and to the log file.

    Returns the handler; its ``close`` writes what still waits and takes it out again.  A log
    file that can not be opened is a warning, or, where the user named it (``file_wanted``), a
    `StartError`.  ``console_level`` overrides the level for the terminal (``stream``, by
    default standard error) alone.
    """
    formatter = JsonFormatter() if settings.format == "json" else ConsoleFormatter()
    levels = logging.getLevelNamesMapping()
    lowest = levels[settings.level]
    sinks: list[tuple[Sink, int]] = []
    problem = None
    if settings.file is not None:
        path = Path(settings.file).expanduser()
        try:
            sinks.append((LogFile(path), lowest))
        except OSError as error:
            # "File exists" is what the system says when the folder's name is a file's.
            text = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
            reason = (text or str(error)).lower()
            problem = f"logging.file {escaped(str(path))} can not be written: {reason}"
    if problem and file_wanted:
        raise StartError(f"{problem}; name another file, or null for none.")
    # After the file, which shall have its lines also while the terminal is stuck.
    sinks.append((Console(stream), levels[console_level or settings.level]))
    handler = BackgroundHandler(formatter, sinks)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(lowest)
    if problem:
        logger.warning("%s; logging to the terminal only", problem)
    return handler


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    return escaped(masked_text(text) if "://" in text else text)


def _traceback(record: logging.LogRecord) -> Iterable[str]:
    if record.exc_info and record.exc_info[0] is not None:
        text = "".join(traceback.format_exception(*record.exc_info, limit=-_FRAMES))
        yield from (escaped(masked_text(line)) for line in text.rstrip().split("\n"))


def _line(handler: logging.Handler, record: logging.LogRecord) -> str:
    try:
        return handler.format(record) + "\n"
    except Exception as error:  # noqa: BLE001 -- a bad log call must not end the log
        return f"a log line of {record.name} can not be formatted: {escaped(str(error))}\n"
