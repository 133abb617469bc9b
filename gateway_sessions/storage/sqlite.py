"""SQLite files: opened so that nobody else reads them, looked over, and put aside when broken.

There is one writing connection and a bounded number of reading ones.  Journal and data are in
WAL mode: readers never wait for the writer, nor it for them.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway_sessions.errors import GatewaySessionsError, StartError

APPLICATION_ID = 0x67775F73
"""``gw_s`` in a file's header: the database is ours."""
BUSY_SECONDS = 5.0
"""How long a write waits for another program that is writing."""
CHECK_SECONDS = 2.0
"""How long a file is looked over at start: all of a usual one, the beginning of a huge one.
Damage beyond it is found when it is met."""
LOG_BYTES = 40 * 2**20
"""Size of the WAL at which writing waits for readers.  With the largest transaction on top it
stays below 64 MiB."""

PAGE_BYTES = 8192
"""Of a new file.  A text and its answer fill half of it, and half as many pages are half as many
calls of the system."""
_CHECKPOINT_BYTES = 16 * 2**20
_CACHE_KIB = 32 * 1024
_MAGIC = b"SQLite format 3\0"
_SIDES = ("-wal", "-shm")


class ForeignFile(StartError):
    """The file is somebody else's: no database, or one that another program made."""


class CorruptDatabase(GatewaySessionsError):
    """The file is damaged."""


def connect(
    path: Path, *, check_seconds: float = CHECK_SECONDS, page_bytes: int = PAGE_BYTES
) -> sqlite3.Connection:
    """Return the writing connection to a database, which is made (mode 0600) if it is missing.

    It may be used on any thread, by one at a time.  Raises `StartError` where the file can not
    be used, and `CorruptDatabase`.

    Args:
        path: the file.
        check_seconds: how long it is looked over.
        page_bytes: size of the pages of a new file.
    """
    _make(path)
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        with translated(path):
            _look_over(path, connection, check_seconds)
            _set_up(path, connection, page_bytes)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep other writers out, commit at the end; undo everything if anything is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # what is wrong has been said
                connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as what they mean for a caller.

    `CorruptDatabase` for a damaged file, `OSError` where the machine or another program is in
    the way and later it may go well; all others, which speak of the statement or its values,
    stay what they are.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _CORRUPT:
            raise CorruptDatabase(f"{path}: the database is damaged ({error})") from error
        if code in _SYSTEM:
            raise OSError(_SYSTEM[code], str(error), str(path)) from error
        if isinstance(error, sqlite3.OperationalError) and not code:
            # Python's own complaint about a text in the file that is no UTF-8.
            raise CorruptDatabase(f"{path}: the database is damaged ({error})") from error
        raise
    except UnicodeDecodeError as error:  # the same, in what SQLite has to say
        raise CorruptDatabase(f"{path}: the database is damaged ({error.reason})") from error


_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SYSTEM = {
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}


def quarantine(path: Path, now: float) -> Path:
    """Rename a damaged database, with its journal, to ``<name>.corrupt-<time>``; return that.

    Raises `OSError`.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    # The journal first: beside a new database an old journal would be taken for its own.
    for side in _SIDES:
        with suppress(FileNotFoundError):
            Path(f"{path}{side}").rename(f"{aside}{side}")
    path.rename(aside)
    return aside


def log_size(path: Path) -> int:
    """Return the bytes of a database's WAL."""
    try:
        return os.stat(f"{path}-wal").st_size  # noqa: PTH116 - asked for with every batch
    except FileNotFoundError:
        return 0


def shorten_log(connection: sqlite3.Connection) -> bool:
    """Move the WAL into the database and empty it; False where a reader needs it still."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    return not busy


def sync_log(path: Path) -> None:
    """Make durable what was committed; raises `OSError`.

    A commit hands its pages to the system, which survives the end of a process.  Only this, or
    a checkpoint, makes them survive that of the machine.
    """
    try:
        log = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.fsync(log)
    finally:
        os.close(log)


def _make(path: Path) -> None:
    """Make sure that there is a file of ours to be, no link and nothing else."""
    try:
        try:
            made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            # Of an open database no second descriptor may be closed: that would end its locks.
            # So at least nobody else has it open through us when its head is read.
            head = _head(path)
        else:
            os.close(made)
            _sync_directory(path.parent)
            return
    except OSError as exc:
        reason = exc.strerror or str(exc)
        if exc.errno == errno.ELOOP:
            reason = "it is a symbolic link"
        raise StartError(
            f"{path}: can not be opened ({reason}); name another file or mend its permissions"
        ) from exc
    # A flipped byte or a zeroed page is damage; a file that was never a database is not.
    alike = sum(a == b for a, b in zip(head, _MAGIC, strict=False))
    if head.strip(b"\0") and alike < len(head) / 2:
        raise ForeignFile(f"{path}: this is no SQLite database; name another file")


def _head(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.read(descriptor, len(_MAGIC))
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _look_over(path: Path, connection: sqlite3.Connection, check_seconds: float) -> None:
    """Raise `CorruptDatabase` for what can not be read, `ForeignFile` for others' databases."""
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        versions = ()
        if "schema_version" in tables:
            sql = "SELECT COUNT(*), COALESCE(MAX(version), 0) FROM schema_version"
            versions = connection.execute(sql).fetchone()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise
        # Nothing was asked that a sound file could not answer.
        raise CorruptDatabase(f"{path}: the database is damaged ({error})") from error
    ours = application == APPLICATION_ID or {"schema_version", "session_stats"} <= tables
    if tables and not ours:
        raise ForeignFile(f"{path}: this database was made by another program; name another file")
    if versions and versions[0] != versions[1]:
        raise CorruptDatabase(f"{path}: the database is damaged (versions are missing)")
    complaint = _complaint(connection, check_seconds)
    if complaint is not None:
        raise CorruptDatabase(f"{path}: the database is damaged ({complaint})")


def _complaint(connection: sqlite3.Connection, check_seconds: float) -> str | None:
    """Return the first fault that SQLite finds within some seconds."""
    # Not a progress handler: older versions ask it only between one table and the next.
    enough = threading.Timer(check_seconds, connection.interrupt)
    enough.start()
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        enough.cancel()
        enough.join()
    return None if found == "ok" else str(found)


def _set_up(path: Path, connection: sqlite3.Connection, page_bytes: int) -> None:
    try:
        connection.execute(f"PRAGMA page_size = {page_bytes:d}")  # of a file with pages, it stays
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
            raise
        # It was opened for writing before; so this is what its header says.
        raise CorruptDatabase(f"{path}: the database is damaged ({error})") from error
    if mode != "wal":
        raise StartError(f"{path}: SQLite has no WAL there; put the database on a local disk")
    connection.execute("PRAGMA synchronous = NORMAL")
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // page}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES // 2}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
