"""What each event does to its session.

All of it happens in the journal, which is the only memory: what a restart finds there is what
was acknowledged, whoever asks.  Events are checked before anything is changed.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from interceptors.recording_api import rows
from interceptors.recording_api.changes import APPLY, AlreadyThere
from interceptors.recording_api.protocol import (
    Ack,
    AnyEvent,
    Difference,
    Event,
    Heartbeat,
    Refused,
    Reply,
    SessionSnapshot,
    SessionStart,
    event_id_of,
    read_event,
)
from interceptors.recording_api.rows import SessionRow

MAX_SESSIONS = 10_000
"""Live sessions, as many as the gateway detects by default."""
MAX_SEEN = 10_000
"""Event ids of a session that are remembered: more than any client has unacknowledged."""


class Outcome(NamedTuple):
    """What came of an event."""

    reply: Reply
    session_id: str | None = None
    broadcast: bytes | None = None
    """The event as others are to see it; None where nothing changed."""
    urgent: bool = False
    """Whether the recorder is to have it now."""


class Sessions:
    """Takes events; belongs to one thread, in the middle of a transaction of the journal."""

    def __init__(
        self, connection: sqlite3.Connection, max_event_bytes: int, max_unwritten: int
    ) -> None:
        """``max_unwritten`` messages of a session make handing them to the recorder urgent."""
        self.connection = connection
        self._max_event_bytes = max_event_bytes
        self._max_unwritten = max_unwritten

    def take(self, raw: bytes, now: int) -> Outcome:
        """Read an event and apply it; ``now`` is in Unix milliseconds.

        What is wrong with the event is its answer.  Raises what the journal raises.
        """
        if len(raw) > self._max_event_bytes:
            sentence = (
                f"The event has {len(raw)} bytes; recording_api.max_event_bytes is"
                f" {self._max_event_bytes}."
            )
            return Outcome(Refused("too_large", sentence).reply(event_id_of(raw)))
        try:
            event = read_event(raw)
        except Refused as refused:
            return Outcome(refused.reply(event_id_of(raw)))
        return self.apply(event, now)

    def apply(self, event: AnyEvent, now: int) -> Outcome:
        """Apply an event that was read, all of it or nothing."""
        self.connection.execute("SAVEPOINT event")
        try:
            outcome = self._applied(event, now)
        except Refused as refused:
            self.connection.execute("ROLLBACK TO event")
            outcome = Outcome(refused.reply(event.event_id), event.session_id)
        self.connection.execute("RELEASE event")
        return outcome

    def _applied(self, event: AnyEvent, now: int) -> Outcome:
        session_id = event.session_id
        if session_id is None:
            return Outcome(Ack(event_id=event.event_id, session_id=None, status=event.status))
        if event.event_id is not None and self._seen(session_id, event.event_id):
            return Outcome(_duplicate(event), session_id)
        session = rows.find_session(self.connection, session_id)
        if isinstance(event, (SessionStart, SessionSnapshot)):
            session = self._begun(event, session, now)
        elif session is None:
            raise Refused("session_not_found", f"There is no session {session_id}; start it first.")
        elif session.ended_at is not None:
            raise Refused(
                "session_not_found", f"Session {session_id} has ended; start it again first."
            )
        gap = _gap(event, session)
        session.last_activity = max(now, session.last_activity)
        difference = None
        if not isinstance(event, Heartbeat):
            session.revision += 1
            try:
                difference = APPLY[type(event)](self.connection, session, event, now)
            except AlreadyThere:
                return Outcome(_duplicate(event), session_id)
        rows.write_session(self.connection, session)
        if event.event_id is not None:
            self._remember(session_id, event.event_id)
        ack = Ack(
            event_id=event.event_id,
            session_id=session_id,
            status=event.status,
            seq_gap=gap,
            message_count=difference,
        )
        if isinstance(event, Heartbeat):
            return Outcome(ack, session_id)
        urgent = session.ended_at is not None or session.unwritten_messages >= self._max_unwritten
        return Outcome(ack, session_id, msgspec.json.encode(event), urgent)

    def _begun(
        self, event: SessionStart | SessionSnapshot, session: SessionRow | None, now: int
    ) -> SessionRow:
        """Return the session that an event begins or takes up again."""
        if session is None or session.ended_at is not None:
            sql = "SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL"
            (live,) = self.connection.execute(sql).fetchone()
            if live >= MAX_SESSIONS:
                raise Refused("unavailable", f"{live} sessions are live already; end some first.")
        if session is None:
            return SessionRow(
                session_id=event.session_id,
                provider=event.provider,
                started_at=now,
                last_activity=now,
            )
        session.ended_at = session.end_reason = None
        if isinstance(event, SessionStart):
            session.last_seq = None  # a client that begins anew may count anew
        return session

    def _seen(self, session_id: str, event_id: str) -> bool:
        sql = "SELECT 1 FROM seen WHERE session_id = ? AND event_id = ?"
        return self.connection.execute(sql, (session_id, event_id)).fetchone() is not None

    def _remember(self, session_id: str, event_id: str) -> None:
        self.connection.execute(
            "INSERT INTO seen (session_id, event_id) VALUES (?, ?)", (session_id, event_id)
        )


def _duplicate(event: AnyEvent) -> Ack:
    return Ack(event_id=event.event_id, session_id=event.session_id, status="duplicate")


def _gap(event: Event, session: SessionRow) -> Difference | None:
    """Note an event's number and return how it differs from the one that was due.

    A number that was due long ago is an event that comes late, which is no gap.
    """
    last = session.last_seq
    if event.seq is None or (last is not None and event.seq <= last):
        return None
    session.last_seq = event.seq
    if last is None or event.seq == last + 1:
        return None
    return Difference(expected=last + 1, received=event.seq)
