"""Exchanges that are changed before they are written: once for all writers, off the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.lane import Lane
from gateway_sessions.telemetry import Dropped

Prepare = Callable[[Exchange], Exchange | None]
"""Makes of an exchange what writers get; None where it can not.  Never raises."""


class Prepared:
    """An exchange on its way to several writers; whichever comes first has it made ready."""

    __slots__ = ("_exchange", "_making", "_prepare")

    def __init__(self, exchange: Exchange, prepare: Prepare) -> None:
        self._exchange: Exchange | None = exchange
        self._prepare: Prepare | None = prepare
        self._making = threading.Lock()

    def get(self) -> Exchange | None:
        """Return what is to be written; None where that is nothing.  For any thread."""
        with self._making:
            if self._prepare is not None:
                # Both are let go first: whatever happens, nobody gets the exchange as it was.
                exchange, prepare = self._exchange, self._prepare
                self._exchange = self._prepare = None
                self._exchange = None if exchange is None else prepare(exchange)
            return self._exchange


class PreparedLane(Lane[Any]):
    """A lane of `Prepared` exchanges to a writer of exchanges."""

    def _items(self, taken: list[tuple[Prepared, int]]) -> list[Exchange]:
        """Return what to write; exchanges of which that is nothing are counted as dropped."""
        made = [prepared.get() for prepared, _ in taken]
        items = [exchange for exchange in made if exchange is not None]
        if len(items) < len(made):
            self._telemetry.emit(Dropped(self.name, "error", len(made) - len(items)))
        return items
