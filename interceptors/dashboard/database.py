"""The database that the pages show: asked on threads of their own, every failure a sentence."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway_sessions import GatewaySessionsError, ReaderPool, WrongQuery

READERS = 4
"""Pages that are read at the same time; the others wait."""
MAX_WAITING = 64
"""Pages that wait at most: more people than that do not look at one gateway."""
READ_SECONDS = 10.0
"""How long a page may read; who waited that long has left."""

T_ = TypeVar("T_")


class Problem(Exception):
    """Why a page can not be shown: a heading, a sentence on the cure, a status of HTTP."""

    def __init__(self, title: str, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.title = title
        self.sentence = sentence
        self.status = status


class Database:
    """Answers questions over connections that can only read.

    ``path`` is None where nothing is recorded into a database.  `ask` and `close` belong to the
    event loop's thread.
    """

    def __init__(self, path: Path | None, *, readers: int = READERS) -> None:
        self._path = path
        self._pool = None if path is None else ReaderPool(path, readers, read_seconds=READ_SECONDS)
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="dashboard")
        self._waiting = 0

    async def ask(self, question: Callable[[sqlite3.Connection], T_]) -> T_:
        """Return what ``question`` answers; it runs on a thread and sees one state throughout.

        Raises `Problem`.
        """
        if self._waiting >= MAX_WAITING:
            raise _busy()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._answer, question
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads and close the connections."""
        # Who still reads gives its connection back to a closed pool, which closes it.
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._pool is not None:
            self._pool.close()

    def _answer(self, question: Callable[[sqlite3.Connection], T_]) -> T_:
        if self._pool is None or self._path is None:
            raise Problem(
                "Nothing is recorded",
                "These pages show what is in the database of sessions. Set"
                " session_recording.sqlite.enabled to true and start the gateway again.",
                404,
            )
        if not self._path.is_file():
            raise Problem(
                "Nothing is recorded yet",
                f"The database {self._path} is not there yet. It is made when the gateway starts"
                " with session_recording.sqlite.enabled.",
                404,
            )
        try:
            with self._pool.connection() as connection:
                connection.execute("BEGIN")
                return question(connection)
        except WrongQuery:
            raise
        except TimeoutError as error:
            raise _busy() from error
        except GatewaySessionsError as error:
            raise Problem(
                "The database can not be read", f"{error}.".replace("..", "."), 503
            ) from error
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "errno", None) == errno.EBUSY:
                raise _busy() from error
            raise _unreadable(self._path, error) from error


def _busy() -> Problem:
    return Problem(
        "The database is busy",
        "It did not answer in time. Try again in a moment, or ask for less.",
        503,
    )


def _unreadable(path: Path, error: Exception) -> Problem:
    reason = getattr(error, "strerror", None) or str(error)
    return Problem(
        "The database can not be read",
        f"{path}: {reason}. Start the gateway again; a damaged database it puts aside, and makes"
        " it anew from the session files.",
        503,
    )
