"""Rows of the tables as values."""

from __future__ import annotations

from gateway_sessions.storage.results import Latency, Result
from gateway_sessions.storage.row_values import columns, rfc3339, unix_time, values


class Call(Result, frozen=True, kw_only=True):
    name: str
    created_at: str | None
    success: bool | None


def test_columns_are_named_after_fields() -> None:
    assert columns(Latency, "e") == "e.p50_ms AS p50_ms, e.p95_ms AS p95_ms, e.p99_ms AS p99_ms"
    assert columns(Call, "c", name="upper(c.name)").startswith(
        "upper(c.name) AS name, c.created_at"
    )


def test_flags_and_times_are_read_as_such() -> None:
    time = "2026-01-31 10:30:00.123456"
    assert values(Call, ("a", time, 0)) == Call(
        name="a", created_at="2026-01-31T10:30:00.123456Z", success=False
    )
    unknown = values(Call, ("a", None, None))
    assert (unknown.created_at, unknown.success) == (None, None)


def test_times_are_those_of_events() -> None:
    assert rfc3339("2026-01-31 10:30:00.123456") == "2026-01-31T10:30:00.123456Z"
    assert rfc3339(None) is None


def test_times_are_also_told_in_unix_seconds() -> None:
    assert unix_time("2026-01-31 10:30:00.125000") == 1769855400.125
