"""Recorded sessions in a SQLite database, to be queried.

The database is a copy of what session files hold, in another form.  So whatever happens to it,
it can be made anew: it is when the file is damaged or was deleted, and after a crash what it may
lack is read in again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from gateway_sessions import (
    CorruptDatabase,
    GatewaySessionsError,
    PartlyWritten,
    ReaderPool,
    SqliteStore,
    StartError,
    private_directory,
    quarantine,
    recorded_events,
    session_events,
)

logger = logging.getLogger(__name__)

MARGIN_SECONDS = 60.0
"""How much earlier than the last write session files are read in again: they are written by
another thread, which may have been ahead or behind."""
QUIET_SECONDS = 0.02
"""Without an event for so long, there is time for upkeep."""
PATIENCE_SECONDS = 2.0
"""After so long without a quiet moment a piece of upkeep is done nevertheless."""
TEXTS_AT_ONCE = 50
"""Texts indexed in one go: a few milliseconds, for which events wait."""
FLUSH_SECONDS = 5.0
"""How long a flush works on the search index; what is left is done later."""
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0
"""Pause of the upkeep after an error, doubled with each further one up to the second figure."""

_FOREVER_AGO = 0.0


class SqliteWriter:
    """Writes session events into one database; see ``docs/recording.md`` for its tables.

    Args:
        path: The database; made with mode 0600 if it is missing.
        max_connections: Connections that `readers` hands out at the same time.
        session_files: Folder of the session files that the database is made anew from; without
            one it begins empty after damage.
    """

    def __init__(
        self,
        path: Path,
        max_connections: Annotated[int, Meta(ge=1)] = 5,
        session_files: Path | None = None,
    ) -> None:
        self._path = Path(path)
        self._files = None if session_files is None else Path(session_files)
        self._store = SqliteStore(self._path)
        self._lock = threading.Lock()
        self._writes = 0
        self._holes_since: float | None = None
        """When the database may have begun to lack events, in unix time."""
        self._since: float | None = None
        """Session files written later than this are to be read in."""
        self._reading: _Reading | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self.readers = ReaderPool(self._path, max_connections)
        """For whoever runs a recorder in his own process and wants to query what it wrote."""

    def open(self) -> None:
        """Open the database, or begin a new one where it is damaged.

        Raises `StartError` where the file can not be used or is not ours.
        """
        private_directory(self._path.parent)
        written = _last_change(self._path)
        try:
            try:
                self._store.open()
            except CorruptDatabase as error:
                self._begin_anew(error)
            if self._store.made:
                self._mark_incomplete()  # session files may be older than the database
            self._read_in(_FOREVER_AGO if self._store.incomplete else written - MARGIN_SECONDS)
        except OSError as error:
            raise StartError(
                f"{self._path}: the database can not be opened ({error.strerror});"
                " end the program that holds it, or free some space"
            ) from error
        self._stop.clear()
        self._thread = threading.Thread(target=self._upkeep, name="sqlite-upkeep", daemon=True)
        self._thread.start()

    def write(self, batch: Sequence[session_events.SessionEvent]) -> None:
        """Write events, all in one transaction.

        Raises `OSError` where that may succeed later, `PartlyWritten` with events that are bad.
        """
        self._writes += 1
        with self._lock:
            self._idle.clear()
            try:
                self._write(batch)
            except OSError:
                self._note_hole()
                raise
            finally:
                self._wake.set()
        if session_events.Gap in set(map(type, batch)):
            self._note_hole()

    def flush(self) -> None:
        """Make durable what was written, and findable."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._sound():
            self._store.flush()
            while self._store.index(TEXTS_AT_ONCE) and time.monotonic() < deadline:
                pass

    def tick(self, now: float) -> None:
        """Keep the journal short, and read in what was missed while something was in the way."""
        del now
        with self._sound():
            self._store.tidy()
            if self._holes_since is not None:
                self._read_in(self._holes_since - MARGIN_SECONDS)
                self._holes_since = None

    def close(self) -> None:
        """Close the database."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.readers.close()
        self._store.close()

    def wait_until_complete(self, timeout: float) -> bool:
        """Wait until session files are read in and texts are indexed; tell if that is so."""
        return self._idle.wait(timeout)

    def _write(self, batch: Sequence[session_events.SessionEvent]) -> None:
        try:
            if self._store.replaced:
                self._reopen()
            self._store.write(batch)
        except CorruptDatabase as error:
            self._begin_anew(error)
            self._store.write(batch)

    def _reopen(self) -> None:
        logger.warning("%s: the database was moved or deleted; a new one is begun", self._path)
        self._store.close()
        self._store.open()
        self._mark_incomplete()

    def _note_hole(self) -> None:
        if self._holes_since is None:
            self._holes_since = time.time()

    def _read_in(self, since: float) -> None:
        """Have the upkeep read in the session files that were written to since then."""
        if self._files is not None:
            self._since = since if self._since is None else min(since, self._since)
        self._idle.clear()
        self._wake.set()

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Hold the lock; where the database turns out to be damaged, begin a new one."""
        with self._lock:
            try:
                yield
            except CorruptDatabase as error:
                self._begin_anew(error)

    def _begin_anew(self, error: CorruptDatabase) -> None:
        self._store.close()
        aside = quarantine(self._path, time.time())
        logger.error("%s; it was renamed to %s and a new one is begun", error, aside.name)
        self._store.open()
        self._mark_incomplete()

    def _mark_incomplete(self) -> None:
        if self._files is not None:
            self._store.incomplete = True
            self._read_in(_FOREVER_AGO)

    # From here on everything runs on the upkeep's own thread.

    def _upkeep(self) -> None:
        pause = RETRY_SECONDS
        while not self._stop.is_set():
            seen = self._quiet()
            try:
                while self._piece() and self._writes == seen and not self._stop.is_set():
                    pause = RETRY_SECONDS
            except (OSError, GatewaySessionsError, sqlite3.Error) as error:
                logger.warning("%s: upkeep fails and is tried again: %s", self._path, error)
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
            if self._idle.is_set() and not self._stop.is_set():
                self._wake.wait()

    def _quiet(self) -> int:
        """Wait for a moment without writes, not for ever; return their number."""
        waited = 0.0
        while True:
            seen = self._writes
            if self._stop.wait(QUIET_SECONDS):
                return seen
            waited += QUIET_SECONDS
            if self._writes == seen or waited >= PATIENCE_SECONDS:
                return seen

    def _piece(self) -> bool:
        """Do a piece of what is to be done; tell if there may be more."""
        with self._lock:
            since, self._since = self._since, None
        if since is not None and self._files is not None:
            self._reading = _Reading(recorded_events(self._files, since), since)
        if self._reading is not None:
            self._read(self._reading)
            return True
        with self._sound():
            if self._store.index(TEXTS_AT_ONCE):
                return True
            if self._since is not None:
                return True
            self._wake.clear()
            self._idle.set()
            return False
        return True  # begun anew

    def _read(self, reading: _Reading) -> None:
        """Read in some events of session files."""
        try:
            batch = next(reading.batches, None)  # without the lock: it may take long
            with self._sound():
                if batch is None:
                    self._have_read(reading)
                else:
                    reading.events += len(batch)
                    self._store.write(batch)
        except PartlyWritten as partly:
            reading.bad += len(partly.rest or ())
        except BaseException:
            self._reading = None
            with self._lock:
                self._read_in(reading.since)
            raise

    def _have_read(self, reading: _Reading) -> None:
        self._reading = None
        if self._store.incomplete and reading.since == _FOREVER_AGO:
            self._store.incomplete = False
            logger.info("%s: made anew from %d events", self._path, reading.events)
        if reading.bad:
            logger.warning(
                "%s: %d events of session files can not be written", self._path, reading.bad
            )


@dataclass
class _Reading:
    """How far session files are read in."""

    batches: Iterator[list[session_events.SessionEvent]]
    since: float
    events: int = 0
    bad: int = 0


def _last_change(path: Path) -> float:
    """Return when a database was last written to, in unix time; 0 where there is none."""
    times = [0.0]
    for name in (path, Path(f"{path}-wal")):
        try:
            times.append(name.stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(times)
