"""What one exchange moves."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions import Exchange, SessionTag
from interceptors.prometheus import exchanges as module
from interceptors.prometheus.exchanges import finished, is_failed
from interceptors.prometheus.metrics import Metrics
from tests.interceptors.exchanges import STARTED_AT, TAG, exchange, response


def counted(*items: Exchange) -> dict[tuple[str, ...], float]:
    """Return what exchanges come to, by name and label values; zeros are left out."""
    metrics = Metrics("1.2.3", lambda: 0.0, lambda: 0.0)
    for item in items:
        metrics.exchange(item)
    return {
        (sample.name.removeprefix("gateway_sessions_"), *sample.labels.values()): sample.value
        for metric in metrics.collect()
        for sample in metric.samples
        if sample.value
    }


def talk(session: str) -> SessionTag:
    return SessionTag(
        session_id=session,
        relation="first",
        source="new",
        confidence=1,
        root_session_id=session,
    )


def test_a_note_holds_what_counts_and_no_body() -> None:
    item = exchange(timings={"overhead": 0.25}, answer=response(cost_usd=0.5, body=b"{}"))
    assert item.response is not None
    note = finished(item, item.response, 7.0)
    assert note.session_id == TAG.session_id
    assert (note.overhead, note.cost, note.usage) == (0.25, 0.5, item.response.usage)
    assert (note.at, note.now) == (STARTED_AT + 1.2505, 7.0)
    assert b"{}" not in [getattr(note, name) for name in note.__struct_fields__]


@pytest.mark.parametrize(
    ("answer", "failed", "status_class"),
    [
        ({"status": 200}, False, "2xx"),
        ({"status": 429}, True, "4xx"),
        ({"status": 200, "error": "client_closed"}, True, "aborted"),
        ({"status": 502, "error": "upstream_unreachable"}, True, "5xx"),
    ],
)
def test_kinds_of_ends(answer: dict[str, Any], failed: bool, status_class: str) -> None:
    item = exchange(answer=response(**answer))
    assert item.response is not None
    assert is_failed(finished(item, item.response, 0.0)) is failed
    assert counted(item)["requests_total", "openai_chat", status_class, TAG.source] == 1


def test_exchanges_of_a_kind_share_sums_and_others_do_not() -> None:
    one, other = exchange(answer=response(model="a")), exchange(answer=response(model="b"))
    sums = counted(one, other, one)
    assert sums["requests_total", "openai_chat", "2xx", TAG.source] == 3
    assert sums["gen_ai_client_operation_duration_seconds_count", "chat", "openai", "a", ""] == 2
    assert sums["gen_ai_client_operation_duration_seconds_count", "chat", "openai", "b", ""] == 1


def test_kinds_beyond_the_limit_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KINDS", 2)
    items = [exchange(answer=response(model=name)) for name in "abcabc"]
    sums = counted(*items)
    assert [sums["tokens_total", "input", name] for name in "abc"] == [
        2 * items[0].response.usage.input_tokens  # type: ignore[union-attr]
    ] * 3


def test_running_costs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS_WITH_COST", 2)
    sums = counted(
        *(exchange(session=talk(f"s{n}"), answer=response(cost_usd=1.0)) for n in range(5))
    )
    assert sums["session_cost_usd_count",] == 3
