"""The database of sessions: events go in, in transactions, each once however often it comes."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from gateway_sessions.analysis.moments import rfc3339
from gateway_sessions.errors import StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.known_rows import KnownRows
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.rows import apply, sql_time, text_size
from gateway_sessions.recording.tables import Key, Select
from gateway_sessions.storage import sqlite
from gateway_sessions.storage.migrations import VERSION, migrate
from gateway_sessions.storage.row_values import unix_time
from gateway_sessions.storage.schema import SQLITE
from gateway_sessions.storage.sqlite import CorruptDatabase, transaction, translated

TRANSACTION_CHARACTERS = 2_000_000
"""Of texts in one transaction, or a single event if that has more: bounds the WAL's growth."""

RECENT = 10_000
"""Exchanges that are looked at after a start, at most: more than a writer's buffer holds."""
_NEWEST = """
SELECT MAX(id), MAX(created_at)
FROM (SELECT id, created_at FROM session_stats ORDER BY id DESC LIMIT ?)"""
_FIRST_SINCE = """
SELECT MIN(id)
FROM (SELECT id, created_at FROM session_stats WHERE id <= ? ORDER BY id DESC LIMIT ?)
WHERE created_at >= ?"""

_INDEX = """
DELETE FROM session_search_pending
WHERE id IN (SELECT id FROM session_search_pending ORDER BY id LIMIT ?)"""


class SqliteStore:
    """Writes events into one SQLite file.  Not locked: one thread at a time.

    Errors of all methods: `OSError` where the machine or another program is in the way and
    trying again later may help, `CorruptDatabase` for a damaged file; what else `write` raises
    is the fault of an event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made = False
        """Whether the last `open` found no tables."""
        self._connection: sqlite3.Connection | None = None
        self._tables: _SqliteTables | None = None
        self._identity: tuple[int, int] | None = None
        self._known = KnownRows()
        self._version: int | None = None
        """The number that SQLite gives what others have written."""

    def open(self) -> None:
        """Open or make the database and bring its tables up to date.

        Raises `StartError` for a file that is not ours, or newer than this program.
        """
        _expected_schema()  # before a file is blamed for what SQLite here can not do
        connection = sqlite.connect(self.path)
        try:
            with translated(self.path):
                applied = migrate(connection, SQLITE, lambda: transaction(connection))
                _check_schema(self.path, connection)
            status = self.path.stat()
        except BaseException:
            connection.close()
            raise
        self.made = applied == VERSION
        self._connection = connection
        self._tables = _SqliteTables(connection)
        self._identity = status.st_dev, status.st_ino

    def write(self, batch: Sequence[SessionEvent]) -> None:
        """Write events; one that is bad fails alone.

        Raises `PartlyWritten` with those that are bad; all others are then written.
        """
        connection, _ = self._opened()
        done = 0
        with translated(self.path):
            for part in _parts(batch):
                self._hold_back(connection)
                try:
                    self._write(part)
                except _FAULTS_OF_EVENTS as error:
                    if not _of_values(error):
                        raise
                    bad = self._one_by_one(connection, batch[done:])
                    if bad:
                        raise PartlyWritten(len(batch) - len(bad), bad) from error
                    return
                done += len(part)

    def flush(self) -> None:
        """Make durable what was written."""
        if self._connection is not None:
            sqlite.sync_log(self.path)

    def index(self, texts: int) -> int:
        """Put that many waiting texts into the search index; return how many there were."""
        connection, _ = self._opened()
        with translated(self.path), transaction(connection):
            return connection.execute(_INDEX, (texts,)).rowcount

    def tidy(self) -> None:
        """Empty the WAL if no reader needs it."""
        connection, _ = self._opened()
        with translated(self.path):
            sqlite.shorten_log(connection)

    def close(self) -> None:
        """Close the database; it may be opened again."""
        if self._connection is not None:
            connection, self._connection, self._tables = self._connection, None, None
            connection.close()
        self._identity = None
        self._known.forget()

    @property
    def replaced(self) -> bool:
        """Whether the file is not the one that is open: moved away, deleted, or none is open."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - asked for with every batch
        except FileNotFoundError:
            return True
        return self._identity != (status.st_dev, status.st_ino)

    @property
    def lacks_since(self) -> float | None:
        """Since when session files may hold what the database lacks, in unix time; None if not.

        Kept in the file's header, so that what was interrupted is taken up again.
        """
        connection, _ = self._opened()
        with translated(self.path):
            (minute,) = connection.execute("PRAGMA user_version").fetchone()
        return 60.0 * (minute - 1) if minute else None

    @lacks_since.setter
    def lacks_since(self, since: float | None) -> None:
        connection, _ = self._opened()
        # Minutes: the header has room for 32 bits.
        minute = 0 if since is None else 1 + max(0, int(since // 60))
        with translated(self.path):
            connection.execute(f"PRAGMA user_version = {minute}")

    def newest(self) -> tuple[int, float]:
        """Return the largest id of an exchange, and when the newest exchanges began, in unix time.

        Both are 0 where there are none.
        """
        connection, _ = self._opened()
        with translated(self.path):
            number, at = connection.execute(_NEWEST, (RECENT,)).fetchone()
        return number or 0, 0.0 if at is None else unix_time(at)

    def before(self, since: float, until: int) -> int:
        """Return the id below those of exchanges that began at ``since`` or later.

        Of the ones up to ``until`` it looks at the newest `RECENT`; where none is so new, it
        returns ``until``.
        """
        connection, _ = self._opened()
        with translated(self.path):
            values = (until, RECENT, sql_time(rfc3339(since)))
            (first,) = connection.execute(_FIRST_SINCE, values).fetchone()
        return until if first is None else int(first) - 1

    def holds(self, session_id: str) -> bool:
        """Tell whether anything is recorded of a session."""
        connection, _ = self._opened()
        with translated(self.path):
            sql = "SELECT 1 FROM sessions WHERE session_id = ?"
            return connection.execute(sql, (session_id,)).fetchone() is not None

    def _opened(self) -> tuple[sqlite3.Connection, _SqliteTables]:
        if self._connection is None or self._tables is None:
            raise OSError(errno.EBADF, "the database is not open", str(self.path))
        return self._connection, self._tables

    def _hold_back(self, connection: sqlite3.Connection) -> None:
        """Let the WAL grow no further while a reader keeps it from being emptied."""
        if sqlite.log_size(self.path) <= sqlite.LOG_BYTES or sqlite.shorten_log(connection):
            return
        raise OSError(
            errno.EBUSY,
            "a program that reads for long keeps the journal from being emptied",
            str(self.path),
        )

    def _write(self, part: Sequence[SessionEvent]) -> None:
        connection, tables = self._opened()
        try:
            with transaction(connection):
                self._forget_if_changed(connection)
                apply(part, tables, self._known)
        except BaseException:
            self._known.forget()
            raise

    def _forget_if_changed(self, connection: sqlite3.Connection) -> None:
        """Forget what is known where another connection has written since."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._known.forget()

    def _one_by_one(
        self, connection: sqlite3.Connection, batch: Sequence[SessionEvent]
    ) -> list[SessionEvent]:
        """Write each event for itself; return those that are bad."""
        bad: list[SessionEvent] = []
        _, tables = self._opened()
        with transaction(connection):
            for event in batch:
                connection.execute("SAVEPOINT one")
                try:
                    apply([event], tables)
                except _FAULTS_OF_EVENTS as error:
                    if not _of_values(error):
                        raise
                    connection.execute("ROLLBACK TO one")
                    bad.append(event)
                connection.execute("RELEASE one")
        return bad


class _SqliteTables:
    """Reads and writes rows inside of a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, select: Select, keys: Collection[Key]) -> Iterable[Sequence[Any]]:
        sql = _select(select)
        # One cursor for all: most keys are those of new rows, and making it is half of that work.
        execute = self._connection.cursor().execute
        for key in keys:
            row = execute(sql, key).fetchone()
            if row is not None:
                yield row

    def has(self, sql: str, values: Sequence[Any]) -> bool:
        return self._connection.execute(sql, values).fetchone() is not None

    def write(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        self._connection.executemany(sql, rows)


_FAULTS_OF_EVENTS = (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What a bad event may make: values that a row can not have, or a type that nobody knows."""


def _of_values(error: Exception) -> bool:
    """Tell whether an error is about what was to be written, not about the database."""
    if not isinstance(error, sqlite3.Error):
        return not isinstance(error, UnicodeDecodeError)
    if isinstance(error, sqlite3.OperationalError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISMATCH) & 0xFF
    return code in {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
    }


def _parts(batch: Sequence[SessionEvent]) -> Iterator[Sequence[SessionEvent]]:
    """Split a batch so that no transaction grows too large."""
    start = size = 0
    for number, event in enumerate(batch):
        size += text_size(event)
        if size > TRANSACTION_CHARACTERS and number > start:
            yield batch[start:number]
            start, size = number, text_size(event)
    if batch:
        yield batch[start:]


@lru_cache
def _select(select: Select) -> str:
    condition = " AND ".join(f"{column} = ?" for column in select.by)
    return f"SELECT {', '.join(select.columns)} FROM {select.table} WHERE {condition}"  # noqa: S608 - names of ours


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Raise `CorruptDatabase` if a table or another part of ours is not as it was made."""
    there = _schema(connection)
    for name, sql in _expected_schema().items():
        if there.get(name) != sql:
            raise CorruptDatabase(f"{path}: the database is damaged ({name} was altered)")


@lru_cache
def _expected_schema() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            migrate(connection, SQLITE, lambda: transaction(connection))
        except sqlite3.OperationalError as error:
            raise StartError(
                f"This Python's SQLite lacks something ({error}); use another build of Python, or"
                " set session_recording.sqlite.enabled to false"
            ) from error
        return _schema(connection)


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    return dict(connection.execute(sql).fetchall())
