"""Recorded sessions, found: pages, sums, and one session with all that is known of it.

The command line, the JSON interface and the dashboard all ask here, with the same filter.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway_sessions.errors import WrongQuery
from gateway_sessions.storage.filters import SessionFilter
from gateway_sessions.storage.queries import (
    EVERYTHING,
    WAITING,
    Clause,
    conditions,
    order,
    text_query,
)
from gateway_sessions.storage.results import Detail, Exchange, Page, SessionRow, ToolCall
from gateway_sessions.storage.row_values import columns, rfc3339, values

EXCERPT = 200
"""Characters of a session's text in a list."""
MAX_WAITING = 20_000
"""Texts not yet in the search index that are searched, the newest: about a second's work."""
MAX_NAMED = 5
"""Sessions that an ambiguous beginning of an id is shown with."""
_BATCH = 500
"""Rows that are read at once where all are wanted."""
_LOOK_BACK = 100_000
"""Exchanges among which those are looked for that go on; what is older never will."""

_ROW = columns(SessionRow, "s", excerpt=f"substr(s.request_text, 1, {EXCERPT})")
_EXCHANGE = columns(
    Exchange,
    "e",
    model_name="COALESCE(e.model_name, e.model_requested)",
    request_text="t.request_text",
    response_text="t.response_text",
)
_EXCHANGES = (
    "session_stats e LEFT JOIN session_texts t"
    " ON t.session_id = e.session_id AND t.request_id = e.request_id"
)
_TOOL = columns(ToolCall, "c")


def asked(connection: sqlite3.Connection, wanted: SessionFilter) -> Clause:
    """Return a filter as a condition on ``sessions s`` that can be asked over a connection.

    Texts are put into the search index when there is time; those that wait get one of their own.
    """
    if wanted.text:
        for statement in _INDEX_WAITING:
            connection.execute(statement)
    return conditions(wanted)


_INDEX_WAITING = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {WAITING} USING fts5(request_text, response_text)",
    f"DELETE FROM {WAITING}",
    (
        f"INSERT INTO {WAITING} (rowid, request_text, response_text)"
        " SELECT id, request_text, response_text FROM session_texts WHERE id IN"
        f" (SELECT id FROM session_search_pending ORDER BY id DESC LIMIT {MAX_WAITING})"
    ),
)


class Search:
    """Questions to one database, over one connection that reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Ask over a connection; it stays the caller's to close."""
        self._connection = connection

    def where(self, wanted: SessionFilter) -> Clause:
        """Return a filter as the condition that other methods take."""
        return asked(self._connection, wanted)

    def page(self, wanted: SessionFilter) -> Page:
        """Return one page of sessions, and how many there are on all."""
        where = asked(self._connection, wanted)
        (total,) = self._one(f"SELECT COUNT(*) FROM sessions s WHERE {where.sql}", where)
        size = wanted.page_size
        rows = self._rows(where, wanted, size, (wanted.page - 1) * size)
        return Page(
            sessions=tuple(rows),
            total=total,
            page=wanted.page,
            page_size=size,
            pages=max(1, -(-total // size)),
        )

    def every(self, wanted: SessionFilter) -> Iterator[SessionRow]:
        """Yield all sessions that a filter finds, not only a page of them.

        As `exchanges` and `tool_calls` it reads some at a time, so that a caller who takes long
        between two never holds the writer up.
        """
        where = asked(self._connection, wanted)
        numbers = self._numbers(
            f"SELECT s.rowid FROM sessions s WHERE {where.sql} ORDER BY {order(wanted)}", where
        )
        sql = f"SELECT s.rowid, {_ROW} FROM sessions s WHERE s.rowid IN ({{}})"
        return (values(SessionRow, row) for row in self._by_number(sql, numbers))

    def _rows(
        self, where: Clause, wanted: SessionFilter, limit: int, offset: int
    ) -> Iterator[SessionRow]:
        # Rows are picked by their numbers first, so that skipped ones need not be read.
        sql = (
            f"SELECT {_ROW} FROM sessions s WHERE s.rowid IN ("
            f"SELECT s.rowid FROM sessions s WHERE {where.sql}"
            f" ORDER BY {order(wanted)} LIMIT ? OFFSET ?) ORDER BY {order(wanted)}"
        )
        for row in self._connection.execute(sql, (*where.values, limit, offset)):
            yield values(SessionRow, row)

    def _numbers(self, sql: str, where: Clause) -> list[int]:
        return [row[0] for row in self._connection.execute(sql, where.values)]

    def _by_number(self, sql: str, numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Yield rows in the order of their numbers, which a statement selects first."""
        for batch in (numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH)):
            found = self._connection.execute(sql.format(_marks(batch)), batch).fetchall()
            rows = {row[0]: row[1:] for row in found}
            yield from (rows[number] for number in batch if number in rows)

    def resolve(self, start: str) -> str:
        """Return the one session id that begins so; raises `WrongQuery` if there is not one."""
        if not start:
            raise WrongQuery("A session id must not be empty.")
        found = self._beginning_with(start)
        if start in found or len(found) == 1:
            return start if start in found else found[0]
        # As JSON in ASCII nothing in an id acts on a terminal.
        shown = json.dumps(start)
        if not found:
            raise WrongQuery(f"No recorded session has the id {shown}, or one that begins so.")
        names = ", ".join(json.dumps(name)[1:-1] for name in found[:MAX_NAMED])
        more = ", …" if len(found) > MAX_NAMED else ""
        raise WrongQuery(
            f"Several sessions' ids begin with {shown}: {names}{more}; give more of it."
        )

    def _beginning_with(self, start: str) -> list[str]:
        try:
            start.encode()
        except UnicodeEncodeError:
            return []  # bytes that are no text, as a command line may have them
        sql = (
            "SELECT session_id FROM sessions WHERE session_id >= ? AND session_id < ?"
            " ORDER BY session_id LIMIT ?"
        )
        rows = self._connection.execute(sql, (start, start + chr(0x10FFFF), MAX_NAMED + 1))
        return [row[0] for row in rows]

    def detail(self, session_id: str) -> Detail:
        """Return a session with everything in it; raises `WrongQuery` if it is not there."""
        of_session = Clause("s.session_id = ?", (session_id,))
        row = self._connection.execute(
            f"SELECT {_ROW} FROM sessions s WHERE {of_session.sql}", of_session.values
        ).fetchone()
        if row is None:
            raise WrongQuery("No such session is recorded.")
        session = values(SessionRow, row)
        return Detail(
            session=session,
            exchanges=tuple(self.exchanges(of_session)),
            tool_calls=tuple(self.tool_calls(of_session)),
            streams=tuple(self._streams(session_id)),
            children=tuple(self._children(session)),
        )

    def exchanges(self, where: Clause) -> Iterator[Exchange]:
        """Yield the exchanges of sessions that a condition on ``sessions s`` chooses."""
        numbers = self._numbers(
            f"SELECT e.id FROM session_stats e WHERE {chosen('e', where)}"
            " ORDER BY e.created_at, e.id",
            where,
        )
        sql = f"SELECT e.id, {_EXCHANGE} FROM {_EXCHANGES} WHERE e.id IN ({{}})"
        return (values(Exchange, row) for row in self._by_number(sql, numbers))

    def in_flight(self, limit: int) -> tuple[int, list[int]]:
        """Return the number of the newest exchange, and of the newest ones that go on.

        Numbers grow in the order in which exchanges were recorded; 0 stands for none.
        """
        (newest,) = self._connection.execute("SELECT MAX(id) FROM session_stats").fetchone()
        rows = self._connection.execute(
            "SELECT id FROM session_stats WHERE success IS NULL AND id > ?"
            " ORDER BY id DESC LIMIT ?",
            ((newest or 0) - _LOOK_BACK, limit),
        )
        return newest or 0, [row[0] for row in rows]

    def newest(
        self, where: Clause, number: int, *, upto: int, but: Sequence[int]
    ) -> list[Exchange]:
        """Return the newest exchanges of chosen sessions, oldest first.

        ``upto`` is the number of the last that counts, ``but`` are numbers of others left out.
        """
        condition = f"e.id <= ? AND e.id NOT IN ({_marks(but)}) AND {chosen('e', where)}"
        parameters = (upto, *but, *where.values)
        rows = self._exchanges(condition, parameters, f"e.id DESC LIMIT {number:d}")
        return [exchange for _, exchange in rows][::-1]

    def after(self, where: Clause, number: int, among: Sequence[int]) -> list[tuple[int, Exchange]]:
        """Return the exchanges of chosen sessions after a number, and some before it."""
        condition = f"(e.id > ? OR e.id IN ({_marks(among)})) AND {chosen('e', where)}"
        return self._exchanges(condition, (number, *among, *where.values), "e.id")

    def _exchanges(
        self, condition: str, parameters: Sequence[Any], ending: str
    ) -> list[tuple[int, Exchange]]:
        sql = f"SELECT e.id, {_EXCHANGE} FROM {_EXCHANGES} WHERE {condition} ORDER BY {ending}"
        rows = self._connection.execute(sql, tuple(parameters)).fetchall()
        return [(row[0], values(Exchange, row[1:])) for row in rows]

    def tool_calls(self, where: Clause) -> Iterator[ToolCall]:
        """Yield the tool calls of sessions that a condition on ``sessions s`` chooses."""
        numbers = self._numbers(
            f"SELECT c.id FROM tool_call_executions c WHERE {chosen('c', where)}"
            " ORDER BY c.created_at, c.id",
            where,
        )
        sql = f"SELECT c.id, {_TOOL} FROM tool_call_executions c WHERE c.id IN ({{}})"
        return (values(ToolCall, row) for row in self._by_number(sql, numbers))

    def snippets(self, wanted: SessionFilter, session_ids: Sequence[str]) -> Mapping[str, str]:
        """Return for some sessions a part of their text where the filter's text occurs."""
        asked(self._connection, wanted)
        found: dict[str, str] = {}
        for table in ("session_search", WAITING):
            name = table.removeprefix("temp.")
            sql = (
                f"SELECT t.session_id, snippet({name}, -1, '', '', '…', 24)"
                f" FROM {table} JOIN session_texts t ON t.id = {name}.rowid"
                f" WHERE {name} MATCH ? AND t.session_id IN ({_marks(session_ids)})"
                f" ORDER BY {name}.rowid DESC"
            )
            found |= self._connection.execute(
                sql, (text_query(wanted.text), *session_ids)
            ).fetchall()
        return found

    def _streams(self, session_id: str) -> Iterator[dict[str, Any]]:
        cursor = self._connection.execute(
            "SELECT * FROM stream_events WHERE session_id = ? ORDER BY created_at, id",
            (session_id,),
        )
        names = [column[0] for column in cursor.description]
        for row in cursor:
            stream = dict(zip(names, row, strict=True))
            yield stream | {"created_at": rfc3339(stream["created_at"])}

    def _children(self, session: SessionRow) -> list[str]:
        # By the root, which all of a tree share, because there is an index on it.
        rows = self._connection.execute(
            "SELECT session_id FROM sessions WHERE root_session_id = ? AND parent_session_id = ?"
            " ORDER BY created_at",
            (session.root_session_id, session.session_id),
        )
        return [row[0] for row in rows]

    def _one(self, sql: str, where: Clause) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(sql, where.values).fetchone()
        return row


def _marks(parameters: Sequence[Any]) -> str:
    return ", ".join("?" * len(parameters))


def chosen(table: str, where: Clause) -> str:
    """Return the condition that a row of another table belongs to a chosen session."""
    if where.sql == EVERYTHING:
        return EVERYTHING
    return f"{table}.session_id IN (SELECT s.session_id FROM sessions s WHERE {where.sql})"
