"""``/metrics`` over HTTP, and what Prometheus' own tool says of it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway_sessions import (
    Detected,
    Dropped,
    ExplicitIdRejected,
    IndexFellBack,
    InterceptorFailed,
    SessionEnded,
    SessionStarted,
    Telemetry,
    Written,
)
from interceptors.prometheus import Prometheus
from interceptors.prometheus.views import TEXT, exposition
from tests.interceptors.exchanges import TAG, context, exchange, response

Client = TestClient[web.Request, web.Application]


def busy() -> Prometheus:
    """Return one in which every metric has moved."""
    telemetry = Telemetry()
    interceptors = {"trace": {"enabled": True, "writer": True, "queued": 0}}
    prometheus = Prometheus()
    prometheus.open(context(telemetry, sessions_active=1, interceptors=interceptors))
    prometheus.exchange_finished(
        exchange(timings={"overhead": 1e-5}, answer=response(cost_usd=0.01))
    )
    for event in (
        SessionStarted(TAG.session_id, "first_request"),
        Detected(TAG.session_id, "first", "new", True, 1e-5, 1e-6),
        SessionEnded(TAG.session_id, "expired", 5),
        Written("trace", 1, 0.001),
        Dropped("trace", "queue_full", 1),
        InterceptorFailed("x", "write", "no"),
        IndexFellBack("redis"),
        ExplicitIdRejected("x-session-id"),
    ):
        telemetry.emit(event)
    return prometheus


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(busy().routes())
    async with TestClient(TestServer(app)) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "accept", "content_type"),
    [
        ("/metrics", "*/*", "application/json"),
        ("/metrics", "text/plain", "text/plain"),
        ("/metrics", "application/openmetrics-text", "application/openmetrics-text"),
        ("/metrics?format=prometheus", "*/*", "text/plain"),
        ("/metrics?format=openmetrics", "*/*", "application/openmetrics-text"),
        ("/metrics?format=json", "text/plain", "application/json"),
        ("/metrics/prometheus", "*/*", "text/plain"),
        ("/metrics/prometheus", "application/json", "text/plain"),
        ("/metrics/prometheus", "application/openmetrics-text", "application/openmetrics-text"),
    ],
)
async def test_forms(client: Client, path: str, accept: str, content_type: str) -> None:
    answer = await client.get(path, headers={"Accept": accept})
    assert answer.status == 200
    assert answer.content_type == content_type
    body = await answer.read()
    assert body.startswith(b"{" if content_type == "application/json" else b"# HELP")


async def test_an_unknown_format_is_a_sentence(client: Client) -> None:
    answer = await client.get("/metrics?format=xml")
    assert answer.status == 400
    assert "json, prometheus or openmetrics" in (await answer.json())["error"]


async def test_both_forms_show_the_same_numbers(client: Client) -> None:
    document = await (await client.get("/metrics")).json()
    text = await (await client.get("/metrics?format=prometheus")).text()
    assert document["requests"]["total"] == 1
    assert 'gateway_sessions_requests_total{dialect="openai_chat"' in text
    assert text.count("gateway_sessions_requests_total{") == 1
    assert document["sessions"]["active_count"] == 1
    assert "gateway_sessions_sessions_active 1.0" in text


async def test_openmetrics_is_understood_by_a_parser(client: Client) -> None:
    text = await (await client.get("/metrics?format=openmetrics")).text()
    parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    names = {family.name for family in parse(text)}
    assert {"gateway_sessions_requests", "gen_ai_client_token_usage", "process_open_fds"} <= names


def test_names_of_the_specification() -> None:
    text = exposition(busy().registry, TEXT)[0].decode()
    prefix = "gateway_sessions_"
    for name in (
        "requests_total{dialect=,status_class=,source=}",
        "sessions_started_total{reason=}",
        "sessions_active",
        "session_relations_total{relation=}",
        "detection_seconds_count",
        "hash_seconds_count",
        "gateway_overhead_seconds_count",
        "upstream_request_seconds_count",
        "time_to_first_byte_seconds_count",
        "tokens_total{direction=,model=}",
        "cost_usd_total{model=}",
        "session_length_messages_count",
        "session_cost_usd_count",
        "recorder_queue_events{writer=}",
        "recorder_dropped_total{writer=,reason=}",
        "recorder_write_seconds_count{writer=}",
        "index_fallback_total{backend=}",
        "explicit_id_rejected_total{name=}",
    ):
        stem, _, labels = name.partition("{")
        lines = [line for line in text.splitlines() if line.startswith(prefix + stem)]
        assert lines, name
        for label in labels.rstrip("}").split(","):
            assert label in lines[0], name
    assert "gen_ai_client_operation_duration_seconds_bucket{" in text
    assert 'le="81.92"' in text
    assert 'le="67108864.0"' in text


@pytest.mark.needs("promtool", "apt-get install prometheus")
def test_promtool_has_nothing_to_say() -> None:
    text = exposition(busy().registry, TEXT)[0]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_session_ids_are_never_labels() -> None:
    assert TAG.session_id not in exposition(busy().registry, TEXT)[0].decode()
