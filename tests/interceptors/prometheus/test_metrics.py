"""What makes which metric move."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions import (
    Detected,
    Dropped,
    ExplicitIdRejected,
    IndexFellBack,
    InterceptorFailed,
    SessionEnded,
    SessionStarted,
    SessionTag,
    Telemetry,
    Usage,
    Written,
)
from interceptors.prometheus import metrics as module
from interceptors.prometheus.exchanges import MODELS
from interceptors.prometheus.metrics import Metrics
from tests.interceptors.exchanges import STARTED_AT, TAG, context, exchange, response


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """Metrics that are connected, and the clock that they read."""

    def __init__(self, **stats: Any) -> None:
        self.telemetry = Telemetry()
        self.clock = Clock()
        self.metrics = Metrics("1.2.3", self.clock, self.clock)
        self.metrics.connect(context(self.telemetry, **stats))

    def __getitem__(self, key: str) -> float:
        """Return the sample with this name and these label values, as ``name|value|value``."""
        name, *labels = key.split("|")
        for metric in self.metrics.collect():
            for sample in metric.samples:
                values = [value for label, value in sample.labels.items() if label != "le"]
                if sample.name.removeprefix("gateway_sessions_") == name and values == labels:
                    return sample.value
        raise KeyError(key)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_an_exchange(counting: Counting) -> None:
    counting.metrics.exchange(exchange(timings={"overhead": 0.00003}))
    assert counting["requests_total|openai_chat|2xx|prefix"] == 1
    assert counting["upstream_request_seconds_sum"] == 1.2505
    assert counting["time_to_first_byte_seconds_sum"] == 0.30025
    assert counting["gateway_overhead_seconds_sum"] == 0.00003
    assert counting["tokens_total|input|gpt-4o"] == 20
    assert counting["tokens_total|output|gpt-4o"] == 3
    assert counting["session_messages_total"] == 3  # two new ones and the reply
    assert counting["longest_session_messages"] == 5
    assert counting["gen_ai_client_operation_duration_seconds_count|chat|openai|gpt-4o|"] == 1
    assert counting["gen_ai_client_token_usage_sum|chat|openai|gpt-4o|input"] == 20
    assert counting["gen_ai_client_token_usage_sum|chat|openai|gpt-4o|output"] == 3


@pytest.mark.parametrize(
    ("fields", "status_class", "error_type"),
    [
        ({"status": 200}, "2xx", ""),
        ({"status": 302}, "3xx", ""),
        ({"status": 429}, "4xx", "429"),
        ({"status": 502, "error": "upstream_unreachable"}, "5xx", "upstream_unreachable"),
        ({"status": 200, "error": "client_closed"}, "aborted", "client_closed"),
        ({"status": 200, "error": "upstream_aborted"}, "aborted", "upstream_aborted"),
        ({"status": 429, "error": "refused"}, "4xx", "refused"),
    ],
)
def test_status_classes_and_errors(
    counting: Counting, fields: dict[str, Any], status_class: str, error_type: str
) -> None:
    counting.metrics.exchange(exchange())  # makes the model known
    counting.metrics.exchange(exchange(session=None, answer=response(**fields)))
    assert counting[f"requests_total|openai_chat|{status_class}|none"] == 1
    name = "gen_ai_client_operation_duration_seconds_count"
    expected = 2 if not error_type else 1
    assert counting[f"{name}|chat|openai|gpt-4o|{error_type}"] == expected


def test_an_exchange_that_got_no_response_is_not_counted(counting: Counting) -> None:
    item = exchange()
    item.response = None
    counting.metrics.exchange(item)
    with pytest.raises(KeyError):
        counting["requests_total|openai_chat|2xx|prefix"]


def test_a_retry_adds_no_reply_to_its_session(counting: Counting) -> None:
    tag = SessionTag(
        session_id="s", relation="retry", source="prefix", confidence=1, root_session_id="s"
    )
    counting.metrics.exchange(exchange(session=tag, new_messages=0))
    assert counting["session_messages_total"] == 0


def test_only_models_that_answered_become_labels(counting: Counting) -> None:
    made_up = response(status=404, model="", usage=Usage(1, 1))
    counting.metrics.exchange(exchange(model="made-up", answer=made_up))
    assert counting["tokens_total|input|other"] == 1
    for number in range(200):
        counting.metrics.exchange(exchange(answer=response(model=f"m{number}")))
    series = sum(len(metric.samples) for metric in counting.metrics.collect())
    assert series < 10_000
    models = {
        sample.labels["model"]
        for metric in counting.metrics.collect()
        for sample in metric.samples
        if "model" in sample.labels
    }
    assert len(models) == MODELS + 1


def test_the_events_of_detection_and_index(counting: Counting) -> None:
    emit = counting.telemetry.emit
    emit(SessionStarted("sess_1", "first_request"))
    emit(Detected("sess_1", "first", "new", True, 2e-5, 3e-6))
    emit(Detected("sess_1", "continue", "prefix", False, 1e-5, 1e-6))
    emit(SessionEnded("sess_1", "expired", 7))
    emit(ExplicitIdRejected("x-session-id"))
    emit(IndexFellBack("redis"))
    assert counting["sessions_started_total|first_request"] == 1
    assert counting["sessions_ended_total|expired"] == 1
    assert counting["session_relations_total|first"] == 1
    assert counting["sessions_ambiguous_total"] == 1
    assert counting["detection_seconds_sum"] == pytest.approx(3e-5)
    assert counting["hash_seconds_sum"] == pytest.approx(4e-6)
    assert counting["session_length_messages_sum"] == 7
    assert counting["explicit_id_rejected_total|x-session-id"] == 1
    assert counting["index_fallback_total|redis"] == 1


def test_the_events_of_interceptors_and_writers(counting: Counting) -> None:
    emit = counting.telemetry.emit
    emit(Written("trace", 40, 0.25))
    emit(Dropped("trace", "queue_full", 3))
    emit(InterceptorFailed("mine", "request_started", "boom"))
    assert counting["recorder_written_total|trace"] == 40
    assert counting["recorder_dropped_total|trace|queue_full"] == 3
    assert counting["recorder_write_seconds_sum|trace"] == 0.25
    assert counting["interceptor_errors_total|mine|request_started"] == 1


def test_what_only_the_host_knows() -> None:
    counting = Counting(
        sessions_active=12,
        started_at=900.0,
        interceptors={
            "trace": {"enabled": True, "writer": True, "queued": 5},
            "printer": {"enabled": False, "writer": False, "queued": 0},
        },
    )
    assert counting["sessions_active"] == 12
    assert counting["start_time_seconds"] == 900.0
    assert counting["build_info|1.2.3"] == 1
    assert counting["interceptor_enabled|trace"] == 1
    assert counting["interceptor_enabled|printer"] == 0
    assert counting["recorder_queue_events|trace"] == 5
    with pytest.raises(KeyError):
        counting["recorder_queue_events|printer"]


def test_the_cost_of_a_session_is_observed_when_it_ends(counting: Counting) -> None:
    for cost in (0.25, 0.5):
        counting.metrics.exchange(exchange(answer=response(cost_usd=cost)))
    assert counting["cost_usd_total|gpt-4o"] == 0.75
    assert counting["session_cost_usd_count"] == 0
    counting.telemetry.emit(SessionEnded(TAG.session_id, "expired", 4))
    assert counting["session_cost_usd_count"] == 1
    assert counting["session_cost_usd_sum"] == 0.75


def test_the_documented_metrics_are_those_of_the_code(counting: Counting) -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in row.findall(page)
    }
    real = {}
    for metric in counting.metrics.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = metric._labelnames  # type: ignore[attr-defined]
        real[name] = (metric.type, tuple(labels), metric.documentation)
    assert documented == real


def test_an_exchange_costs_microseconds(counting: Counting) -> None:
    item = exchange(timings={"overhead": 0.00003})
    best = float("inf")
    for _ in range(20):
        started = time.thread_time()
        for _ in range(100):
            counting.metrics.exchange(item)
        best = min(best, time.thread_time() - started)
    # About 4 µs where nothing else runs; the rest is for coverage tracing and slow machines.
    assert best / 100 < 150e-6


def test_a_batch_is_counted_without_a_scrape(counting: Counting) -> None:
    for _ in range(module.BATCH - 1):
        counting.telemetry.emit(SessionStarted("sess_1", "expired"))
    started = counting.metrics.families.started
    assert started.collect().samples == []
    counting.telemetry.emit(SessionStarted("sess_1", "expired"))
    assert [sample.value for sample in started.collect().samples] == [module.BATCH]


def test_an_exemplar_has_the_time_of_its_exchange(counting: Counting) -> None:
    counting.metrics.exchange(exchange())
    samples = [sample for metric in counting.metrics.collect() for sample in metric.samples]
    times = {sample.exemplar.timestamp for sample in samples if sample.exemplar}
    assert times == {STARTED_AT + 1.2505}
