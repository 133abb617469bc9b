"""Logged requests, sent again: what ``replay`` does with a log.

A request is sent once everything has been answered that was answered before it in the log.  So
a conversation is told in its order, and what ran at the same time then does so now, whether
the log's pauses are kept or left out.

What a log does not hold can not be sent: traces of ours hide credentials, and may cut bodies.
Hidden headers are left out; whoever replays brings their own.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC
from itertools import count

import aiohttp
import msgspec
from yarl import URL

from gateway_sessions.exchange_log import LoggedExchange
from gateway_sessions.redaction import MASK
from gateway_sessions.web.headers import HOP_BY_HOP, OWN_PREFIX

AT_ONCE = 32
"""Requests under way at most, unless the caller says otherwise."""
SILENCE_SECONDS = 600.0
"""How long an answer may be silent, as at an upstream."""
FAILED = 400
"""The lowest status of an answer that is none."""
_NOT_SENT = frozenset(name.decode() for name in HOP_BY_HOP) | {
    "host",
    "content-length",
    "content-encoding",  # bodies are logged decoded
    "expect",
}
_OURS = OWN_PREFIX.decode()
_CUT = b'{"truncated":'
"""How a body begins of which a trace has kept the beginning only."""
_NONE = b"null"


class Resent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one logged exchange."""

    request_id: str
    method: str
    path: str
    logged_status: int | None
    """None where the log has no response."""
    status: int | None = None
    """None where there was no answer, or nothing was sent."""
    duration_ms: float | None = None
    session_id: str | None = None
    """As the server's response names it; None where it names none."""
    relation: str | None = None
    error: str | None = None
    """Why there was no whole answer, or why nothing was sent."""

    @property
    def as_logged(self) -> bool:
        """Whether the answer has the status that the log has, or a success where it has none."""
        if self.error is not None or self.status is None:
            return False
        if self.logged_status is None:
            return self.status < FAILED
        return self.status == self.logged_status


class Resender:
    """Sends exchanges to one server, in the order and with the overlaps of their log."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        speed: float | None = None,
        at_once: int = AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Send to ``url``, before which nothing of a logged path is cut.

        Args:
            url: scheme, host and, where the server wants one, a base path.
            headers: sent with each request, in place of logged ones of the same name.
            speed: 1 keeps the log's pauses, 2 halves them; None leaves them out.
            at_once: requests under way at most.
            monotonic: seconds for pauses and durations.
            sleep: waits for so many seconds.
        """
        self._url = url.rstrip("/")
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._speed = speed
        self._at_once = at_once
        self._monotonic = monotonic
        self._sleep = sleep
        self._order = count()
        self._under_way: list[tuple[float, int, asyncio.Task[Resent]]] = []
        """By the time at which the log has the answer."""

    async def resent(self, exchanges: Iterable[LoggedExchange]) -> AsyncGenerator[Resent, None]:
        """Send all exchanges and yield what became of each, in the order of the logged answers."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS)
        connector = aiohttp.TCPConnector(limit=self._at_once)
        began = first = None
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            try:
                for exchange in exchanges:
                    asked, answered = _times(exchange)
                    async for done in self._answered_before(asked):
                        yield done
                    if began is None or first is None:
                        began, first = self._monotonic(), asked
                    if self._speed is not None:
                        pause = (asked - first) / self._speed - (self._monotonic() - began)
                        await self._sleep(max(0.0, pause))
                    task = asyncio.get_running_loop().create_task(self._send(http, exchange))
                    heapq.heappush(self._under_way, (answered, next(self._order), task))
                async for done in self._answered_before(float("inf")):
                    yield done
            finally:
                for _, _, task in self._under_way:
                    task.cancel()

    async def _answered_before(self, moment: float) -> AsyncGenerator[Resent, None]:
        """Wait for the answers that the log has by a moment, and for room for one more."""
        while self._under_way and (
            self._under_way[0][0] <= moment or len(self._under_way) >= self._at_once
        ):
            yield await heapq.heappop(self._under_way)[2]

    async def _send(self, http: aiohttp.ClientSession, exchange: LoggedExchange) -> Resent:
        request, response = exchange.request, exchange.response
        result = Resent(
            request_id=exchange.request_id,
            method=request.method,
            path=request.path,
            logged_status=response.status if response is not None else None,
        )
        body = _sent(request.body)
        missing = body == _NONE and request.method not in ("GET", "HEAD")
        if missing or body.startswith(_CUT) or request.messages_left_out:
            return msgspec.structs.replace(result, error="the log does not have the whole request")
        began = self._monotonic()
        try:
            async with http.request(
                request.method,
                URL(self._url + request.path, encoded=True),
                headers=self._fields(exchange),
                data=None if body == _NONE else body,
                allow_redirects=False,
            ) as answer:
                result = msgspec.structs.replace(
                    result,
                    status=answer.status,
                    session_id=answer.headers.get("X-Gateway-Session-Id"),
                    relation=answer.headers.get("X-Gateway-Session-Relation"),
                )
                async for _ in answer.content.iter_any():
                    pass  # As a client does; what is said is not compared, models vary.
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            result = msgspec.structs.replace(result, error=str(error) or type(error).__name__)
        return msgspec.structs.replace(result, duration_ms=(self._monotonic() - began) * 1000)

    def _fields(self, exchange: LoggedExchange) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        for name, values in (exchange.request.headers or {}).items():
            lower = name.lower()
            if lower in _NOT_SENT or lower in self._headers or lower.startswith(_OURS):
                continue
            said = [values] if isinstance(values, str) else values
            fields += [(name, value) for value in said if MASK not in value]
        fields += self._headers.items()
        if not any(name.lower() == "content-type" for name, _ in fields):
            fields.append(("Content-Type", "application/json"))
        return fields


def _sent(logged: msgspec.Raw) -> bytes:
    """Return a body as it was on the wire: one that is no JSON is logged as a string."""
    raw = bytes(logged)
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') else raw


def _times(exchange: LoggedExchange) -> tuple[float, float]:
    """Return when an exchange began and ended, in unix seconds."""
    moment = exchange.timestamp
    began = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    duration = exchange.response.duration_ms / 1000 if exchange.response is not None else 0.0
    return began, began + max(0.0, duration)
