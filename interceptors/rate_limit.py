"""Limits of what one session may use: requests a minute, tokens an hour."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated

from cachetools import LRUCache
from msgspec import Meta

from gateway_sessions import Context, Exchange, Headers, RateLimited, Refusal, Response, Telemetry

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


class RateLimit:
    """Answers 429 in the provider's own error shape when a session has used up its limit.

    A request counts when it is let through.  Tokens count when the answer's usage is known;
    until then a request counts with its size.  An exchange whose detection is unsure is never
    refused: it may be in the wrong session.

    Args:
        requests_per_minute: Requests of a session in any minute; null sets no limit.
        tokens_per_hour: Tokens, input and output, of a session in any hour; null sets no limit.
        min_confidence: Confidence of detection, 0 to 1, below which nothing is refused.
    """

    needs_headers = False

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
        self._estimates: dict[str, tuple[_Use, int]] = {}
        self._telemetry = Telemetry()
        self._now: Callable[[], float] = time.monotonic

    def open(self, context: Context) -> None:
        """Get to know where refusals are announced."""
        self._telemetry = context.telemetry

    def request_started(self, exchange: Exchange) -> Refusal | None:
        """Let a request through and count it, or refuse it."""
        tag = exchange.session
        if tag is None:
            return None
        now = self._now()
        use = self._uses.get(tag.session_id)
        if use is None:
            use = self._uses[tag.session_id] = _Use()
        use.requests.forget(now)
        use.tokens.forget(now)
        if tag.confidence >= self._min_confidence:
            refusal = self._refusal(use, now)
            if refusal is not None:
                kind = "requests" if self._requests_spent(use) else "tokens"
                self._telemetry.emit(RateLimited(tag.session_id, kind))
                return refusal
        use.requests.add(1, now)
        if self._tokens is not None:
            estimate = exchange.request.size // BYTES_PER_TOKEN
            use.estimated += estimate
            self._estimates[exchange.request_id] = (use, estimate)
        return None

    def exchange_finished(self, exchange: Exchange) -> None:
        """Put the true number of tokens in the place of the estimate."""
        use, estimate = self._estimates.pop(exchange.request_id, (None, 0))
        if use is None or exchange.response is None:
            return
        use.estimated -= estimate
        tokens = _tokens(exchange.response, estimate)
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


def _tokens(response: Response, estimate: int) -> int:
    """Return what an answer cost; a failure costs nothing, a stream that broke off its request."""
    if response.usage is not None:
        return response.usage.input_tokens + response.usage.output_tokens
    return estimate if 200 <= response.status < 300 else 0


def _refused(why: str, headers: Headers, wait: float) -> Refusal:
    seconds = max(1, math.ceil(wait))
    return Refusal(
        429,
        f"Rate limit reached: {why}. Try again in {seconds} s.",
        (("Retry-After", str(seconds)), *headers),
    )
