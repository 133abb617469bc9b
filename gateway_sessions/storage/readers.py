"""Reading connections: at most so many, each for one caller at a time and not for ever."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from gateway_sessions.errors import StartError
from gateway_sessions.storage.migrations import check
from gateway_sessions.storage.sqlite import BUSY_SECONDS, translated

WAIT_SECONDS = 10.0
"""How long a caller waits for a free connection."""
READ_SECONDS = 30.0
"""How long a caller may read: the journal can not be emptied meanwhile."""

_STEPS_BETWEEN_LOOKS = 50_000


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that can only read; it may be used on any thread, by one at a time.

    Raises `StartError` where there is no database, or one that is newer than this program.
    """
    if not path.is_file():
        raise StartError(
            f"{path}: there is no database; record sessions first, or name another file"
        )
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        with translated(path):
            sql = "SELECT COALESCE(MAX(version), 0) FROM schema_version"
            check(int(connection.execute(sql).fetchone()[0]))
    except sqlite3.OperationalError as error:
        connection.close()
        raise StartError(
            f"{path}: this database holds no sessions ({error}); name another file"
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


class ReaderPool:
    """Hands out reading connections; used by any number of threads.

    A connection that was not in use when the file was replaced by another is not used again.
    """

    def __init__(
        self,
        path: Path,
        max_connections: int,
        *,
        wait_seconds: float = WAIT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._path = path
        self._wait_seconds = wait_seconds
        self._read_seconds = read_seconds
        self._free = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._idle: list[tuple[tuple[int, int], sqlite3.Connection]] = []
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection.

        Raises `StartError` as `open_reader` does, and `TimeoutError` where none becomes free or
        reading takes too long.
        """
        if not self._free.acquire(timeout=self._wait_seconds):
            raise TimeoutError("all connections to the database are in use; try again later")
        try:
            identity, connection = self._take()
            with self._limited(connection):
                yield connection
            # After an error it is closed: nobody knows in what state it is.
            self._give_back(identity, connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is not in use now, and the rest when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self) -> tuple[tuple[int, int], sqlite3.Connection]:
        identity = self._identity()
        with self._lock:
            while self._idle:
                known, connection = self._idle.pop()
                if known == identity:
                    return identity, connection
                connection.close()
        return identity, open_reader(self._path)

    def _give_back(self, identity: tuple[int, int], connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append((identity, connection))
                return
        connection.close()

    @contextmanager
    def _limited(self, connection: sqlite3.Connection) -> Iterator[None]:
        deadline = time.monotonic() + self._read_seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
        try:
            with translated(self._path):
                yield
            if connection.in_transaction:
                connection.rollback()
        except BaseException as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise TimeoutError(
                    f"reading took longer than {self._read_seconds:g} s; ask for less"
                ) from error
            raise
        connection.set_progress_handler(None, 0)

    def _identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - asked for with every reading
        except FileNotFoundError:
            return 0, 0
        return status.st_dev, status.st_ino
