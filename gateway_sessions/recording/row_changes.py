"""The rows that a batch of events touches: read, changed, written back.

Sums of sessions and days are kept by what an exchange's row becomes minus what it was, so an
event that comes a second time (a retried batch, an import of what was recorded live) adds
nothing.  Every number in a sum is rounded to a fixed count of decimals, as is the sum, so that
it is the same in whichever order and grouping events came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import tables
from gateway_sessions.recording.tables import DayRow, ExchangeRow, SessionRow, Tables

MS_DECIMALS, USD_DECIMALS = 3, 10
"""Microseconds, and less than the price of one cached token."""

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
_SESSION_SUMS = (*TOKENS, "chunk_count", *_DAY_MS, "streaming_duration_ms", "cost_usd")
_DAY_SUMS = (*TOKENS, *_DAY_MS, "cost_usd")
_session_sums = attrgetter(*_SESSION_SUMS)
_day_sums = attrgetter(*_DAY_SUMS)
_settled = attrgetter(*tables.SETTLED_COLUMNS)
_progress = attrgetter(*tables.PROGRESS_COLUMNS, "session_id")

_DayKey = tuple[str, str, str]


class Changes:
    """The rows that a batch touches."""

    def __init__(self, database: Tables) -> None:
        self._database = database
        self._sessions: dict[str, SessionRow] = {}
        self._settled: dict[str, tuple[Any, ...]] = {}
        self._exchanges: dict[tuple[str, str], ExchangeRow] = {}
        self._before: dict[tuple[str, str], ExchangeRow] = {}
        self.tools: list[Sequence[Any]] = []
        self.streams: list[Sequence[Any]] = []
        self.chunks: list[Sequence[Any]] = []
        self.loops: list[Sequence[Any]] = []
        self.turns: list[Sequence[Any]] = []
        self.messages: dict[tuple[str, str], Sequence[Any]] = {}
        self.removed: dict[tuple[str, str], str] = {}
        self._texts: dict[tuple[str, str], list[str | None]] = {}
        self._taken_back: list[tuple[str, str]] = []

    def read(self, batch: Iterable[SessionEvent]) -> None:
        """Read what is there of the batch's sessions and exchanges."""
        sessions = {(event.session_id,): None for event in batch}
        exchanges = {(event.session_id, event.request_id): None for event in batch}
        for values in self._database.find(tables.FIND_SESSIONS, sessions):
            row = SessionRow(**dict(zip(tables.FIND_SESSIONS.columns, values, strict=True)))
            self._sessions[row.session_id] = row
            self._settled[row.session_id] = _settled(row)
        known = [key for key in exchanges if key[0] in self._sessions]
        for values in self._database.find(tables.FIND_EXCHANGES, known):
            exchange = ExchangeRow(**dict(zip(tables.EXCHANGE_COLUMNS, values, strict=True)))
            key = exchange.session_id, exchange.request_id
            self._exchanges[key] = exchange
            self._before[key] = msgspec.structs.replace(exchange)

    def session(self, event: SessionEvent, at: str) -> tuple[SessionRow, bool]:
        """Return an event's session, and whether nothing newer is known of it."""
        row = self._sessions.get(event.session_id)
        if row is None:
            row = self._sessions[event.session_id] = SessionRow(
                session_id=event.session_id,
                root_session_id=event.session_id,
                started_at=at,
                last_active_at=at,
                created_at=at,
            )
            return row, True
        if at < row.last_active_at:
            return row, False
        row.last_active_at = at
        return row, True

    def exchange(self, event: SessionEvent, session: SessionRow, at: str) -> ExchangeRow:
        """Return an event's exchange, a new one if need be."""
        key = event.session_id, event.request_id
        row = self._exchanges.get(key)
        if row is None:
            row = self._exchanges[key] = ExchangeRow(
                session_id=event.session_id,
                request_id=event.request_id,
                created_at=at,
                provider=session.provider,
            )
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
        return self._exchanges.get((event.session_id, event.request_id))

    def write(self) -> None:
        """Write everything that changed."""
        days = self._days()
        for key, row in self._exchanges.items():
            self._add_to_session(self._before.get(key), row)
        database = self._database
        whole = [row for key, row in self._sessions.items() if self._is_new(key, row)]
        going_on = [row for key, row in self._sessions.items() if not self._is_new(key, row)]
        for sql, rows in (
            (tables.WRITE_SESSIONS, [_values(row) for row in whole]),
            (tables.WRITE_PROGRESS, [_progress(row) for row in going_on]),
            (tables.WRITE_EXCHANGES, [_values(row) for row in self._exchanges.values()]),
            (tables.WRITE_DAYS, [_values(row) for row in days]),
            (tables.WRITE_TOOLS, self.tools),
            (tables.WRITE_STREAMS, self.streams),
            (tables.WRITE_MEAN_START, list({(stream[0],): None for stream in self.streams})),
            (tables.WRITE_CHUNKS, self.chunks),
            (tables.WRITE_LOOPS, self.loops),
            (tables.WRITE_TURNS, self.turns),
            (tables.DELETE_MESSAGES, [(*key, at) for key, at in self.removed.items()]),
            (tables.WRITE_MESSAGES, list(self.messages.values())),
            (tables.DELETE_TEXTS, self._taken_back),
            (tables.WRITE_TEXTS, [(*key, *texts) for key, texts in self._texts.items()]),
        ):
            if rows:
                database.write(sql, rows)

    def _is_new(self, session_id: str, row: SessionRow) -> bool:
        """Tell whether a session is new, or something about it that is usually settled."""
        return self._settled.get(session_id) != _settled(row)

    def _add_to_session(self, before: ExchangeRow | None, after: ExchangeRow) -> None:
        old = None if before is None else _session_sums(before)
        _add(self._sessions[after.session_id], _SESSION_SUMS, old, _session_sums(after))

    def _days(self) -> list[DayRow]:
        """Return the rows of the days whose sums change."""
        changed: list[tuple[ExchangeRow | None, ExchangeRow]] = []
        for key, after in self._exchanges.items():
            before = self._before.get(key)
            if after.counts and (before is None or _day_part(before) != _day_part(after)):
                changed.append((before if before and before.counts else None, after))
        keys = {_day_key(row) for pair in changed for row in pair if row is not None}
        days = {key: DayRow(day=key[0], provider=key[1], model_name=key[2]) for key in keys}
        for values in self._database.find(tables.FIND_DAYS, keys):
            row = DayRow(**dict(zip(tables.DAY_COLUMNS, values, strict=True)))
            days[row.day, row.provider, row.model_name] = row
        counted: set[tuple[_DayKey, str]] = set()
        for before, after in changed:
            day = _day_key(after)
            if (day, after.session_id) not in counted:
                counted.add((day, after.session_id))
                days[day].sessions += not self._counted_on_day(day, after.session_id)
            if before is not None:
                _add_to_day(days[_day_key(before)], before, -1)
            _add_to_day(days[day], after, 1)
        return list(days.values())

    def _counted_on_day(self, key: _DayKey, session_id: str) -> bool:
        day, provider, model = key
        first, last = f"{day} 00:00:00.000000", f"{day} 23:59:59.999999"
        values = (session_id, first, last, provider, model)
        return self._database.has(tables.COUNTED_ON_DAY, values)


def _values(row: msgspec.Struct) -> tuple[Any, ...]:
    return msgspec.structs.astuple(row)


def _day_key(row: ExchangeRow) -> _DayKey:
    return row.created_at[:10], row.provider or "", row.model_name or ""


def _day_part(row: ExchangeRow) -> tuple[Any, ...]:
    return row.counts, row.success, row.model_name, _day_sums(row)


def _add_to_day(day: DayRow, row: ExchangeRow, sign: int) -> None:
    day.requests += sign
    day.errors += sign * (row.success == 0)
    values = _day_sums(row)
    _add(day, _DAY_SUMS, *((None, values) if sign > 0 else (values, None)))
    if sign > 0:
        day.max_latency_ms = max(day.max_latency_ms, row.provider_latency_ms or 0)


def _add(
    row: SessionRow | DayRow,
    names: Sequence[str],
    before: Sequence[float | None] | None,
    after: Sequence[float | None] | None,
) -> None:
    """Add to each sum what it has gained; the last is the cost, which may be unknown."""
    nothing = (None,) * len(names)
    for name, old, new in zip(names, before or nothing, after or nothing, strict=True):
        if old == new:
            continue
        total = (getattr(row, name) or 0) + (new or 0) - (old or 0)
        if type(total) is float:
            total = round(total, USD_DECIMALS if name == "cost_usd" else MS_DECIMALS)
        setattr(row, name, total)
