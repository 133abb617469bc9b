"""Writers that do as they are told, and exchanges for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gateway_sessions.exchange import Client, Exchange, Request
from gateway_sessions.telemetry import Dropped, Telemetry, Written

PATIENCE = 30.0
"""Seconds after which a test gives up on another thread."""


def exchange(number: int, size: int = 10) -> Exchange:
    """Return an exchange whose request has ``size`` bytes."""
    request = Request("POST", "/v1/chat/completions", (), b"x" * size, size)
    return Exchange(f"req_{number}", 0.0, Client("127.0.0.1", "test"), request)


class ListWriter:
    """Keeps what it gets; raises the ``errors`` first, one per call."""

    def __init__(self, *errors: BaseException) -> None:
        self.batches: list[list[str]] = []
        self.flushes = 0
        self.errors = list(errors)
        self.calls = 0

    @property
    def ids(self) -> list[str]:
        """All that was written, in order."""
        return [request_id for batch in self.batches for request_id in batch]

    def write(self, batch: Sequence[Exchange]) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append([item.request_id for item in batch])

    def flush(self) -> None:
        self.flushes += 1


class StuckWriter(ListWriter):
    """Stays in its first ``write`` until ``release`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def write(self, batch: Sequence[Exchange]) -> None:
        self.entered.set()
        assert self.release.wait(PATIENCE)
        super().write(batch)


class Ledger:
    """Counts what telemetry says was written and dropped."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.written: dict[str, int] = {}
        self.dropped: dict[tuple[str, str], int] = {}
        telemetry.listen(Written, self._on_written)
        telemetry.listen(Dropped, self._on_dropped)

    def _on_written(self, event: Written) -> None:
        self.written[event.interceptor] = self.written.get(event.interceptor, 0) + event.count

    def _on_dropped(self, event: Dropped) -> None:
        key = (event.interceptor, event.reason)
        self.dropped[key] = self.dropped.get(key, 0) + event.count
