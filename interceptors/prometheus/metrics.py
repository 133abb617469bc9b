"""All metrics by name, and what makes them move.  Nothing else in the project names one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gateway_sessions import (
    Context,
    Detected,
    Dropped,
    Exchange,
    ExplicitIdRejected,
    IndexFellBack,
    InterceptorFailed,
    RateLimited,
    SessionEnded,
    SessionStarted,
    Unpriced,
    Written,
)
from interceptors.prometheus.exchanges import Exchanges, Finished, finished
from interceptors.prometheus.series import (
    Counter,
    Example,
    Histogram,
    Known,
    Labels,
    Rate,
    gauge,
)

PREFIX = "gateway_sessions_"

NAMES = 50
"""Header names of rejected session ids."""
BATCH = 128
"""Events that are counted at once: half a millisecond of work."""
MICRO_SECONDS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 0.1)
LATENCY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
MESSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
DOLLARS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 50)
OTEL_SECONDS = tuple(0.01 * 2**power for power in range(14))
OTEL_TOKENS = tuple(4**power for power in range(14))
"""As the OpenTelemetry conventions for generative AI give them."""

_OTEL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class Metrics(Collector):
    """The numbers, and a collector that shows them to a registry.

    Exchanges and most events come on the event loop, those of writers on threads, scrapes on
    another; one lock keeps what a scrape shows consistent.  What comes is only noted and then
    counted in batches: one at a time, each would find none of the twenty sums that it moves in
    the processor's cache.
    """

    def __init__(
        self, version: str, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._lock = threading.Lock()
        self._noted: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._version = version
        self._stats: Callable[[], dict[str, Any]] = dict
        self._clock = clock
        self._started = clock()
        self._monotonic = monotonic
        self._rate = Rate(monotonic())
        self._names = Known(NAMES)
        self._make_counters()
        self._make_histograms()
        self._exchanges = Exchanges(self)
        self._detection, self._hash = self.detection.cell(), self.hash.cell()

    def _make_counters(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}{name}_total", text, labels)

        self.requests = counter(
            "requests", "Exchanges finished.", "dialect", "status_class", "source"
        )
        self.started = counter("sessions_started", "Sessions begun.", "reason")
        self.ended = counter("sessions_ended", "Sessions that left the index.", "reason")
        self.ambiguous = counter(
            "sessions_ambiguous", "Requests that fitted several sessions equally well."
        )
        self.relations = counter(
            "session_relations", "Requests by their relation to their session.", "relation"
        )
        self.messages = counter("session_messages", "Messages added to sessions.")
        self.tokens = counter("tokens", "Tokens by direction.", "direction", "model")
        self.cost = counter("cost_usd", "Cost in US dollars.", "model")
        self.unpriced = counter(
            "cost_unknown", "Exchanges whose model has no known price.", "model"
        )
        self.written = counter(
            "recorder_written", "Exchanges, or session events, written.", "writer"
        )
        self.dropped = counter(
            "recorder_dropped",
            "Exchanges, or session events, lost to a writer.",
            "writer",
            "reason",
        )
        self.failures = counter(
            "interceptor_errors", "Hooks that failed or were late.", "interceptor", "hook"
        )
        self.fallbacks = counter(
            "index_fallback", "Look-ups for which a shared index did not answer.", "backend"
        )
        self.limited = counter(
            "rate_limited", "Requests refused because their session used up a limit.", "limit"
        )
        self.rejected = counter(
            "explicit_id_rejected", "Session ids of clients that could not be used.", "name"
        )

    def _make_histograms(self) -> None:
        def seconds(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{PREFIX}{name}_seconds", text, bounds, labels)

        self.detection = seconds("detection", "Finding the session of a request.", MICRO_SECONDS)
        self.hash = seconds("hash", "Digesting the messages of a request.", MICRO_SECONDS)
        self.overhead = seconds(
            "gateway_overhead", "Time an exchange spent in the gateway.", MICRO_SECONDS
        )
        self.upstream = seconds(
            "upstream_request", "From a request's arrival to its last byte.", LATENCY_SECONDS
        )
        self.first_byte = seconds(
            "time_to_first_byte", "From a request's arrival to the first byte.", LATENCY_SECONDS
        )
        self.write = seconds(
            "recorder_write", "Writing one batch.", (0.001, 0.01, 0.1, 1, 10), "writer"
        )
        self.length = Histogram(
            f"{PREFIX}session_length_messages", "Messages of sessions that ended.", MESSAGES
        )
        self.session_cost = Histogram(
            f"{PREFIX}session_cost_usd", "Cost of sessions that ended, in US dollars.", DOLLARS
        )
        self.operation = Histogram(
            "gen_ai_client_operation_duration_seconds",
            "Duration of model calls.",
            OTEL_SECONDS,
            (*_OTEL, "error_type"),
        )
        self.usage = Histogram(
            "gen_ai_client_token_usage",
            "Tokens per model call.",
            OTEL_TOKENS,
            (*_OTEL, "gen_ai_token_type"),
        )

    def connect(self, context: Context) -> None:
        """Begin to count what is announced."""
        self._stats = context.stats
        self._started = context.stats().get("started_at", self._started)
        listen = context.telemetry.listen
        listen(SessionStarted, self._noting(self._session_started))
        listen(SessionEnded, lambda e: self._note(self._session_ended, (e, self._clock())))
        listen(Detected, self._noting(self._detected))
        listen(Unpriced, self._noting(self._count_unpriced))
        listen(RateLimited, self._noting(lambda e: self.limited.add((e.limit,))))
        listen(Written, self._noting(self._batch_written))
        listen(
            Dropped,
            self._noting(lambda e: self.dropped.add((e.interceptor, e.reason), e.count)),
        )
        listen(
            InterceptorFailed, self._noting(lambda e: self.failures.add((e.interceptor, e.hook)))
        )
        listen(IndexFellBack, self._noting(lambda e: self.fallbacks.add((e.backend,))))
        listen(
            ExplicitIdRejected,
            self._noting(lambda e: self.rejected.add((self._names.label(e.name),))),
        )

    def exchange(self, exchange: Exchange) -> None:
        """Count a finished exchange."""
        if exchange.response is not None and not exchange.counts_tokens:
            now = self._monotonic()
            self._note(self._count_exchange, finished(exchange, exchange.response, now))

    def _noting(self, count: Callable[[Any], None]) -> Callable[[Any], None]:
        return partial(self._note, count)

    def _note(self, count: Callable[[Any], None], event: Any) -> None:
        self._noted.append((count, event))
        if len(self._noted) >= BATCH:
            with self._lock:
                self._count_noted()

    def _count_noted(self) -> None:
        noted = self._noted
        while noted:
            count, event = noted.popleft()
            count(event)

    def _count_exchange(self, one: Finished) -> None:
        self._rate.count(one.now)
        self._exchanges.count(one)

    def _session_started(self, event: SessionStarted) -> None:
        self.started.add((event.reason,))

    def _session_ended(self, ended: tuple[SessionEnded, float]) -> None:
        event, at = ended
        self.ended.add((event.reason,))
        example = Example("", event.session_id, at)
        self.length.observe(event.messages, (), example)
        cost = self._exchanges.session_cost(event.session_id)
        if cost is not None:
            self.session_cost.observe(cost, (), example)

    def _detected(self, event: Detected) -> None:
        self.relations.add((event.relation,))
        self._detection.observe(event.seconds)
        self._hash.observe(event.hash_seconds)
        if event.ambiguous:
            self.ambiguous.add()

    def _count_unpriced(self, event: Unpriced) -> None:
        self.unpriced.add((self._exchanges.models.label(event.model),))

    def _batch_written(self, event: Written) -> None:
        self.written.add((event.interceptor,), event.count)
        self.write.observe(event.seconds, (event.interceptor,))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, all of one moment."""
        stats = self._stats()
        with self._lock:
            self._count_noted()
            families = [
                series.collect()
                for series in vars(self).values()
                if isinstance(series, (Counter, Histogram))
            ]
            gauges = self._gauges(stats)
        yield from gauges
        yield from families

    def _gauges(self, stats: dict[str, Any]) -> list[Metric]:
        def own(name: str, text: str, values: dict[Labels, float], labels: Labels = ()) -> Metric:
            return gauge(f"{PREFIX}{name}", text, values, labels)

        interceptors: dict[str, dict[str, Any]] = stats.get("interceptors", {})
        enabled: dict[Labels, float] = {
            (name,): float(state["enabled"]) for name, state in interceptors.items()
        }
        queued: dict[Labels, float] = {
            (n,): float(s["queued"]) for n, s in interceptors.items() if s["writer"]
        }
        recording: dict[str, int] = stats.get("recording", {})
        queued |= {(name,): float(count) for name, count in recording.items()}
        rate = float(self._rate.per_minute(self._monotonic()))
        return [
            own("build_info", "Always 1.", {(self._version,): 1.0}, ("version",)),
            own("start_time_seconds", "Unix time of the start.", {(): self._started}),
            own("sessions_active", "Live sessions.", {(): float(stats.get("sessions_active", 0))}),
            own("requests_per_minute", "Exchanges finished in the last 60 seconds.", {(): rate}),
            own(
                "longest_session_messages",
                "Messages of the longest session so far.",
                {(): float(self._exchanges.longest)},
            ),
            own("interceptor_enabled", "1 if it runs.", enabled, ("interceptor",)),
            own(
                "recorder_queue_events",
                "Exchanges, or session events, that wait to be written.",
                queued,
                ("writer",),
            ),
        ]
