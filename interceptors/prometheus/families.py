"""All metrics that count or measure, by name.  Nothing else in the project names one."""

from __future__ import annotations

from interceptors.prometheus.series import Counter, Histogram

PREFIX = "gateway_sessions_"

MICRO_SECONDS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 0.1)
LATENCY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
MESSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
DOLLARS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 50)
OTEL_SECONDS = tuple(0.01 * 2**power for power in range(14))
OTEL_TOKENS = tuple(4**power for power in range(14))
"""As the OpenTelemetry conventions for generative AI give them."""

_OTEL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class Families:
    """The counters and histograms, as they are shown."""

    def __init__(self) -> None:
        self._make_counters()
        self._make_histograms()

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
            "gateway_overhead", "Time an exchange waited for the gateway.", MICRO_SECONDS
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
