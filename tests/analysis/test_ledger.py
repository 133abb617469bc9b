"""Sums of a session: each part of each exchange once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions.analysis.ledger import NAME_LENGTH, NAMES_LIMIT, OTHERS, Ledger
from gateway_sessions.conversation import Usage
from gateway_sessions.exchange import Response
from gateway_sessions.prices import Cost


def response(duration_ms: float = 100.0, **fields: Any) -> Response:
    values: dict[str, Any] = {"time_to_first_byte_ms": 40.0, "streamed": False} | fields
    return Response(200, (), b"", 0, duration_ms, **values)


def exchanged(ledger: Ledger, provider_ms: float = 90.0, **fields: Any) -> None:
    ledger.exchanged(
        response(**fields), provider_ms=provider_ms, overhead_ms=10.0, detection_ms=4.0
    )


def test_a_session_without_an_exchange_is_all_zeros() -> None:
    final = Ledger().final()
    assert (final.request_count, final.total_duration_ms) == (0, 0.0)
    assert final.performance.p99_latency_ms == final.performance.proxy_overhead_percentage == 0.0
    assert final.total_tokens.grand_total == final.tool_summary.total_tool_calls == 0
    assert final.streaming_stats is None
    assert final.estimated_cost.total_cost_usd is final.estimated_cost.cost_per_1k_tokens is None


@pytest.mark.parametrize(
    ("times", "expected"),
    [([7.0], (7.0, 7.0, 7.0)), ([7.0, 9.0], (7.0, 9.0, 9.0))],
)
def test_latencies(times: list[float], expected: tuple[float, ...]) -> None:
    ledger = Ledger()
    for spent in times:
        exchanged(ledger, spent)
    found = ledger.final().performance
    assert (found.p50_latency_ms, found.p95_latency_ms, found.p99_latency_ms) == expected
    assert (found.min_latency_ms, found.max_latency_ms) == (min(times), max(times))
    assert found.avg_provider_latency_ms == sum(times) / len(times)
    assert (found.avg_pre_processing_ms, found.avg_post_processing_ms) == (4.0, 6.0)
    assert found.proxy_overhead_percentage == 10.0


def test_streams_are_summed_apart() -> None:
    ledger = Ledger()
    for ttft, gaps in ((40.0, (1.0, 3.0)), (60.0, ())):
        ledger.streamed(response(time_to_first_byte_ms=ttft, streamed=True, chunks=3), gaps)
    found = ledger.final().streaming_stats
    assert found is not None
    assert (found.time_to_first_token_ms, found.total_chunks) == (50.0, 6)
    assert found.streaming_duration_ms == 100.0
    assert (found.min_chunk_latency_ms, found.avg_chunk_latency_ms) == (1.0, 2.0)
    assert (found.p50_chunk_latency_ms, found.p95_chunk_latency_ms) == (1.0, 3.0)
    assert found.p99_chunk_latency_ms == found.max_chunk_latency_ms == 3.0


def test_a_stream_of_one_chunk_has_no_times_between_chunks() -> None:
    ledger = Ledger()
    ledger.streamed(response(streamed=True, chunks=1), ())
    found = ledger.final().streaming_stats
    assert found is not None
    assert found.avg_chunk_latency_ms == found.p99_chunk_latency_ms == 0.0


def test_thinking_and_reasoning_are_told_apart_and_part_of_the_output() -> None:
    ledger = Ledger()
    ledger.used("anthropic", "a", Usage(10, 20, reasoning_tokens=5, thinking_tokens=5), None)
    ledger.used("openai", "b", Usage(1, 30, cache_read_tokens=1, reasoning_tokens=7), None)
    found = ledger.final().total_tokens
    assert (found.thinking, found.reasoning) == (5, 7)
    assert (found.total_input, found.total_output, found.grand_total) == (11, 50, 61)
    assert (found.cache_read, found.cache_creation) == (1, 0)
    assert {name: model.total for name, model in found.by_model.items()} == {"a": 30, "b": 31}


def test_cost_is_the_sum_of_what_has_a_price() -> None:
    ledger = Ledger()
    ledger.used("p", "a", Usage(600, 400), Cost(1.0, 2.0, 0.5, 0.25))
    ledger.used("p", "a", Usage(500, 500), Cost(1.0, 2.0, 0.5, 0.25))
    ledger.used("p", "unknown", Usage(9000, 9000), None)
    ledger.used("p", "failed", None, None)
    found = ledger.final().estimated_cost
    assert (found.input_cost_usd, found.output_cost_usd, found.total_cost_usd) == (2.0, 4.0, 6.0)
    assert (found.thinking_cost_usd, found.cache_cost_usd) == (1.0, 0.5)
    assert found.cost_per_1k_tokens == pytest.approx(3.0)
    assert found.unpriced_requests == 1
    assert (found.provider, found.model) == ("p", "failed")


def test_what_has_no_price_costs_none_and_is_counted() -> None:
    ledger = Ledger()
    ledger.used("p", "unknown", Usage(10, 10), None)
    found = ledger.final().estimated_cost
    assert found.total_cost_usd is found.input_cost_usd is found.output_cost_usd is None
    assert found.cost_per_1k_tokens is None
    assert found.unpriced_requests == 1


def test_tools_are_summed_by_name() -> None:
    ledger = Ledger()
    for name in ("f", "g", "f", "f"):
        ledger.called(name)
    ledger.answered("f", 10.0, success=True)
    ledger.answered("f", 30.0, success=False)
    ledger.answered("f", None, success=None)
    found = ledger.final().tool_summary
    assert (found.total_tool_calls, found.unique_tool_count) == (4, 2)
    assert (found.total_tool_time_ms, found.tool_error_count) == (40.0, 1)
    by_f = found.by_tool["f"]
    assert (by_f.call_count, by_f.total_execution_time_ms) == (3, 40.0)
    assert (by_f.avg_execution_time_ms, by_f.error_count) == (20.0, 1)
    assert found.by_tool["g"].avg_execution_time_ms == 0.0


def test_names_of_strangers_take_bounded_room() -> None:
    ledger = Ledger()
    for number in range(2 * NAMES_LIMIT):
        ledger.called(f"tool-{number}")
        ledger.used("p", f"model-{number}" + "x" * 10_000, Usage(1, 1), None)
    final = ledger.final()
    assert final.tool_summary.unique_tool_count == NAMES_LIMIT + 1
    assert final.tool_summary.by_tool[OTHERS].call_count == NAMES_LIMIT
    assert final.total_tokens.by_model[OTHERS].request_count == NAMES_LIMIT
    assert max(map(len, final.total_tokens.by_model)) == NAME_LENGTH


@dataclass
class Part:
    model: str
    usage: Usage | None
    tools: list[str]


parts = st.builds(
    Part,
    st.sampled_from("abc"),
    st.none() | st.builds(Usage, *[st.integers(0, 1000)] * 5),
    st.lists(st.sampled_from("fg"), max_size=3),
)


@given(st.lists(parts, max_size=20))
def test_sums_are_the_sums_of_their_parts(exchanges: list[Part]) -> None:
    ledger = Ledger()
    for part in exchanges:
        exchanged(ledger)
        ledger.used("p", part.model, part.usage, None)
        for name in part.tools:
            ledger.called(name)
    final, known = ledger.final(), [part.usage for part in exchanges if part.usage]
    total = final.total_tokens
    assert total.total_input == sum(usage.input_tokens for usage in known)
    assert total.total_output == sum(usage.output_tokens for usage in known)
    assert total.reasoning == sum(usage.reasoning_tokens for usage in known)
    assert total.cache_creation == sum(usage.cache_creation_tokens for usage in known)
    assert total.grand_total == sum(model.total for model in total.by_model.values())
    assert sum(model.request_count for model in total.by_model.values()) == len(exchanges)
    assert final.tool_summary.total_tool_calls == sum(len(part.tools) for part in exchanges)
    snapshot = ledger.snapshot("s", "r", "t")
    assert snapshot.request_count == final.request_count == len(exchanges)
    assert snapshot.total_input_tokens == total.total_input
    assert snapshot.total_output_tokens == total.total_output
    assert snapshot.total_thinking_tokens == total.thinking
    assert snapshot.total_tool_calls == final.tool_summary.total_tool_calls
    assert set(snapshot.unique_tools) == set(final.tool_summary.by_tool)
    assert snapshot.cumulative_latency_ms == final.provider_time_ms
    assert snapshot.cumulative_proxy_overhead_ms == final.proxy_overhead_ms
