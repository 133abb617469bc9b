"""The file of sessions: its tables, and how it is opened, made, and made anew."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gateway_sessions.errors import StartError
from gateway_sessions.storage.migrations import migrate
from gateway_sessions.storage.schema import SQLITE, Dialect
from gateway_sessions.storage.sqlite import CorruptDatabase, connect, quarantine, transaction

logger = logging.getLogger(__name__)

PAGE_BYTES = 1024
"""Keys lie anywhere in the file; small pages are less to write where only a few bytes change."""
CHECK_SECONDS = 0.3
"""How long a file is looked over at the start."""
BUCKETS = 16
"""Parts of the idle limit: so often at most does a session's place in the order of use change."""
CACHE_KIB = 16 * 1024


def tables(dialect: Dialect) -> Sequence[str]:
    """Return the statements that make the tables of version 1."""
    return (
        # A number is never given twice, so that keys of a session that has gone lead nowhere.
        """CREATE TABLE sessions (
            n INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, id TEXT NOT NULL,
            version INTEGER NOT NULL, used REAL NOT NULL, bucket INTEGER NOT NULL,
            state BLOB NOT NULL
        )""",
        "CREATE UNIQUE INDEX sessions_id ON sessions (scope, id)",
        "CREATE INDEX sessions_used ON sessions (scope, bucket)",
        """CREATE TABLE keys (
            key INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (key, n)
        ) WITHOUT ROWID""",
        # See `gateway_sessions.index.news`.
        """CREATE TABLE news (
            seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, added BLOB NOT NULL, outdated BLOB NOT NULL
        )""",
        "CREATE TABLE scopes (scope INTEGER PRIMARY KEY, held INTEGER NOT NULL)",
    )


MIGRATIONS = (tables,)


def opened(path: Path, now: float) -> sqlite3.Connection:
    """Return a connection to the file of sessions, which is made if it is missing.

    A file that is damaged is put aside, with one line in the log.  Raises `StartError`.
    """
    _make_directory(path)
    with _alone(path):
        try:
            return _connected(path)
        except CorruptDatabase as error:
            _put_aside(path, now, error)
            return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    connection = connect(path, check_seconds=CHECK_SECONDS, page_bytes=PAGE_BYTES)
    try:
        migrate(connection, SQLITE, partial(transaction, connection), MIGRATIONS)
        # Calls never wait in SQLite, and never for the disk: see the module of the store.
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB:d}")
    except BaseException:
        connection.close()
        raise
    return connection


def _put_aside(path: Path, now: float, error: CorruptDatabase) -> None:
    try:
        aside = quarantine(path, now)
    except OSError as failure:
        raise StartError(f"{error}; it can not be put aside ({failure.strerror})") from failure
    logger.warning("%s; it is kept as %s, and sessions begin anew", error, aside.name)


def _make_directory(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartError(f"{path.parent}: can not be made ({reason}); name another file") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time open the file, so that only one puts it aside."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(f"{path}.lock", flags, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartError(
            f"{path}: can not be opened ({reason}); name another file or mend its permissions"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
