"""Recorded sessions in a SQLite database, to be queried.

The database is a copy of what session files hold, in another form.  So whatever happens to it,
it can be made anew: it is when the file is damaged or was deleted, and after a crash what it may
lack is read in again.  What the files may lack after one is given back to them.
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
    restore_session_files,
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
        self._restoring: _Restoring | None = None
        """Gives session files what they lack; begun by the first tick."""
        self._last = 0
        """The newest exchange at the start, by number."""
        self._unrestored = session_files is not None
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
                self._last, newest = self._store.newest()
            except CorruptDatabase as error:
                self._begin_anew(error)
            else:
                # Whoever looks into a database may change its file: its rows tell better.
                since = min(written, newest or written) - MARGIN_SECONDS
                self._lack(_FOREVER_AGO if self._store.made else since)
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
                if session_events.Gap in set(map(type, batch)):
                    self._note_hole()
                if self._holes_since is not None:
                    self._mark(self._holes_since - MARGIN_SECONDS)
            except OSError:
                self._note_hole()
                raise
            finally:
                self._wake.set()

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
                self._lack(self._holes_since - MARGIN_SECONDS)
                self._holes_since = None
            if self._unrestored and self._files is not None:
                # Not at the start: by now there is what a gateway sends again after a crash.
                self._unrestored = False
                self._restoring = _Restoring(self._restore(self._files))
                self._idle.clear()
                self._wake.set()

    def close(self) -> None:
        """Close the database."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._restoring = None
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
        self._begin()

    def _note_hole(self) -> None:
        if self._holes_since is None:
            self._holes_since = time.time()

    def _lack(self, since: float) -> None:
        """Have the upkeep read in the session files that were written to since then."""
        self._mark(since)
        self._read_in(since)

    def _mark(self, since: float) -> None:
        """Note in the database what is to be read in, for the next start if there is a crash."""
        marked = self._store.lacks_since
        if self._files is not None and (marked is None or since < marked):
            self._store.lacks_since = since

    def _read_in(self, since: float) -> None:
        if self._files is not None:
            marked = self._store.lacks_since
            since = since if marked is None else min(since, marked)
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
        self._begin()

    def _begin(self) -> None:
        """Open a new database, which is to be filled with all that there is."""
        self._store.open()
        self._last = 0
        self._lack(_FOREVER_AGO)

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
        if self._restoring is not None:
            self._give_back(self._restoring)
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
        if reading.since == _FOREVER_AGO:
            logger.info("%s: made anew from %d events", self._path, reading.events)
        if reading.bad:
            logger.warning(
                "%s: %d events of session files can not be written", self._path, reading.bad
            )
        self._settle()

    def _restore(self, files: Path) -> Iterator[int]:
        """Return what gives session files the events before the start that they lack."""
        since = self._store.lacks_since or _FOREVER_AGO
        after = self._store.before(since, self._last)
        return restore_session_files(self._path, files, after, self._last)

    def _give_back(self, restoring: _Restoring) -> None:
        """Write the events of a session to its file, where it lacks some."""
        try:
            count = next(restoring.sessions, None)
        except BaseException:
            self._restoring, self._unrestored = None, True
            raise
        if count is not None:
            restoring.events += count
            return
        self._restoring = None
        if restoring.events:
            logger.warning(
                "%s: %d events that only the database had were written to session files",
                self._path,
                restoring.events,
            )
        with self._sound():
            self._settle()

    def _settle(self) -> None:
        """Take the database for complete, if nothing is left to be read or given back."""
        busy = self._unrestored or self._restoring is not None or self._reading is not None
        if not busy and self._since is None and self._holes_since is None:
            self._store.lacks_since = None


@dataclass
class _Restoring:
    """How far session files were given back what they lack."""

    sessions: Iterator[int]
    events: int = 0


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
