"""One exchange from its first byte to its last: detection, hooks and the record of it.

The web edge moves the bytes; this module only looks at copies of them, and nothing that goes
wrong here reaches the traffic.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.conversation import Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.dialects import Dialect, counted_dialect, dialect_for
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.exchange import Client, Exchange, Headers, Request
from gateway_sessions.hooks import Company, Context
from gateway_sessions.index.base import Index
from gateway_sessions.index.store import Store
from gateway_sessions.later import Later
from gateway_sessions.placing import Arrival, Placing
from gateway_sessions.prices import Prices
from gateway_sessions.random_names import random_name
from gateway_sessions.recorded import Recorded, Recording
from gateway_sessions.recording.quiet import Quiet
from gateway_sessions.redaction import masked_headers, masked_path, masked_text
from gateway_sessions.secret import derived_key
from gateway_sessions.telemetry import Detected, SessionStarted, Telemetry, Unpriced
from gateway_sessions.tracker import Tracked, Tracker
from gateway_sessions.transit import Transit

logger = logging.getLogger(__name__)

NAMES_KEPT = 1024
"""Names of headers that are remembered in lower case; a client may invent any number."""

EXPIRY_SECONDS = 5.0
"""How often sessions are looked through for those that were idle for too long."""


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """The parts of a request that come before its body."""

    method: str
    path: str
    """With query, exactly as on the wire."""
    headers: Headers
    """Wire order, original case, repeats kept."""
    ip: str
    """The client's address; ``X-Forwarded-For`` is already resolved."""


class Gateway:
    """Tags, follows and records exchanges.  All methods belong to the event loop's thread."""

    def __init__(
        self,
        settings: DetectionSettings,
        *,
        secret: bytes,
        index: Index | None = None,
        store: Store | None = None,
        backend: str = "",
        interceptors: InterceptorChain | None = None,
        recording: Recording | None = None,
        prices: Prices | None = None,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.perf_counter,
        explain: bool = False,
    ) -> None:
        """Make a gateway.

        Args:
            settings: the ``session`` block of the configuration.
            secret: at least 16 bytes; replicas that share sessions share it.
            index: where sessions are kept; by default in memory.
            store: what shares them with other processes, and with later ones; made but not
                opened.
            backend: the kind of store, for metrics.
            interceptors: the chain, made but not opened.
            recording: what records sessions, made but not opened; None records nothing.
            prices: what tokens cost; None leaves costs out.
            telemetry: where to announce what happens.
            clock: unix time in seconds, of records and expiry.
            monotonic: seconds for durations; never goes back.
            explain: let verdicts say what every rule answered.
        """
        self.telemetry = telemetry or Telemetry()
        self.interceptors = interceptors or InterceptorChain((), self.telemetry)
        self.clock = clock
        self.monotonic = monotonic
        self.tracker = Tracker(
            settings,
            secret,
            self.telemetry,
            index=index,
            store=store,
            backend=backend,
            explain=explain,
        )
        self.recorded = (
            Recorded(recording, self.telemetry, clock) if recording is not None else None
        )
        """What is told of exchanges that are recorded; None where nothing is."""
        self.needs_exchange = self.interceptors.needs_exchange or recording is not None
        """Whether anybody looks at finished exchanges."""
        self.needs_headers = self.interceptors.needs_headers or recording is not None
        """Whether anybody looks at their headers."""
        self.later = Later()
        """What of an exchange comes after its bytes have left."""
        self._placing = Placing(self.tracker, self.later, monotonic)
        self._recording = recording
        self._prices = prices
        self._unpriced = Quiet()
        self._expiry: asyncio.TimerHandle | None = None
        self._enabled = settings.enabled
        self._started_at = clock()
        self._derive_key = partial(derived_key, secret)
        self._open = False
        self.stopping = asyncio.Event()
        """Set it before connections are drained: those that would stay open end then."""

    async def open(
        self,
        effective_config: dict[str, Any] | None = None,
        state_directory: Path = Path(),
        database: Path | None = None,
        company: Company | None = None,
    ) -> None:
        """Open the store of sessions, the interceptors and the recording.

        Raises:
            StartError, ConfigError: one of them refuses; then nothing is left open.
        """
        context = Context(
            self.telemetry,
            self.stats,
            effective_config or {},
            state_directory,
            derive_key=self._derive_key,
            recording=self._recording,
            database=database,
            stopping=self.stopping,
            company=company,
        )
        async with AsyncExitStack() as opened:
            await self.tracker.open()
            opened.push_async_callback(self.tracker.close)
            await self.interceptors.open(context)
            opened.push_async_callback(self.interceptors.close)
            if self._recording is not None:
                await self._recording.open()
            opened.pop_all()
        self._open = True
        self._expire()

    async def close(self) -> None:
        """Write down what is queued and close everything; idempotent."""
        if not self._open:
            return
        self._open = False
        self.later.catch_up()
        self.stopping.set()
        if self._expiry is not None:
            self._expiry.cancel()
        await self.interceptors.close()
        await self.tracker.close()
        if self._recording is not None:
            await self._recording.shutdown()

    async def flush(self) -> None:
        """Return when everything finished before the call is written, or given up as failed."""
        self.later.catch_up()
        await self.interceptors.flush()
        if self._recording is not None:
            await self._recording.flush()

    def problems(self) -> list[str]:
        """Return one sentence for each part that fails at present, for ``/readyz``."""
        recording = [] if self._recording is None else self._recording.problems()
        return self.tracker.problems() + self.interceptors.problems() + recording

    def stats(self) -> dict[str, Any]:
        """Return what can only be read now.

        ``sessions_active``, ``started_at`` (unix seconds) and, where sessions are recorded,
        ``recording``: how many events wait for each writer.
        """
        index = self.tracker.index
        index.expire(self.clock())
        stats: dict[str, Any] = {"sessions_active": index.active, "started_at": self._started_at}
        if self._recording is not None:
            stats["recording"] = self._recording.queued()
        return stats

    def cost(self, exchange: Exchange, reply: Reply | None) -> float | None:
        """Return what an exchange cost in US dollars; None where that is not known."""
        if self._prices is None or reply is None or reply.usage is None:
            return None
        model = reply.model or exchange.model
        try:
            cost = self._prices.cost(exchange.provider, model, reply.usage, exchange.started_at)
        except Exception:
            if count := self._unpriced.count():
                logger.exception("prices failed (%d times): %s", count, model)
            return None
        if cost is None:
            self.telemetry.emit(Unpriced(model))
            return None
        return cost.total

    def _expire(self) -> None:
        """Notice sessions that ended while there is no traffic to notice it with."""
        more = self.tracker.index.expire(self.clock())
        # Between two portions, the requests that wait have their turn.
        pause = 0.0 if more else EXPIRY_SECONDS
        self._expiry = asyncio.get_running_loop().call_later(pause, self._expire)

    async def begin(self, head: RequestHead, body: bytes | None) -> Transit:
        """Put a request into its session and ask the interceptors about it.

        Args:
            head: what came before the body.
            body: a content-decoded copy of the body; None where it was not inspected.

        Never raises: what can not be read is forwarded without a session.
        """
        now, began = self.clock(), self.monotonic()
        fields = first_values(head.headers)
        dialect = dialect_for(head.method, head.path, head.headers)
        counted = None if dialect else counted_dialect(head.method, head.path, head.headers)
        exchange = self._exchange(head, body, fields, dialect or counted, now)
        tracked: Tracked | None = None
        if dialect is not None and self._enabled:
            if body is None:
                exchange.parse_error = "the body was not inspected"
            else:
                tracked = await self._detect(exchange, head, fields, dialect, body, now)
        elif counted is not None and not await self._attribute(
            exchange, head, fields, counted, body
        ):
            counted, exchange.dialect, exchange.provider = None, "", "other"
        transit = Transit(self, exchange, dialect or counted, tracked, began)
        if dialect is not None and self.interceptors.needs_request_hook:
            try:
                transit.refusal = await self.interceptors.request_started(exchange)
            except asyncio.CancelledError:
                if tracked is not None:
                    self._placing.give_up(tracked, now)
                raise
        if tracked is not None and self.recorded is not None:
            # After the hooks: what they mask must not be recorded.
            self.later.add(self.recorded.arrived, exchange, tracked)
        transit.spent = self.monotonic() - began
        return transit

    def _exchange(
        self,
        head: RequestHead,
        body: bytes | None,
        fields: dict[str, str],
        dialect: Dialect | None,
        now: float,
    ) -> Exchange:
        seen = dialect is not None and (self.needs_exchange or self.interceptors.needs_request_hook)
        headers_seen = seen and self.needs_headers
        request = Request(
            head.method,
            masked_path(head.path) if seen else "",
            masked_headers(head.headers) if headers_seen else (),
            body or b"",
            len(body) if body is not None else _declared_size(fields),
        )
        return Exchange(
            request_id="req_" + random_name(),
            started_at=now,
            client=Client(
                head.ip, masked_text(fields.get("user-agent", "")) if headers_seen else ""
            ),
            request=request,
            dialect=dialect.name if dialect else "",
            provider=dialect.provider if dialect else "other",
        )

    async def _detect(
        self,
        exchange: Exchange,
        head: RequestHead,
        fields: dict[str, str],
        dialect: Dialect,
        body: bytes,
        now: float,
    ) -> Tracked | None:
        arrival = Arrival(dialect, body, Sender(fields, head.path, head.ip), now)
        try:
            placed = await self._placing.place(arrival)
        except UnreadableBody as error:
            exchange.parse_error = str(error)
            return None
        except Exception:
            # Whatever is wrong with us, the client gets its answer.
            logger.exception("detection failed on a request to %s", exchange.request.path)
            exchange.parse_error = "detection failed"
            return None
        tracked, plan = placed.tracked, placed.tracked.plan
        exchange.session = tag = tracked.tag()
        exchange.model = plan.conversation.model
        exchange.client = Client(head.ip, exchange.client.user_agent, plan.scope.name)
        exchange.message_count = plan.messages
        verdict = tracked.verdict
        exchange.new_messages = plan.messages if verdict.new else plan.walk.prompt_items
        if verdict.new:
            self.telemetry.emit(SessionStarted(tag.session_id, verdict.new))
        exchange.timings["detection"] = placed.seconds
        if self.telemetry.hears(Detected):
            self.telemetry.emit(
                Detected(
                    tag.session_id,
                    tag.relation,
                    tag.source,
                    verdict.ambiguous,
                    placed.seconds,
                    placed.hash_seconds,
                )
            )
        return tracked

    async def _attribute(
        self,
        exchange: Exchange,
        head: RequestHead,
        fields: dict[str, str],
        dialect: Dialect,
        body: bytes | None,
    ) -> bool:
        """Show a token count with its session, if its history is known; it changes nothing."""
        if body is None or not self._enabled:
            return False
        sender = Sender(fields, head.path, head.ip)
        arrival = Arrival(dialect, body, sender, exchange.started_at)
        try:
            plan, exchange.session = await self._placing.find(arrival)
        except UnreadableBody:
            return False
        except Exception:
            logger.exception("a token count on %s could not be attributed", exchange.request.path)
            return False
        exchange.counts_tokens = exchange.session is not None
        exchange.model = plan.conversation.model
        exchange.client = Client(head.ip, exchange.client.user_agent, plan.scope.name)
        exchange.message_count = plan.messages
        return exchange.counts_tokens


def _declared_size(fields: dict[str, str]) -> int:
    """Return the size of a body that nobody looked into, in bytes; 0 where it is not said."""
    said = fields.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0


def first_values(headers: Headers) -> dict[str, str]:
    """Return headers by lower-case name; of repeated ones, the first."""
    return {_LOWER[name]: value for name, value in reversed(headers)}


class _LowerNames(dict[str, str]):
    """Names of headers in lower case, by how they are sent: the same few come every time."""

    def __missing__(self, name: str) -> str:
        low = name.lower()
        if len(self) < NAMES_KEPT:
            self[name] = low
        return low


_LOWER = _LowerNames()
