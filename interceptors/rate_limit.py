"""Limits of what one session may use: requests a minute, tokens an hour."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from cachetools import LRUCache
from msgspec import Meta

from gateway_sessions import (
    Company,
    Context,
    Exchange,
    Headers,
    RateLimited,
    Refusal,
    Response,
    Telemetry,
)

SESSIONS = 100_000
"""Sessions that are counted; beyond it the one unused for longest may start afresh."""

STEPS = 60
"""Parts of a window that are forgotten one at a time: what a session used counts for up to one
sixtieth longer than the window, and never for less."""

BYTES_PER_TOKEN = 4
"""Of a request under way, whose true count only its answer tells."""

MINUTE, HOUR = 60.0, 3600.0


class Window:
    """An amount over the last ``seconds``, in constant memory."""

    __slots__ = ("_parts", "_step", "total")

    def __init__(self, seconds: float) -> None:
        self._step = seconds / STEPS
        self._parts: deque[tuple[int, int]] = deque()
        self.total = 0

    def add(self, amount: int, now: float) -> None:
        """Count an amount that was used now."""
        part = int(now // self._step)
        if self._parts and self._parts[-1][0] >= part:
            last, sum_ = self._parts.pop()
            self._parts.append((last, sum_ + amount))
        else:
            self._parts.append((part, amount))
        self.total += amount

    def forget(self, now: float) -> None:
        """Drop what is older than the window."""
        oldest = now // self._step - STEPS
        while self._parts and self._parts[0][0] < oldest:
            self.total -= self._parts.popleft()[1]

    def free_in(self, limit: int, now: float) -> float:
        """Return the seconds until the total is below ``limit``, if nothing is added."""
        left = self.total
        for part, amount in self._parts:
            left -= amount
            if left < limit:
                return max(0.0, (part + 1 + STEPS) * self._step - now)
        return 0.0


class _Use:
    """What a session has used lately."""

    __slots__ = ("estimated", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = Window(MINUTE)
        self.tokens = Window(HOUR)
        self.estimated = 0
        """Tokens of requests under way."""


class _Begun(msgspec.Struct, frozen=True, array_like=True):
    """What is asked of a request: may it pass?"""

    session_id: str
    request_id: str
    confidence: float
    size: int
    """Bytes of its body."""


class _Ended(msgspec.Struct, frozen=True, array_like=True):
    """What is told of an exchange that is over."""

    request_id: str
    tokens: int | None
    """None where nobody knows how many it used, but it did."""


ASKED, TOLD = "rate_limit.asked", "rate_limit.told"
_encode = msgspec.msgpack.Encoder().encode
_read_begun = msgspec.msgpack.Decoder(_Begun).decode
_read_ended = msgspec.msgpack.Decoder(_Ended).decode
_read_refusal: msgspec.msgpack.Decoder[Refusal | None] = msgspec.msgpack.Decoder(Refusal | None)


class RateLimit:
    """Answers 429 in the provider's own error shape when a session has used up its limit.

    A request counts when it is let through.  Tokens count when the answer's usage is known;
    until then a request counts with its size.  An exchange whose detection is unsure is never
    refused: it may be in the wrong session.

    Where there are several workers, a session's requests may come to any of them.  So the main
    process counts, and the others ask it; a request that gets no answer passes.

    Args:
        requests_per_minute: Requests of a session in any minute; null sets no limit.
        tokens_per_hour: Tokens, input and output, of a session in any hour; null sets no limit.
        min_confidence: Confidence of detection, 0 to 1, below which nothing is refused.
    """

    needs_headers = False
    needs_body = False
    serves_workers = True

    def __init__(
        self,
        requests_per_minute: Annotated[int, Meta(ge=1)] | None = None,
        tokens_per_hour: Annotated[int, Meta(ge=1)] | None = None,
        min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.7,
    ) -> None:
        self._requests = requests_per_minute
        self._tokens = tokens_per_hour
        self._min_confidence = min_confidence
        self._uses: LRUCache[str, _Use] = LRUCache(SESSIONS)
        self._estimates: dict[tuple[str, str], tuple[_Use, int]] = {}
        self._workers: set[str] = set()
        self._telemetry = Telemetry()
        self._company: Company | None = None
        self._now: Callable[[], float] = time.monotonic

    def open(self, context: Context) -> None:
        """Get to know where refusals are announced, and who counts."""
        self._telemetry = context.telemetry
        self._company = company = context.company
        if company is not None and company.is_main:
            company.answer(ASKED, self._asked)
            company.answer(TOLD, self._told)

    def request_started(self, exchange: Exchange) -> Refusal | None | Awaitable[Refusal | None]:
        """Let a request through and count it, or refuse it."""
        tag = exchange.session
        if tag is None:
            return None
        begun = _Begun(tag.session_id, exchange.request_id, tag.confidence, exchange.request.size)
        return self._begin(begun) if self._company is None else self._ask(self._company, begun)

    def exchange_finished(self, exchange: Exchange) -> None:
        """Put the true number of tokens in the place of the estimate."""
        if exchange.response is None or exchange.session is None:
            return
        ended = _Ended(exchange.request_id, _tokens(exchange.response))
        if self._company is None:
            self._end(ended)
        elif self._tokens is not None:
            self._company.tell(TOLD, _encode(ended))

    async def _ask(self, company: Company, begun: _Begun) -> Refusal | None:
        answers = await company.ask(ASKED, _encode(begun))
        for answer in answers.values():
            return _read_refusal.decode(answer)
        return None

    def _asked(self, worker: str, question: bytes) -> bytes:
        if worker not in self._workers:
            self._forget_others()
        return _encode(self._begin(_read_begun(question), worker))

    def _told(self, worker: str, note: bytes) -> bytes:
        self._end(_read_ended(note), worker)
        return b""

    def _forget_others(self) -> None:
        """Give back what the requests of workers that have died would have used."""
        assert self._company is not None
        self._workers = set(self._company.names())
        for key in [key for key in self._estimates if key[0] not in self._workers]:
            use, estimate = self._estimates.pop(key)
            use.estimated -= estimate

    def _begin(self, begun: _Begun, worker: str = "") -> Refusal | None:
        now = self._now()
        use = self._uses.get(begun.session_id)
        if use is None:
            use = self._uses[begun.session_id] = _Use()
        use.requests.forget(now)
        use.tokens.forget(now)
        if begun.confidence >= self._min_confidence:
            refusal = self._refusal(use, now)
            if refusal is not None:
                kind = "requests" if self._requests_spent(use) else "tokens"
                self._telemetry.emit(RateLimited(begun.session_id, kind))
                return refusal
        use.requests.add(1, now)
        if self._tokens is not None:
            estimate = begun.size // BYTES_PER_TOKEN
            use.estimated += estimate
            self._estimates[worker, begun.request_id] = (use, estimate)
        return None

    def _end(self, ended: _Ended, worker: str = "") -> None:
        use, estimate = self._estimates.pop((worker, ended.request_id), (None, 0))
        if use is None:
            return
        use.estimated -= estimate
        tokens = estimate if ended.tokens is None else ended.tokens
        if tokens:
            use.tokens.add(tokens, self._now())

    def _requests_spent(self, use: _Use) -> bool:
        return self._requests is not None and use.requests.total >= self._requests

    def _refusal(self, use: _Use, now: float) -> Refusal | None:
        if self._requests is not None and self._requests_spent(use):
            wait = use.requests.free_in(self._requests, now)
            return _refused(
                f"this session has made {self._requests:,} requests within a minute",
                self._headers(use, now),
                wait,
            )
        limit = self._tokens
        if limit is not None and use.tokens.total + use.estimated >= limit:
            # Requests under way may turn out cheaper: ask again soon.
            spent = use.tokens.total >= limit
            wait = use.tokens.free_in(limit, now) if spent else 1.0
            return _refused(
                f"this session has used {limit:,} tokens within an hour",
                self._headers(use, now),
                wait,
            )
        return None

    def _headers(self, use: _Use, now: float) -> Headers:
        headers: list[tuple[str, str]] = []
        limits = (
            ("requests", self._requests, use.requests, 0),
            ("tokens", self._tokens, use.tokens, use.estimated),
        )
        for name, limit, window, estimated in limits:
            if limit is None:
                continue
            remaining = max(0, limit - window.total - estimated)
            reset = window.free_in(limit, now)
            headers += (
                (f"x-ratelimit-limit-{name}", str(limit)),
                (f"x-ratelimit-remaining-{name}", str(remaining)),
                (f"x-ratelimit-reset-{name}", f"{math.ceil(reset)}s"),
            )
        return tuple(headers)


def _tokens(response: Response) -> int | None:
    """Return what an answer cost; a failure costs nothing, None where a stream broke off."""
    if response.usage is not None:
        return response.usage.input_tokens + response.usage.output_tokens
    return None if 200 <= response.status < 300 else 0


def _refused(why: str, headers: Headers, wait: float) -> Refusal:
    seconds = max(1, math.ceil(wait))
    return Refusal(
        429,
        f"Rate limit reached: {why}. Try again in {seconds} s.",
        (("Retry-After", str(seconds)), *headers),
    )
