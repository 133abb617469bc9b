"""What each event changes in its session and among its messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from interceptors.recording_api import rows
from interceptors.recording_api.protocol import (
    Difference,
    Event,
    Message,
    MessageAdd,
    MessageAppend,
    MessageUpdate,
    Refused,
    SessionEnd,
    SessionSnapshot,
    SessionStart,
    SessionUpdate,
)
from interceptors.recording_api.rows import MessageRow, SessionRow

MAX_MESSAGES = 100_000
"""Of a session."""
MAX_CHARACTERS = 64 * 1024 * 1024
"""Of all messages of a session: recovery gives them in one answer."""
MAX_METADATA = 1024 * 1024
"""Characters of a session's metadata as JSON, after all merging."""

Change = Callable[[sqlite3.Connection, SessionRow, Any, int], Difference | None]
"""Applies an event that came at a time, in Unix milliseconds.  It changes the row that it is given
and writes messages; it returns what the client counts otherwise, and raises `Refused`."""


class AlreadyThere(Exception):
    """A message is there already, as it is sent."""


def _start(
    connection: sqlite3.Connection, session: SessionRow, event: SessionStart, now: int
) -> None:
    del now
    _describe(
        session,
        event.metadata,
        provider=event.provider,
        workspace_id=event.workspace_id,
        workspace_path=event.workspace_path,
        title=event.title,
        model=event.model,
    )


def _update_session(
    connection: sqlite3.Connection, session: SessionRow, event: SessionUpdate, now: int
) -> None:
    del now
    _describe(session, event.metadata, title=event.title, model=event.model)


def _end(
    connection: sqlite3.Connection, session: SessionRow, event: SessionEnd, now: int
) -> Difference | None:
    session.ended_at, session.end_reason = now, "ended"
    expected = event.final_message_count
    if expected is None or expected == session.message_count:
        return None
    return Difference(expected=expected, received=session.message_count)


def _add(connection: sqlite3.Connection, session: SessionRow, event: MessageAdd, now: int) -> None:
    known = rows.find_message(connection, session.session_id, event.message_id)
    if known is not None:
        message = rows.whole(connection, known)
        if (message.role, message.content) == (event.role, event.content):
            raise AlreadyThere
        raise Refused(
            "invalid_event",
            f"There is a message {event.message_id} already; send message_update to change it.",
        )
    _grow(session, len(event.content), 1)
    session.unwritten_messages += 1
    message = Message(
        message_id=event.message_id,
        role=event.role,
        content=event.content,
        created_at=now,
        model=event.model,
        parent_id=event.parent_id,
        metadata=event.metadata,
    )
    rows.add_message(connection, session, message)
    session.model = session.model or event.model


def _update(
    connection: sqlite3.Connection, session: SessionRow, event: MessageUpdate, now: int
) -> None:
    del now
    message = _message(connection, session, event.message_id)
    _grow(session, len(event.content) - message.size)
    rows.delete_parts(connection, message)
    session.unwritten_messages += message.revision is None
    connection.execute(
        "UPDATE messages SET content = ?, size = ?, is_complete = ?, revision = ? WHERE id = ?",
        (
            event.content,
            len(event.content),
            int(event.is_complete),
            session.revision,
            message.id,
        ),
    )


def _append(
    connection: sqlite3.Connection, session: SessionRow, event: MessageAppend, now: int
) -> None:
    del now
    message = _message(connection, session, event.message_id)
    _grow(session, len(event.content_delta))
    session.unwritten_messages += message.revision is None
    connection.execute(
        "INSERT INTO parts (message, text) VALUES (?, ?)", (message.id, event.content_delta)
    )
    connection.execute(
        "UPDATE messages SET size = size + ?, is_complete = 0, revision = ? WHERE id = ?",
        (len(event.content_delta), session.revision, message.id),
    )


def _replace(
    connection: sqlite3.Connection, session: SessionRow, event: SessionSnapshot, now: int
) -> None:
    del now
    session_id = session.session_id
    ids = {message.message_id for message in event.messages}
    if len(ids) < len(event.messages):
        raise Refused("invalid_event", "messages: two of them have the same message_id.")
    connection.execute(
        "DELETE FROM parts WHERE message IN (SELECT id FROM messages WHERE session_id = ?)",
        (session_id,),
    )
    gone = connection.execute(
        "DELETE FROM messages WHERE session_id = ? RETURNING message_id", (session_id,)
    ).fetchall()
    connection.executemany(
        "INSERT OR REPLACE INTO removed VALUES (?, ?, ?)",
        [(session_id, name, session.revision) for (name,) in gone if name not in ids],
    )
    session.message_count = session.size = 0
    _grow(session, sum(len(message.content) for message in event.messages), len(ids))
    session.unwritten_messages = len(ids)
    for message in event.messages:
        rows.add_message(connection, session, message)
    _describe(
        session,
        event.metadata,
        provider=event.provider,
        workspace_path=event.workspace_path,
        title=event.title,
    )


def _message(connection: sqlite3.Connection, session: SessionRow, message_id: str) -> MessageRow:
    found = rows.find_message(connection, session.session_id, message_id)
    if found is None:
        raise Refused(
            "message_not_found",
            f"Session {session.session_id} has no message {message_id}; add it first.",
        )
    return found


def _describe(session: SessionRow, metadata: dict[str, Any] | None, **given: str | None) -> None:
    """Take over what is given; what is not stays, and metadata is merged key by key."""
    for name, value in given.items():
        if value is not None:
            setattr(session, name, value)
    if metadata is None:
        return
    merged = rows.json_of((rows.from_json(session.metadata) or {}) | metadata)
    assert merged is not None
    if len(merged) > MAX_METADATA:
        raise Refused("too_large", f"metadata: {len(merged)} characters are more than is kept.")
    session.metadata = merged


def _grow(session: SessionRow, characters: int, messages: int = 0) -> None:
    session.size += characters
    session.message_count += messages
    if session.size > MAX_CHARACTERS or session.message_count > MAX_MESSAGES:
        raise Refused(
            "too_large",
            f"Session {session.session_id} would have {session.message_count} messages with"
            f" {session.size} characters; start another one.",
        )


APPLY: dict[type[Event], Change] = {
    SessionStart: _start,
    SessionEnd: _end,
    SessionUpdate: _update_session,
    SessionSnapshot: _replace,
    MessageAdd: _add,
    MessageUpdate: _update,
    MessageAppend: _append,
}
