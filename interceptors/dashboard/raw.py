"""One exchange as it was recorded: what went over the wire, from the session's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions import (
    RecordedExchange,
    Search,
    SessionFilter,
    SessionRow,
    ToolCall,
    WrongQuery,
    events_of_session,
    session_events,
)

SHOWN_BYTES = 30_000
"""Of each body on the page, written as HTML; all of it is in the JSON."""


class RawExchange(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange, from the database and, where that is there, from the session's file."""

    session: SessionRow
    exchange: RecordedExchange
    number: int
    """From 1."""
    total: int
    before: str | None
    """The request before it."""
    after: str | None
    calls: tuple[ToolCall, ...]
    request: session_events.RequestRecorded | None = None
    response: session_events.ResponseRecorded | None = None
    events: tuple[session_events.SessionEvent, ...] = ()


ORDER = "SELECT request_id, id FROM session_stats WHERE session_id = ? ORDER BY id"


def exchange(connection: sqlite3.Connection, session_id: str, request_id: str) -> RawExchange:
    """Return an exchange as the database has it; raises `WrongQuery` if it is not there."""
    search = Search(connection)
    wanted = SessionFilter(session_ids=(session_id,))
    sessions = search.page(wanted).sessions
    numbers = dict(connection.execute(ORDER, (session_id,)).fetchall())
    order = list(numbers)
    if not sessions or request_id not in order:
        raise WrongQuery("No such request is recorded in this session.")
    place = order.index(request_id)
    where = search.where(wanted)
    (found,) = search.newest(where, 1, upto=numbers[request_id], but=())
    return RawExchange(
        session=sessions[0],
        exchange=found,
        number=place + 1,
        total=len(order),
        before=order[place - 1] if place else None,
        after=order[place + 1] if place + 1 < len(order) else None,
        calls=tuple(call for call in search.tool_calls(where) if call.request_id == request_id),
    )


def with_events(found: RawExchange, directory: Path | None) -> RawExchange:
    """Return the exchange with what the session's file holds of it.

    Raises `GatewaySessionsError` where there is a file that can not be read.
    """
    if directory is None:
        return found
    day = found.session.started_at[:10]
    events = tuple(
        event
        for event in events_of_session(directory, found.session.session_id, day)
        if event.request_id == found.exchange.request_id
        and not isinstance(event, session_events.Completed)
    )
    return msgspec.structs.replace(
        found,
        request=_first(events, session_events.RequestRecorded),
        response=_first(events, session_events.ResponseRecorded),
        events=events,
    )


def _first(events: Iterable[session_events.SessionEvent], kind: type[Any]) -> Any:
    return next((event for event in events if isinstance(event, kind)), None)


def pretty(raw: Any) -> str:
    """Return JSON as people read it; empty where there is none."""
    if raw is None:
        return ""
    try:
        return msgspec.json.format(bytes(raw), indent=2).decode("utf-8", "replace")
    except msgspec.DecodeError:
        return bytes(raw).decode("utf-8", "replace")
