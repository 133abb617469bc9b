"""What can be asked of sessions, as it is answered."""

from __future__ import annotations

import sqlite3
from typing import Any

from interceptors.recording_api import rows
from interceptors.recording_api.protocol import Recovery, Refused
from interceptors.recording_api.rows import SessionRow


def active_sessions(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return all live sessions, the one that was active last first."""
    found = rows.find_sessions(
        connection, "WHERE ended_at IS NULL ORDER BY last_activity DESC, session_id"
    )
    return [_summary(session) for session in found]


def session(connection: sqlite3.Connection, session_id: str) -> dict[str, Any]:
    """Return a session, live or ended, without its messages; raises `Refused`."""
    found = _found(connection, session_id)
    return _summary(found) | {
        "workspace_id": found.workspace_id,
        "model": found.model,
        "metadata": rows.from_json(found.metadata) or {},
        "last_seq": found.last_seq,
        "ended_at": found.ended_at,
        "end_reason": found.end_reason,
    }


def recovery(connection: sqlite3.Connection, session_id: str) -> Recovery:
    """Return a session, live or ended, with all of its messages; raises `Refused`."""
    found = _found(connection, session_id)
    messages = [
        rows.whole(connection, row)
        for row in rows.find_messages(connection, "WHERE session_id = ?", (session_id,))
    ]
    return Recovery(
        session_id=session_id,
        message_count=len(messages),
        messages=messages,
        last_message_id=messages[-1].message_id if messages else None,
        last_seq=found.last_seq,
    )


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many sessions are live, and of how many the recorder lacks something."""
    sql = (
        "SELECT (SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL),"
        " (SELECT COUNT(*) FROM sessions WHERE revision > written)"
    )
    live, dirty = connection.execute(sql).fetchone()
    return live, dirty


def _found(connection: sqlite3.Connection, session_id: str) -> SessionRow:
    found = rows.find_session(connection, session_id)
    if found is None:
        raise Refused("session_not_found", f"There is no session {session_id}.")
    return found


def _summary(found: SessionRow) -> dict[str, Any]:
    return {
        "session_id": found.session_id,
        "provider": found.provider,
        "title": found.title,
        "workspace_path": found.workspace_path,
        "message_count": found.message_count,
        "started_at": found.started_at,
        "last_activity": found.last_activity,
        "is_dirty": found.is_dirty,
    }
