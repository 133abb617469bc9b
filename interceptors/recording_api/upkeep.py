"""What is done to the journal besides taking events: closing, handing over, forgetting."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from interceptors.recording_api import rows
from interceptors.recording_api.protocol import Message
from interceptors.recording_api.rows import MessageRow, SessionRow
from interceptors.recording_api.sessions import MAX_SEEN

PARCEL_MESSAGES = 500
"""Handed over at once, well below what the recorder's queue holds."""
PARCEL_CHARACTERS = 8 * 1024 * 1024
"""As above; a message that is longer goes alone."""
PARCEL_SESSIONS = 500
KEEP_ENDED_MS = 24 * 3600 * 1000
"""An ended session can be recovered, and taken up again, for a day."""
KEEP_ENDED = 1000
"""Ended sessions, the newest; of all others the recorder has everything."""

_DELETE = (
    "DELETE FROM parts WHERE message IN (SELECT id FROM messages WHERE session_id = ?)",
    "DELETE FROM messages WHERE session_id = ?",
    "DELETE FROM removed WHERE session_id = ?",
    "DELETE FROM seen WHERE session_id = ?",
    "DELETE FROM sessions WHERE session_id = ?",
)
_FORGET_SEEN = """
DELETE FROM seen WHERE session_id = ? AND id <= (
    SELECT id FROM seen WHERE session_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"""


class Parcel(NamedTuple):
    """What the recorder lacks of a session, or the first part of it."""

    session: SessionRow
    removed: list[str]
    """Ids of messages that a snapshot did not have."""
    messages: list[tuple[MessageRow, Message]]
    is_all: bool


def expire(connection: sqlite3.Connection, before: int, now: int) -> int:
    """End the live sessions without any event since ``before``; return how many there were."""
    idle = rows.find_sessions(connection, "WHERE ended_at IS NULL AND last_activity < ?", (before,))
    for session in idle:
        session.ended_at, session.end_reason = now, "expired"
        session.revision += 1
        rows.write_session(connection, session)
    return len(idle)


def collect(connection: sqlite3.Connection) -> list[Parcel]:
    """Return what the recorder lacks, up to the limits of this module."""
    parcels: list[Parcel] = []
    messages, characters = PARCEL_MESSAGES, PARCEL_CHARACTERS
    dirty = rows.find_sessions(
        connection, "WHERE revision > written ORDER BY session_id LIMIT ?", (PARCEL_SESSIONS,)
    )
    for session in dirty:
        parcel = _parcel(connection, session, messages, characters)
        parcels.append(parcel)
        messages -= len(parcel.messages)
        characters -= sum(row.size for row, _ in parcel.messages)
        if messages <= 0 or characters <= 0:
            break
    return parcels


def _parcel(
    connection: sqlite3.Connection, session: SessionRow, messages: int, characters: int
) -> Parcel:
    key = session.session_id
    sql = "SELECT message_id FROM removed WHERE session_id = ?"
    removed = [name for (name,) in connection.execute(sql, (key,))]
    sizes = connection.execute(
        "SELECT id, size FROM messages WHERE session_id = ? AND revision IS NOT NULL"
        " ORDER BY id LIMIT ?",
        (key, messages + 1),
    ).fetchall()
    chosen: list[int] = []
    for number, size in sizes[:messages]:
        if chosen and size > characters:
            break
        chosen.append(number)
        characters -= size
    found = (
        rows.find_messages(
            connection,
            "WHERE session_id = ? AND revision IS NOT NULL AND id <= ?",
            (key, chosen[-1]),
        )
        if chosen
        else []
    )
    return Parcel(
        session,
        removed,
        [(row, rows.whole(connection, row)) for row in found],
        len(chosen) == len(sizes),
    )


def settle(connection: sqlite3.Connection, parcels: list[Parcel]) -> None:
    """Note that the recorder has these; what has changed meanwhile it still lacks."""
    for parcel in parcels:
        _settle(connection, parcel)


def _settle(connection: sqlite3.Connection, parcel: Parcel) -> None:
    key, revision = parcel.session.session_id, parcel.session.revision
    connection.execute(
        "DELETE FROM removed WHERE session_id = ? AND revision <= ?", (key, revision)
    )
    connection.executemany(
        "UPDATE messages SET revision = NULL WHERE id = ? AND revision = ?",
        [(row.id, row.revision) for row, _ in parcel.messages],
    )
    for row, message in parcel.messages:
        _join_parts(connection, row, message)
    sql = "SELECT COUNT(*) FROM messages WHERE session_id = ? AND revision IS NOT NULL"
    (left,) = connection.execute(sql, (key,)).fetchone()
    connection.execute(
        "UPDATE sessions SET told = 1, unwritten_messages = ?, written = ? WHERE session_id = ?",
        (left, revision if parcel.is_all else parcel.session.written, key),
    )
    connection.execute(_FORGET_SEEN, (key, key, MAX_SEEN))


def _join_parts(connection: sqlite3.Connection, row: MessageRow, message: Message) -> None:
    """Make one text of a message and its parts, if nothing was added meanwhile."""
    if len(message.content) == len(row.content):
        return
    sql = "SELECT size FROM messages WHERE id = ? AND revision IS NULL"
    if connection.execute(sql, (row.id,)).fetchone() == (row.size,):
        rows.delete_parts(connection, row)
        connection.execute(
            "UPDATE messages SET content = ? WHERE id = ?", (message.content, row.id)
        )


def prune(connection: sqlite3.Connection, now: int) -> int:
    """Forget ended sessions that the recorder has, old ones and too many; return how many."""
    due = connection.execute(
        "SELECT session_id FROM sessions WHERE ended_at IS NOT NULL AND revision <= written"
        " AND (ended_at < ? OR session_id IN (SELECT session_id FROM sessions"
        " WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT -1 OFFSET ?))",
        (now - KEEP_ENDED_MS, KEEP_ENDED),
    ).fetchall()
    for key in due:
        for statement in _DELETE:
            connection.execute(statement, key)
    return len(due)
