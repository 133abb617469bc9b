"""Opening a recorded database for one command, while others may be writing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway_sessions.errors import StartError
from gateway_sessions.storage.migrations import VERSION
from gateway_sessions.storage.readers import open_reader
from gateway_sessions.storage.sqlite import CorruptDatabase, translated


class NoDatabase(StartError):
    """There is nothing recorded at a place, or nothing that this program can read."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that can only read, and sees one state of the database throughout.

    It must not be held while a person reads: the writer's journal grows meanwhile.  Raises
    `StartError`: one sentence on why the file can not be asked.
    """
    with following(path) as connection, _sentences(path):
        connection.execute("BEGIN")
        yield connection


@contextmanager
def following(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that can only read and sees what is written meanwhile.

    Raises as `reading`.
    """
    with _sentences(path):
        if not path.exists():
            raise NoDatabase(
                f"{path}: no sessions are recorded there; run the gateway with"
                " session_recording.sqlite.enabled, or name another database."
            )
        connection = open_reader(path)
        try:
            (version,) = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
            if (version or 0) < VERSION:
                raise NoDatabase(
                    f"{path}: an older gateway-sessions made this database; start the gateway"
                    " with it once, which brings it up to date."
                )
            yield connection
        finally:
            connection.close()


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Raise what is wrong with a file as one sentence."""
    try:
        with translated(path):
            yield
    except CorruptDatabase as error:
        if getattr(error.__cause__, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise NoDatabase(f"{path}: this is no database; name another file.") from error
        raise NoDatabase(
            f"{error}; start the gateway with it, which puts it aside, and import the session"
            " files again."
        ) from error
    except OSError as error:
        if error.filename != str(path):
            raise
        reason = (error.strerror or str(error)).lower()
        raise NoDatabase(f"{path} can not be read: {reason}.") from error
