"""The measurement of the live feed, small: every event comes to every subscriber."""

from __future__ import annotations

import pytest

from bench import feed


def test_all_subscribers_get_all_events(monkeypatch: pytest.MonkeyPatch) -> None:
    run = feed._measured
    sizes: list[tuple[int, float]] = []

    def small(port: int, subscribers: int, seconds: float) -> list[str]:
        sizes.append((subscribers, seconds))
        return run(port, 5, 0.2)

    monkeypatch.setattr(feed, "_measured", small)
    block = feed.run(quick=True)
    assert sizes == [(200, 3.0)]
    assert block.startswith("Measured ")
    row = [cell.strip() for cell in block.splitlines()[-1].strip("|").split("|")]
    assert row[:4] == ["5", "200", "200 of 200", "0"]
    p50, p99, longest, memory = map(float, row[4:8])
    assert 0 < p50 <= p99 <= longest
    assert memory > 0
    assert row[8].endswith("% of a core")
