"""Messages that a client has reported of its session through the recording API."""

from __future__ import annotations

import sqlite3

import msgspec

from interceptors.dashboard.texts import clipped

MESSAGES = 20
"""Messages of a page."""
TEXT_BYTES = 1_000
"""Of each, written as HTML."""

COUNT = "SELECT COUNT(*) FROM messages WHERE session_id = ?"
PAGE = (
    "SELECT message_id, role, content, content_characters, model, is_complete,"
    " substr(created_at, 1, 10) || 'T' || substr(created_at, 12) || 'Z'"
    " FROM messages WHERE session_id = ? ORDER BY created_at LIMIT ? OFFSET ?"
)
_ALL = -1


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    message_id: str
    role: str
    content: str | None
    """None where only facts about texts are recorded."""
    content_characters: int
    model: str | None
    is_complete: bool
    """False while the client adds to it."""
    created_at: str

    @property
    def is_cut(self) -> bool:
        """Whether there is more of it."""
        return self.content is not None and len(self.content) < self.content_characters


def count(connection: sqlite3.Connection, session_id: str) -> int:
    """Return how many messages were reported of a session."""
    (found,) = connection.execute(COUNT, (session_id,)).fetchone()
    return int(found)


def page(connection: sqlite3.Connection, session_id: str, number: int) -> tuple[Message, ...]:
    """Return a page of a session's messages, their texts cut."""
    found = _read(connection, session_id, MESSAGES, (number - 1) * MESSAGES)
    return tuple(
        msgspec.structs.replace(one, content=clipped(one.content, TEXT_BYTES)) for one in found
    )


def every(connection: sqlite3.Connection, session_id: str) -> list[Message]:
    """Return all messages of a session, whole."""
    return _read(connection, session_id, _ALL, 0)


def _read(
    connection: sqlite3.Connection, session_id: str, limit: int, offset: int
) -> list[Message]:
    names = Message.__struct_fields__
    return [
        msgspec.convert(dict(zip(names, row, strict=True)), Message, strict=False)
        for row in connection.execute(PAGE, (session_id, limit, offset))
    ]
