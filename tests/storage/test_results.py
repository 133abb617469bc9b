"""Results are plain values that become JSON as they are."""

from __future__ import annotations

import msgspec
import pytest

from gateway_sessions.storage.results import Group, Latency, Sums

SUMS = Sums(
    sessions=1,
    requests=2,
    errors=0,
    input_tokens=100,
    output_tokens=50,
    thinking_tokens=0,
    reasoning_tokens=0,
    cache_read_tokens=0,
    cache_creation_tokens=0,
    total_tokens=150,
    cost_usd=None,
    unpriced_requests=2,
    latency=Latency(p50_ms=1.5, p95_ms=2.0, p99_ms=2.0),
)


def test_results_go_to_json_and_back_with_what_is_unknown() -> None:
    group = Group(key="gpt-5", sums=SUMS)
    text = msgspec.json.encode(group)
    assert b'"cost_usd":null' in text
    assert b'"label":null' in text
    assert msgspec.json.decode(text, type=Group) == group


def test_results_do_not_change() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        SUMS.requests = 3  # type: ignore[misc]
