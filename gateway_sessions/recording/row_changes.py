"""The rows that a batch of events touches: read, changed, written back.

Sums of sessions and days are kept by what an exchange's row becomes minus what it was, so an
event that comes a second time (a retried batch, an import of what was recorded live) adds
nothing.  Every number in a sum is rounded to a fixed fraction, as is the sum, so that it is the
same in whichever order and grouping events came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from gateway_sessions import events
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import statements, tables
from gateway_sessions.recording.known_rows import (
    DayKey,
    KnownExchange,
    KnownRows,
    KnownSession,
)
from gateway_sessions.recording.loop_rows import Loops
from gateway_sessions.recording.tables import DayRow, ExchangeRow, SessionRow, Tables

MS_PARTS, USD_PARTS = 1_000, 10_000_000_000
"""Of a millisecond and of a dollar, in whole numbers of which sums are kept: microseconds, and less
than the price of one cached token."""

TOKENS = (
    "input_tokens",
    "output_tokens",
    "thinking_tokens",
    "reasoning_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "total_tokens",
)
"""Columns of token counts."""

_DAY_MS = ("total_duration_ms", "provider_latency_ms", "proxy_overhead_ms")
_DAY_SUMS = (*TOKENS, *_DAY_MS, "cost_usd")
_SESSION_SUMS = (*_DAY_SUMS, "chunk_count", "streaming_duration_ms")
_session_sums = attrgetter(*_SESSION_SUMS)
_day_sums = attrgetter(*_DAY_SUMS)
_NOTHING = (None,) * len(_SESSION_SUMS)

SETTLED_COLUMNS = (
    "parent_session_id",
    "root_session_id",
    "started_at",
    "provider",
    "listener",
    "model_used",
    "client_ip",
    "user_agent",
    "title",
    "created_at",
)
"""What seldom changes after a session's first exchange.  Most indexes are on these columns, and
leaving them alone spares a third of the pages that an exchange would touch."""
_settled = itemgetter(*(tables.SESSION_COLUMNS.index(name) for name in SETTLED_COLUMNS))

_OF_EXCHANGES = frozenset(
    {
        events.RequestRecorded,
        events.StreamStarted,
        events.ResponseRecorded,
        events.ToolCallRecorded,
        events.RequestCompleted,
        events.Error,
    }
)
"""The events that an exchange's row has something of."""


class Changes:
    """The rows that a batch touches.

    Args:
        database: where they are.
        known: what is known to be there; what is written is added to it.
    """

    def __init__(self, database: Tables, known: KnownRows) -> None:
        self._database = database
        self._known = known
        self._sessions: dict[str, KnownSession] = {}
        self._exchanges: dict[tuple[str, str], KnownExchange] = {}
        self.tools: list[Sequence[Any]] = []
        self.streams: list[Sequence[Any]] = []
        self.chunks: list[Sequence[Any]] = []
        self.loops = Loops()
        self.messages: dict[tuple[str, str], Sequence[Any]] = {}
        self.removed: dict[tuple[str, str], str] = {}
        self._texts: dict[tuple[str, str], list[str | None]] = {}
        self._taken_back: list[tuple[str, str]] = []

    def read(self, batch: Iterable[SessionEvent]) -> None:
        """Read what is there of the batch's sessions and exchanges."""
        known = self._known
        ids = dict.fromkeys([event.session_id for event in batch])
        for session_id in ids & known.sessions.keys():
            self._sessions[session_id] = known.sessions[session_id]
        unknown = [(session_id,) for session_id in ids if session_id not in self._sessions]
        for values in self._database.find(tables.FIND_SESSIONS, unknown):
            row = SessionRow(**dict(zip(tables.FIND_SESSIONS.columns, values, strict=True)))
            self._sessions[row.session_id] = KnownSession(row, msgspec.structs.astuple(row))
        keys = dict.fromkeys(
            [
                (event.session_id, event.request_id)
                for event in batch
                if type(event) in _OF_EXCHANGES and event.session_id in self._sessions
            ]
        )
        for key in keys.keys() & known.exchanges.keys():
            self._exchanges[key] = known.exchanges[key]
        missing = [key for key in keys if key not in self._exchanges]
        for values in self._database.find(tables.FIND_EXCHANGES, missing):
            exchange = ExchangeRow(**dict(zip(tables.EXCHANGE_COLUMNS, values, strict=True)))
            key = exchange.session_id, exchange.request_id
            self._exchanges[key] = KnownExchange(exchange, msgspec.structs.replace(exchange))

    def session(self, event: SessionEvent, at: str) -> tuple[SessionRow, bool]:
        """Return an event's session, and whether nothing newer is known of it."""
        session = self._sessions.get(event.session_id)
        if session is None:
            row = SessionRow(
                session_id=event.session_id,
                root_session_id=event.session_id,
                started_at=at,
                last_active_at=at,
                created_at=at,
            )
            self._sessions[event.session_id] = KnownSession(row, None)
            return row, True
        row = session.row
        if at < row.last_active_at:
            return row, False
        row.last_active_at = at
        return row, True

    def exchange(self, event: SessionEvent, session: SessionRow, at: str) -> ExchangeRow:
        """Return an event's exchange, a new one if need be."""
        key = event.session_id, event.request_id
        exchange = self._exchanges.get(key)
        if exchange is not None:
            return exchange.row
        row = ExchangeRow(
            session_id=event.session_id,
            request_id=event.request_id,
            created_at=at,
            provider=session.provider,
        )
        self._exchanges[key] = KnownExchange(row, None)
        session.request_count += 1
        return row

    def text(
        self, event: SessionEvent, *, request: str | None = None, response: str | None = None
    ) -> None:
        """Take what was said in an exchange."""
        if not (request or response):
            return
        texts = self._texts.setdefault((event.session_id, event.request_id), [None, None])
        texts[0] = request or texts[0]
        texts[1] = response or texts[1]

    def forget_text(self, event: SessionEvent) -> None:
        """Take back what was said in a message."""
        key = event.session_id, event.request_id
        self._texts.pop(key, None)
        self._taken_back.append(key)

    def known_exchange(self, event: SessionEvent) -> ExchangeRow | None:
        """Return an event's exchange if anything was recorded of it."""
        exchange = self._exchanges.get((event.session_id, event.request_id))
        return None if exchange is None else exchange.row

    def write(self) -> None:
        """Write everything that changed."""
        self._write_days()
        for exchange in self._exchanges.values():
            old = None if exchange.written is None else _session_sums(exchange.written)
            session = self._sessions[exchange.row.session_id].row
            _add(session, _SESSION_SUMS, old, _session_sums(exchange.row))
        self._write_sessions()
        self._write_exchanges()
        database = self._database
        statements.TOOLS.write(database, self.tools)
        if self.streams:
            statements.STREAMS.write(database, self.streams)
            sessions = dict.fromkeys((stream[0],) for stream in self.streams)
            database.write(statements.WRITE_MEAN_START, list(sessions))
        statements.CHUNKS.write(database, self.chunks)
        loops, turns = self.loops.rows()
        statements.LOOPS.write(database, loops)
        statements.TURNS.write(database, turns)
        if self.removed:
            removed = [(*key, at) for key, at in self.removed.items()]
            database.write(statements.DELETE_MESSAGES, removed)
        statements.MESSAGES.write(database, self.messages.values())
        if self._taken_back:
            database.write(statements.DELETE_TEXTS, self._taken_back)
        texts = [(*key, *texts) for key, texts in self._texts.items()]
        statements.SAID.write(database, texts)
        self._known.written(self._sessions, self._exchanges)

    def _write_sessions(self) -> None:
        new: list[tuple[Any, ...]] = []
        # Apart, so that one whose model changes does not have the indexes of all others touched.
        changed: dict[bool, list[tuple[tuple[Any, ...], tuple[Any, ...]]]] = {False: [], True: []}
        for session in self._sessions.values():
            values, written = _values(session.row), session.written
            if written is None:
                new.append(values)
            else:
                changed[_settled(values) != _settled(written)].append((written, values))
            session.take_as_written(values)
        statements.SESSIONS.insert(self._database, new)
        for pairs in changed.values():
            statements.SESSIONS.update(self._database, pairs)

    def _write_exchanges(self) -> None:
        new: list[tuple[Any, ...]] = []
        changed: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []
        for exchange in self._exchanges.values():
            values = _values(exchange.row)
            if exchange.written is None:
                new.append(values)
            else:
                changed.append((_values(exchange.written), values))
        statements.EXCHANGES.insert(self._database, new)
        statements.EXCHANGES.update(self._database, changed)

    def _write_days(self) -> None:
        """Write the days whose sums change."""
        changed: list[tuple[ExchangeRow | None, ExchangeRow]] = []
        for exchange in self._exchanges.values():
            before, after = exchange.written, exchange.row
            if after.counts and (before is None or _day_part(before) != _day_part(after)):
                changed.append((before if before and before.counts else None, after))
        if not changed:
            return
        days, there = self._read_days({_day_key(row) for pair in changed for row in pair if row})
        gains: dict[DayKey, list[ExchangeRow]] = {}
        for before, after in changed:
            key = _day_key(after)
            days[key].sessions += self._is_new_on(key, after.session_id)
            gains.setdefault(key, []).append(after)
            if before is not None:
                _add_to_day(days[_day_key(before)], [before], -1)
        for key, rows in gains.items():
            _add_to_day(days[key], rows, 1)
        new = [_values(row) for key, row in days.items() if key not in there]
        statements.DAYS.insert(self._database, new)
        pairs = [(before, _values(days[key])) for key, before in there.items()]
        statements.DAYS.update(self._database, pairs)

    def _read_days(
        self, keys: set[DayKey]
    ) -> tuple[dict[DayKey, DayRow], dict[DayKey, tuple[Any, ...]]]:
        """Return the rows of days, new ones if need be, and those that are there as they are."""
        days = {key: DayRow(day=key[0], provider=key[1], model_name=key[2]) for key in keys}
        there: dict[DayKey, tuple[Any, ...]] = {}
        for values in self._database.find(tables.FIND_DAYS, keys):
            row = DayRow(**dict(zip(tables.DAY_COLUMNS, values, strict=True)))
            key = row.day, row.provider, row.model_name
            days[key], there[key] = row, tuple(values)
        return days, there

    def _is_new_on(self, day: DayKey, session_id: str) -> bool:
        """Tell whether a session is not counted on a day, and take it for counted from now on."""
        session = self._sessions[session_id]
        if day in session.days:
            return False
        session.days.add(day)
        if session.written is None:
            return True
        date, provider, model = day
        first, last = f"{date} 00:00:00.000000", f"{date} 23:59:59.999999"
        values = (session_id, first, last, provider, model)
        return not self._database.has(tables.COUNTED_ON_DAY, values)


def _values(row: msgspec.Struct) -> tuple[Any, ...]:
    return msgspec.structs.astuple(row)


def _day_key(row: ExchangeRow) -> DayKey:
    return row.created_at[:10], row.provider or "", row.model_name or ""


def _day_part(row: ExchangeRow) -> tuple[Any, ...]:
    return row.counts, row.success, row.model_name, _day_sums(row)


def _add_to_day(day: DayRow, rows: Sequence[ExchangeRow], sign: int) -> None:
    """Add exchanges to their day, or with a negative sign take them back."""
    day.requests += sign * len(rows)
    day.errors += sign * sum(row.success == 0 for row in rows)
    # Column by column: a day has many exchanges of a batch, and is one row.
    columns = zip(*map(_day_sums, rows), strict=True)
    sums = [
        sum(filter(None, column)) if column.count(None) < len(column) else None
        for column in columns
    ]
    _add(day, _DAY_SUMS, *((None, sums) if sign > 0 else (sums, None)))
    if sign > 0:
        slowest = max(row.provider_latency_ms or 0 for row in rows)
        day.max_latency_ms = max(day.max_latency_ms, slowest)


def _add(
    row: SessionRow | DayRow,
    names: Sequence[str],
    before: Sequence[float | None] | None,
    after: Sequence[float | None] | None,
) -> None:
    """Add to each sum what it has gained; a cost may be unknown."""
    for name, old, new in zip(names, before or _NOTHING, after or _NOTHING, strict=False):
        if old == new:
            continue
        total = (getattr(row, name) or 0) + (new or 0) - (old or 0)
        if type(total) is float:
            total = rounded(total, USD_PARTS if name == "cost_usd" else MS_PARTS)
        setattr(row, name, total)


def rounded(value: float, parts: int) -> float:
    """Return the nearest number with whole ``parts``; raises `ValueError` where there is none."""
    if value - value != 0:
        raise ValueError(f"{value} is no number that can be summed")
    # Four times as fast as `round`, which an exchange would need a dozen times.
    return floor(value * parts + 0.5) / parts
