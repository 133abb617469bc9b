"""The journal: a SQLite file that holds every acknowledged event's effect.

It is the API's own, so that an acknowledgement does not depend on which writers of session
recording are on, and on how far they have come.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from gateway_sessions import (
    CorruptDatabase,
    StartError,
    connect_sqlite,
    make_private_directory,
    quarantine,
    sqlite_errors,
    sqlite_transaction,
)

logger = logging.getLogger(__name__)

FILE = "recording.db"
"""In the state directory."""
VERSION = 1

_TABLES = (
    """
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    last_activity INTEGER NOT NULL,
    workspace_id TEXT,
    workspace_path TEXT,
    title TEXT,
    model TEXT,
    ended_at INTEGER,
    end_reason TEXT,
    last_seq INTEGER,
    message_count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    written INTEGER NOT NULL,
    told INTEGER NOT NULL,
    unwritten_messages INTEGER NOT NULL,
    metadata TEXT -- the last, because it may be large and the others are often read alone
)""",
    # No index that every event would change: of sessions there are few, of commits many.
    "CREATE INDEX sessions_ended ON sessions(ended_at) WHERE ended_at IS NOT NULL",
    """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    model TEXT,
    parent_id TEXT,
    metadata TEXT,
    is_complete INTEGER NOT NULL,
    size INTEGER NOT NULL,
    revision INTEGER,
    UNIQUE (session_id, message_id)
)""",
    "CREATE INDEX messages_dirty ON messages(session_id, id) WHERE revision IS NOT NULL",
    # A message that grows by a word at a time is not written whole each time.
    "CREATE TABLE parts (id INTEGER PRIMARY KEY, message INTEGER NOT NULL, text TEXT NOT NULL)",
    "CREATE INDEX parts_message ON parts(message)",
    """
CREATE TABLE removed (
    session_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (session_id, message_id)
) WITHOUT ROWID""",
    """
CREATE TABLE seen (
    id INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    UNIQUE (session_id, event_id)
)""",
)


def open_journal(path: Path) -> sqlite3.Connection:
    """Return the writing connection to the journal, which is made if it is missing.

    A damaged one is put aside, and says so in the log.  Raises `StartError` where the file can
    not be used.
    """
    try:
        make_private_directory(path.parent)
        return _opened(path)
    except CorruptDatabase as error:
        put_aside(path, error)
        return _opened(path)
    except OSError as error:
        raise StartError(
            f"{path}: can not be opened ({error.strerror or error}); mend the state_directory's"
            " permissions, or set recording_api.enabled to false"
        ) from error


def put_aside(path: Path, error: CorruptDatabase) -> None:
    """Rename a damaged journal and log what that means; raises `OSError`."""
    aside = quarantine(path, time.time())
    logger.error(
        "%s; it was put aside as %s and a new one is begun: sessions that clients reported and"
        " that were not recorded yet are only in there",
        error,
        aside,
    )


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect_sqlite(path)
    try:
        with sqlite_errors(path):
            # An acknowledgement outlives the machine, not only the process.
            connection.execute("PRAGMA synchronous = FULL")
            with sqlite_transaction(connection):
                _make_tables(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StartError(
            f"{path}: was made by a newer gateway-sessions (version {version}); run that, or move"
            " the file away"
        )
    if not version:
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
