"""What makes the metrics move, and what shows them to a registry."""

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
from interceptors.prometheus.families import PREFIX, Families
from interceptors.prometheus.series import (
    Example,
    Known,
    Labels,
    Rate,
    gauge,
)

NAMES = 50
"""Header names of rejected session ids."""
BATCH = 128
"""Events that are counted at once: half a millisecond of work."""


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
        self.families = families = Families()
        """What is counted, under the lock."""
        self._exchanges = Exchanges(families)
        self._detection, self._hash = families.detection.cell(), families.hash.cell()

    def connect(self, context: Context) -> None:
        """Begin to count what is announced."""
        self._stats = context.stats
        self._started = context.stats().get("started_at", self._started)
        listen, families = context.telemetry.listen, self.families
        listen(SessionStarted, self._noting(self._session_started))
        listen(SessionEnded, lambda e: self._note(self._session_ended, (e, self._clock())))
        listen(Detected, self._noting(self._detected))
        listen(Unpriced, self._noting(self._count_unpriced))
        listen(RateLimited, self._noting(lambda e: families.limited.add((e.limit,))))
        listen(Written, self._noting(self._batch_written))
        listen(
            Dropped,
            self._noting(lambda e: families.dropped.add((e.interceptor, e.reason), e.count)),
        )
        listen(
            InterceptorFailed,
            self._noting(lambda e: families.failures.add((e.interceptor, e.hook))),
        )
        listen(IndexFellBack, self._noting(lambda e: families.fallbacks.add((e.backend,))))
        listen(
            ExplicitIdRejected,
            self._noting(lambda e: families.rejected.add((self._names.label(e.name),))),
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
        self.families.started.add((event.reason,))

    def _session_ended(self, ended: tuple[SessionEnded, float]) -> None:
        event, at = ended
        self.families.ended.add((event.reason,))
        example = Example("", event.session_id, at)
        self.families.length.observe(event.messages, (), example)
        cost = self._exchanges.session_cost(event.session_id)
        if cost is not None:
            self.families.session_cost.observe(cost, (), example)

    def _detected(self, event: Detected) -> None:
        self.families.relations.add((event.relation,))
        self._detection.observe(event.seconds)
        self._hash.observe(event.hash_seconds)
        if event.ambiguous:
            self.families.ambiguous.add()

    def _count_unpriced(self, event: Unpriced) -> None:
        self.families.unpriced.add((self._exchanges.models.label(event.model),))

    def _batch_written(self, event: Written) -> None:
        self.families.written.add((event.interceptor,), event.count)
        self.families.write.observe(event.seconds, (event.interceptor,))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, all of one moment."""
        stats = self._stats()
        with self._lock:
            self._count_noted()
            families = [series.collect() for series in vars(self.families).values()]
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
