"""Recorded exchanges as they come to their end, for ``sessions tail``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from rich.text import Text

from gateway_sessions.logs import escaped
from gateway_sessions.pages import amounts
from gateway_sessions.storage.queries import Clause
from gateway_sessions.storage.results import Exchange
from gateway_sessions.storage.search import Search

POLL_SECONDS = 0.5
"""How often the database is looked at; what is written shows as soon as a person can tell."""
MAX_IN_FLIGHT = 1000
"""Exchanges that are waited for at once; of more, those that began first are given up."""
_WORDS = 60
"""Characters of what was asked and answered in a line."""


class Tail:
    """Exchanges that have come to an end, each once, in the order of their ends."""

    def __init__(self, connection: sqlite3.Connection, where: Clause) -> None:
        """Follow the sessions that a condition on ``sessions s`` chooses.

        The connection must see what others write: no transaction may be open on it.
        """
        self._connection = connection
        self._search = Search(connection)
        self._where = where
        self._seen, self._in_flight = self._search.in_flight(MAX_IN_FLIGHT)
        self._version = self._data_version()

    def last(self, number: int) -> list[Exchange]:
        """Return the newest of those that had ended before this was made, oldest first."""
        return self._search.newest(self._where, number, upto=self._seen, but=self._in_flight)

    def follow(self, wait: Callable[[float], None]) -> Iterator[Exchange]:
        """Yield those that end from now on, for ever; ``wait`` passes the time in between."""
        while True:
            yield from self._ended()
            while (version := self._data_version()) == self._version:
                wait(POLL_SECONDS)
            self._version = version

    def _ended(self) -> Iterator[Exchange]:
        rows = self._search.after(self._where, self._seen, self._in_flight)
        waiting = []
        for number, exchange in rows:
            self._seen = max(self._seen, number)
            if exchange.success is None:
                waiting.append(number)
            else:
                yield exchange
        self._in_flight = waiting[-MAX_IN_FLIGHT:]

    def _data_version(self) -> int:
        """Return a number that changes when another connection has written."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


def line(exchange: Exchange) -> Text:
    """Return an exchange on one line."""
    said = " → ".join(
        escaped(" ".join(text.split())[:_WORDS])
        for text in (exchange.request_text, exchange.response_text)
        if text
    )
    failed = exchange.success is False
    outcome = exchange.error_message if failed else exchange.finish_reason
    words = [
        exchange.created_at[11:19],
        escaped(exchange.session_id),
        escaped(exchange.relation or amounts.UNKNOWN),
        escaped(exchange.model_name or amounts.UNKNOWN),
        f"{exchange.status or ''} {escaped(outcome or '')}".strip(),
        amounts.milliseconds(exchange.provider_latency_ms),
        f"{amounts.short(exchange.input_tokens)} in, {amounts.short(exchange.output_tokens)} out",
        amounts.dollars(exchange.cost_usd),
        said,
    ]
    return Text("  ".join(filter(None, words)), style="red" if failed else "")
