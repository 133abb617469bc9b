"""Times in records."""

from __future__ import annotations

import pytest

from gateway_sessions.analysis.moments import rfc3339


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_767_268_800.25, "2026-01-01T12:00:00.250000Z"),
        (1_767_268_799.9999999, "2026-01-01T12:00:00.000000Z"),
    ],
)
def test_times_are_utc_with_microseconds(at: float, text: str) -> None:
    assert rfc3339(at) == text
