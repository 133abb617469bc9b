"""Sessions for logged exchanges: the live path, with the log's own time as the clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from itertools import count
from typing import Any

import msgspec

from gateway_sessions import retold
from gateway_sessions.conversation import Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.verdict import RESET
from gateway_sessions.dialects import Dialect, counted_dialect, dialect_for
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.exchange import SessionTag
from gateway_sessions.exchange_log import LoggedExchange, LoggedResponse
from gateway_sessions.milestones import Arrived, Ended, Finished
from gateway_sessions.tracker import Tracked, Tracker


class LoggedVerdict(msgspec.Struct):
    """What replay says of one exchange; ``session_id`` is None where it is no LLM request."""

    request_id: str
    tag: SessionTag | None


OPEN_BYTES = 256 * 1024 * 1024
"""Bytes of the exchanges whose reply is yet to come: more than any gateway has in flight, but a
log may say so (durations in another unit).  The one that ends first ends early then."""

_OVERHEAD = 2048
"""Bytes that an exchange in flight takes beside its bodies."""


class Replay:
    """Feeds logged exchanges to a tracker in the order of their own time.

    Requests take effect at ``timestamp``, replies at ``timestamp + duration_ms``; a reply that
    ends after a later request began is not known to that request, as in life.
    """

    def __init__(
        self, tracker: Tracker, listener: Callable[[Arrived | Finished | Ended], None] | None = None
    ) -> None:
        """Replay into a tracker; tell a listener what the recorder would have been told live.

        Of ends of sessions, it hears of those that the user asked for; those that the tracker
        decides on are announced by its telemetry.
        """
        self._tracker = tracker
        self._listener = listener
        self._order = count()
        self._open: list[tuple[float, int, Tracked, Dialect, LoggedExchange, Arrived | None]] = []
        self._open_bytes = 0

    def verdicts(self, exchanges: Iterable[LoggedExchange]) -> Iterator[LoggedVerdict]:
        """Yield one verdict per exchange, in the order of the log."""
        for exchange in exchanges:
            yield self.verdict(exchange)
        self.finish()

    def finish(self) -> None:
        """Let all replies take effect."""
        self._close_until(float("inf"))

    def verdict(self, exchange: LoggedExchange) -> LoggedVerdict:
        """Return the verdict on the next exchange of the log."""
        moment = exchange.timestamp
        began = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        self._close_until(began)
        tag = self._begin(exchange, began)
        return LoggedVerdict(exchange.request_id, tag)

    def _begin(self, exchange: LoggedExchange, began: float) -> SessionTag | None:
        request = exchange.request
        headers = _flat(request.headers or {})
        pairs = tuple(headers.items())
        dialect = dialect_for(request.method, request.path, pairs)
        format_ = dialect or counted_dialect(request.method, request.path, pairs)
        if format_ is None:
            return None
        sender = Sender(headers, request.path, exchange.client.ip, exchange.client.scope)
        try:
            conversation = format_.read_request(bytes(request.body), request.path)
            if dialect is None:
                return self._tracker.find(self._tracker.plan(conversation, sender), began)
            tracked = self._tracker.begin(conversation, sender, began)
        except UnreadableBody:
            return None
        duration = exchange.response.duration_ms / 1000 if exchange.response else 0.0
        ended = began + max(0.0, duration)
        number = next(self._order)
        arrival = self._tell_arrival(exchange, number, began, dialect, tracked)
        heapq.heappush(self._open, (ended, number, tracked, dialect, exchange, arrival))
        self._open_bytes += _size(exchange)
        while self._open_bytes > OPEN_BYTES:
            self._close_first()
        return tracked.tag()

    def _close_until(self, moment: float) -> None:
        while self._open and self._open[0][0] <= moment:
            self._close_first()

    def _close_first(self) -> None:
        ended, _, tracked, dialect, exchange, arrival = heapq.heappop(self._open)
        self._open_bytes -= _size(exchange)
        response = exchange.response
        reply = _reply(dialect, response) if response else None
        broken = response is None or response.client_aborted or response.error is not None
        if not broken and reply is not None and reply.complete and reply.messages:
            self._tracker.answered(tracked, reply, ended)
        else:
            self._tracker.failed(tracked, reply, ended)
        if self._listener is not None and arrival is not None:
            self._listener(retold.finished(arrival, ended, response, reply))

    def _tell_arrival(
        self,
        exchange: LoggedExchange,
        number: int,
        began: float,
        dialect: Dialect,
        tracked: Tracked,
    ) -> Arrived | None:
        if self._listener is None:
            return None
        request_id = exchange.request_id or f"req_{number}"
        arrival = retold.arrived(exchange, request_id, began, dialect, tracked)
        over = tracked.verdict.ended_session_id
        if over is not None:
            self._listener(Ended(over, "", began, RESET))
        self._listener(arrival)
        return arrival


def _size(exchange: LoggedExchange) -> int:
    """Return about how many bytes an exchange takes in memory."""
    answered = memoryview(exchange.response.body).nbytes if exchange.response else 0
    return memoryview(exchange.request.body).nbytes + answered + _OVERHEAD


def _reply(dialect: Dialect, response: LoggedResponse) -> Reply | None:
    """Return the reply of a logged response, as far as there is one."""
    if not 200 <= response.status < 300:
        return None
    raw = bytes(response.body)
    if raw.startswith(b'"'):
        assembler = dialect.assembler()
        assembler.feed(_text(raw))
        return assembler.reply()
    if raw == b"null":
        return None
    try:
        return dialect.read_reply(raw)
    except UnreadableBody:
        return None


def _text(raw: bytes) -> bytes:
    try:
        return msgspec.json.decode(raw, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""


def _flat(headers: dict[str, Any]) -> dict[str, str]:
    """Return headers with lower-case names; of repeated ones, the first."""
    flat: dict[str, str] = {}
    for name, value in headers.items():
        flat.setdefault(name.lower(), value if isinstance(value, str) else next(iter(value), ""))
    return flat
