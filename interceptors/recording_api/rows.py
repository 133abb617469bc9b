"""Rows of the journal and how they are read and written."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from interceptors.recording_api.protocol import Message


class SessionRow(msgspec.Struct, kw_only=True):
    """A session; its fields are the table's columns."""

    session_id: str
    provider: str
    started_at: int
    last_activity: int
    workspace_id: str | None = None
    workspace_path: str | None = None
    title: str | None = None
    model: str | None = None
    metadata: str | None = None
    """As JSON."""
    ended_at: int | None = None
    end_reason: str | None = None
    last_seq: int | None = None
    message_count: int = 0
    size: int = 0
    """Characters of all messages."""
    revision: int = 0
    """Counts changes."""
    written: int = 0
    """The revision that the recorder has."""
    told: int = 0
    """Whether the recorder knows of the session."""
    unwritten_messages: int = 0

    @property
    def is_dirty(self) -> bool:
        """Whether the recorder lacks something."""
        return self.revision > self.written


class MessageRow(msgspec.Struct, kw_only=True):
    """A message; its fields are the table's columns."""

    id: int
    """In the order of the session."""
    session_id: str
    message_id: str
    role: str
    content: str
    """Without its `parts`."""
    created_at: int
    model: str | None = None
    parent_id: str | None = None
    metadata: str | None = None
    is_complete: int = 1
    size: int = 0
    revision: int | None = None
    """The session's when it changed last; None if the recorder has it."""


def _columns(row: type[msgspec.Struct]) -> tuple[str, ...]:
    return row.__struct_fields__


_SESSION = _columns(SessionRow)
_MESSAGE = _columns(MessageRow)
_FIND_SESSIONS = f"SELECT {', '.join(_SESSION)} FROM sessions"  # noqa: S608 - our own names
_FIND_MESSAGES = f"SELECT {', '.join(_MESSAGE)} FROM messages"  # noqa: S608 - as above
_WRITE_SESSION = (
    f"INSERT OR REPLACE INTO sessions ({', '.join(_SESSION)})"  # noqa: S608 - as above
    f" VALUES ({', '.join('?' * len(_SESSION))})"
)
_ADD_MESSAGE = (
    f"INSERT INTO messages ({', '.join(_MESSAGE[1:])})"  # noqa: S608 - as above
    f" VALUES ({', '.join('?' * (len(_MESSAGE) - 1))})"
)
_PARTS = "SELECT text FROM parts WHERE message = ? ORDER BY id"


def find_session(connection: sqlite3.Connection, session_id: str) -> SessionRow | None:
    """Return a session, live or ended."""
    found = find_sessions(connection, "WHERE session_id = ?", (session_id,))
    return found[0] if found else None


def find_sessions(
    connection: sqlite3.Connection, where: str, values: tuple[Any, ...] = ()
) -> list[SessionRow]:
    """Return the sessions that a ``WHERE`` clause of ours, or what may follow it, chooses."""
    rows = connection.execute(f"{_FIND_SESSIONS} {where}", values)
    return [SessionRow(**dict(zip(_SESSION, row, strict=True))) for row in rows]


def write_session(connection: sqlite3.Connection, row: SessionRow) -> None:
    """Write a session, new or changed."""
    connection.execute(_WRITE_SESSION, msgspec.structs.astuple(row))


def find_messages(
    connection: sqlite3.Connection, where: str, values: tuple[Any, ...]
) -> list[MessageRow]:
    """Return the messages that a ``WHERE`` clause of ours chooses, in order."""
    rows = connection.execute(f"{_FIND_MESSAGES} {where} ORDER BY id", values)
    return [MessageRow(**dict(zip(_MESSAGE, row, strict=True))) for row in rows]


def find_message(
    connection: sqlite3.Connection, session_id: str, message_id: str
) -> MessageRow | None:
    """Return a message by its id."""
    found = find_messages(
        connection, "WHERE session_id = ? AND message_id = ?", (session_id, message_id)
    )
    return found[0] if found else None


def add_message(connection: sqlite3.Connection, session: SessionRow, message: Message) -> None:
    """Put a message behind the others of its session."""
    connection.execute(
        _ADD_MESSAGE,
        (
            session.session_id,
            message.message_id,
            message.role,
            message.content,
            message.created_at,
            message.model,
            message.parent_id,
            json_of(message.metadata),
            int(message.is_complete),
            len(message.content),
            session.revision,
        ),
    )


def whole(connection: sqlite3.Connection, row: MessageRow) -> Message:
    """Return a message with everything that was appended to it."""
    parts = connection.execute(_PARTS, (row.id,)).fetchall()
    return Message(
        message_id=row.message_id,
        role=row.role,
        content="".join((row.content, *(text for (text,) in parts))),
        created_at=row.created_at,
        model=row.model,
        parent_id=row.parent_id,
        metadata=from_json(row.metadata),
        is_complete=bool(row.is_complete),
    )


def delete_parts(connection: sqlite3.Connection, row: MessageRow) -> None:
    """Forget what was appended to a message."""
    connection.execute("DELETE FROM parts WHERE message = ?", (row.id,))


def json_of(metadata: dict[str, Any] | None) -> str | None:
    """Return metadata as it is kept."""
    return None if metadata is None else msgspec.json.encode(metadata).decode()


def from_json(text: str | None) -> dict[str, Any] | None:
    """Return metadata as clients see it."""
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
