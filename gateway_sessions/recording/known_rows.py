"""Rows that the next batch will want again, so that they need not be read again.

A session's exchanges come one soon after the other, and an exchange's answer soon after its
request.  What is kept here is exactly what the database has; whoever can not be sure of that, since
somebody else has written to it or a transaction was undone, forgets all of it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_sessions.recording.tables import TEXTS, ExchangeRow, SessionRow

MAX_SESSIONS = 5_000
"""Sessions that are known, those written last: some 2 KB each."""
MAX_EXCHANGES = 2_000
"""Exchanges that are known: they are under way, or their end was never told."""

_NO_TEXTS = (None,) * len(TEXTS)

DayKey = tuple[str, str, str]
"""Day, provider and model: what a row of ``daily_stats`` sums up."""


class KnownSession:
    """A session: as it is to be written, and as the database has it."""

    __slots__ = ("days", "row", "written")

    def __init__(self, row: SessionRow, written: tuple[Any, ...] | None) -> None:
        self.row = row
        self.written = written
        """None while it is not in the database."""
        self.days: set[DayKey] = set()
        """Of those among whose sessions it is known to be counted."""

    def take_as_written(self, values: tuple[Any, ...]) -> None:
        """Note that the row is in the database, as those values."""
        # Its texts are not kept: a null leaves what is there.
        self.row.request_text = self.row.response_text = None
        self.written = (*values[: -len(TEXTS)], *_NO_TEXTS)


class KnownExchange:
    """An exchange: as it is to be written, and as the database has it."""

    __slots__ = ("row", "written")

    def __init__(self, row: ExchangeRow, written: ExchangeRow | None) -> None:
        self.row = row
        self.written = written
        """None while it is not in the database."""


class KnownRows:
    """The sessions and exchanges of the last batches."""

    def __init__(self) -> None:
        self.sessions: dict[str, KnownSession] = {}
        """By id, the ones written last at the end."""
        self.exchanges: dict[tuple[str, str], KnownExchange] = {}
        """By session and id."""

    def forget(self) -> None:
        """Know nothing any more."""
        self.sessions.clear()
        self.exchanges.clear()

    def written(
        self, sessions: dict[str, KnownSession], exchanges: dict[Any, KnownExchange]
    ) -> None:
        """Take in what was written just now."""
        for session_id, session in sessions.items():
            self.sessions.pop(session_id, None)  # to the end
            self.sessions[session_id] = session
        for key, exchange in exchanges.items():
            if exchange.row.success is None:
                exchange.written = msgspec.structs.replace(exchange.row)
                self.exchanges[key] = exchange
            else:
                self.exchanges.pop(key, None)
        _shorten(self.sessions, MAX_SESSIONS)
        _shorten(self.exchanges, MAX_EXCHANGES)


def _shorten(rows: dict[Any, Any], limit: int) -> None:
    """Leave out the rows that were written longest ago."""
    while len(rows) > limit:
        del rows[next(iter(rows))]
