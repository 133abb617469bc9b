"""The two forms of the numbers, and who gets which."""

from __future__ import annotations

import pytest
from prometheus_client.registry import CollectorRegistry

from gateway_sessions import Detected, Dropped, SessionStarted, SessionTag, Telemetry, Written
from interceptors.prometheus.metrics import Metrics
from interceptors.prometheus.views import JSON, OPENMETRICS, TEXT, as_json, exposition, wanted
from tests.interceptors.exchanges import context, exchange, response

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/json, text/plain, */*", JSON),
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("TEXT/PLAIN; Q=0.5", TEXT),
        ("application/json;q=0.1, text/plain;q=0.2", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        (PROMETHEUS, OPENMETRICS),
        ("text/plain;q=0", JSON),
        ("text/plain;q=x", JSON),
        (",;,", JSON),
    ],
)
def test_what_an_accept_header_asks_for(accept: str, form: str) -> None:
    assert wanted(accept) == form


def a_registry(*, busy: bool) -> CollectorRegistry:
    telemetry = Telemetry()
    metrics = Metrics("1.2.3", lambda: 1000.0, lambda: 5.0)
    interceptors = {
        "trace": {"enabled": True, "writer": True, "queued": 0},
        "printer": {"enabled": False, "writer": False, "queued": 0},
    }
    metrics.connect(
        context(
            telemetry,
            sessions_active=2,
            started_at=900.0,
            interceptors=interceptors,
            recording={"jsonl": 7},
        )
    )
    registry = CollectorRegistry()
    registry.register(metrics)
    if busy:
        telemetry.emit(SessionStarted("sess_1", "first_request"))
        for relation in ("first", "continue", "continue", "retry"):
            telemetry.emit(Detected("sess_1", relation, "prefix", False, 2e-5, 1e-6))
        telemetry.emit(Written("trace", 4, 0.1))
        telemetry.emit(Written("jsonl", 20, 0.1))
        telemetry.emit(Dropped("jsonl", "queue_full", 3))
        metrics.exchange(exchange(answer=response(duration_ms=100.0)))
        metrics.exchange(exchange(answer=response(duration_ms=300.0, status=500)))
        fuzzy = SessionTag(
            session_id="sess_2",
            relation="continue",
            source="fuzzy",
            confidence=0.8,
            root_session_id="sess_2",
        )
        metrics.exchange(
            exchange(
                provider="anthropic",
                session=fuzzy,
                answer=response(duration_ms=50.0, status=200, error="client_closed"),
            )
        )
    return registry


def test_the_json_document() -> None:
    assert as_json(a_registry(busy=True), now=1000.0) == {
        "service": {
            "name": "gateway-sessions",
            "version": "1.2.3",
            "uptime_seconds": 100.0,
            "start_time": 900.0,
        },
        "requests": {
            "total": 3,
            "success": 1,
            "errors": 2,
            "rate_per_minute": 3,
            "average_duration_ms": 150.0,
        },
        "sessions": {
            "active_count": 2,
            "total_created": 1,
            "cache_hit_rate": 0.75,
            "fuzzy_matches": 1,
            "average_session_length": 7.0,
            "longest_session": 5,
        },
        "performance": {"session_lookup_ms": 0.02, "hash_computation_ms": 0.001},
        "providers": {
            "anthropic": {"requests": 1, "errors": 1, "average_duration_ms": 50.0},
            "openai": {"requests": 2, "errors": 1, "average_duration_ms": 200.0},
        },
        "interceptors": {
            "trace": {"enabled": True, "written": 4, "dropped": 0, "errors": 0},
            "printer": {"enabled": False, "written": 0, "dropped": 0, "errors": 0},
        },
        "recording": {"jsonl": {"queued": 7, "written": 20, "dropped": 3}},
    }


def test_before_the_first_request_everything_is_zero() -> None:
    document = as_json(a_registry(busy=False), now=1000.0)
    assert set(document["requests"].values()) == {0}
    assert document["sessions"]["cache_hit_rate"] == 0.0
    assert document["performance"] == {"session_lookup_ms": 0.0, "hash_computation_ms": 0.0}
    assert document["providers"] == {}


def test_text_and_openmetrics() -> None:
    registry = a_registry(busy=True)
    text, text_type = exposition(registry, TEXT)
    assert text_type.startswith("text/plain; version=0.0.4")
    (line,) = (
        line
        for line in text.decode().splitlines()
        if line.startswith("gateway_sessions_requests_total{") and 'status_class="2xx"' in line
    )
    assert 'source="prefix"' in line
    assert line.endswith(" 1.0")
    openmetrics, openmetrics_type = exposition(registry, OPENMETRICS)
    assert openmetrics_type.startswith("application/openmetrics-text")
    assert openmetrics.endswith(b"# EOF\n")
    assert b'# {request_id="req_1",session_id="sess_abc123"}' in openmetrics
    assert b"sess_abc123" not in text
