"""What ``/metrics`` answers: JSON for people and scripts, or Prometheus' own text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry

from interceptors.prometheus.families import PREFIX

JSON, TEXT, OPENMETRICS = "json", "text", "openmetrics"

_MEDIA_TYPES = {
    "application/openmetrics-text": OPENMETRICS,
    "text/plain": TEXT,
    "application/json": JSON,
}


def wanted(accept: str) -> str:
    """Return the form that an ``Accept`` header asks for: `JSON`, `TEXT` or `OPENMETRICS`.

    The highest quality wins, the first of equals; JSON if none of the three is named.
    """
    best, best_quality = JSON, 0.0
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if media_type in _MEDIA_TYPES and quality > best_quality:
            best, best_quality = _MEDIA_TYPES[media_type], quality
    return best


def exposition(registry: CollectorRegistry, form: str) -> tuple[bytes, str]:
    """Return the registry as `TEXT` or `OPENMETRICS`, and the content type."""
    if form == OPENMETRICS:
        body: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return body, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Samples:
    """The registry's samples, to be summed by name and labels."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for metric in metrics:
            for sample in metric.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels."""
        return sum(
            value
            for of, value in self._samples[PREFIX + name]
            if all(of.get(key) == wanted for key, wanted in labels.items())
        )

    def by(self, label: str, name: str) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Return the samples of a metric, grouped by a label; ``name`` is the whole name."""
        groups: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for of, value in self._samples[name]:
            groups[of[label]].append((of, value))
        return groups

    def mean_ms(self, name: str) -> float:
        """Return the mean of a histogram of seconds, in milliseconds."""
        return _mean_ms(self.sum(f"{name}_sum"), self.sum(f"{name}_count"))


def as_json(registry: CollectorRegistry, now: float) -> dict[str, Any]:
    """Return the registry's numbers as the JSON document of ``/metrics``.

    Durations are in milliseconds; ``cache_hit_rate`` is the share, 0 to 1, of requests that
    went on with a session that was already known.
    """
    samples = _Samples(registry.collect())
    started = samples.sum("start_time_seconds")
    requests = samples.sum("requests_total")
    success = sum(
        samples.sum("requests_total", status_class=status) for status in ("1xx", "2xx", "3xx")
    )
    created = samples.sum("sessions_started_total")
    detected = samples.sum("session_relations_total")
    return {
        "service": {
            "name": "gateway-sessions",
            "version": next(iter(samples.by("version", f"{PREFIX}build_info")), ""),
            "uptime_seconds": round(max(0.0, now - started), 3),
            "start_time": started,
        },
        "requests": {
            "total": int(requests),
            "success": int(success),
            "errors": int(requests - success),
            "rate_per_minute": int(samples.sum("requests_per_minute")),
            "average_duration_ms": samples.mean_ms("upstream_request_seconds"),
        },
        "sessions": {
            "active_count": int(samples.sum("sessions_active")),
            "total_created": int(created),
            "cache_hit_rate": max(0.0, 1 - created / detected) if detected else 0.0,
            "fuzzy_matches": int(samples.sum("requests_total", source="fuzzy")),
            "average_session_length": round(
                samples.sum("session_messages_total") / created if created else 0.0, 3
            ),
            "longest_session": int(samples.sum("longest_session_messages")),
        },
        "performance": {
            "session_lookup_ms": samples.mean_ms("detection_seconds"),
            "hash_computation_ms": samples.mean_ms("hash_seconds"),
        },
        "providers": _providers(samples),
        "interceptors": _interceptors(samples),
        "recording": _recording(samples),
    }


def _providers(samples: _Samples) -> dict[str, Any]:
    name = "gen_ai_client_operation_duration_seconds"
    sums = samples.by("gen_ai_provider_name", f"{name}_sum")
    counts = samples.by("gen_ai_provider_name", f"{name}_count")
    return {
        provider: {
            "requests": int(sum(count for _, count in found)),
            "errors": int(sum(count for of, count in found if of["error_type"])),
            "average_duration_ms": _mean_ms(
                sum(seconds for _, seconds in sums[provider]), sum(count for _, count in found)
            ),
        }
        for provider, found in sorted(counts.items())
    }


def _interceptors(samples: _Samples) -> dict[str, Any]:
    return {
        name: {
            "enabled": bool(found[0][1]),
            "written": int(samples.sum("recorder_written_total", writer=name)),
            "dropped": int(samples.sum("recorder_dropped_total", writer=name)),
            "errors": int(samples.sum("interceptor_errors_total", interceptor=name)),
        }
        for name, found in samples.by("interceptor", f"{PREFIX}interceptor_enabled").items()
    }


def _recording(samples: _Samples) -> dict[str, Any]:
    """Return the writers of session events, and the queue before them."""
    known = samples.by("interceptor", f"{PREFIX}interceptor_enabled")
    return {
        name: {
            "queued": int(found[0][1]),
            "written": int(samples.sum("recorder_written_total", writer=name)),
            "dropped": int(samples.sum("recorder_dropped_total", writer=name)),
        }
        for name, found in samples.by("writer", f"{PREFIX}recorder_queue_events").items()
        if name not in known
    }


def _mean_ms(seconds: float, count: float) -> float:
    return round(seconds / count * 1000, 4) if count else 0.0
