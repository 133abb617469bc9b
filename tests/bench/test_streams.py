"""Many streams are open at once, and what they take is counted."""

from __future__ import annotations

import pytest

from bench import streams
from bench.throughput import BARE


def test_every_stream_is_open_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "INTERVAL_SECONDS", 0.05)
    found = streams.costs(20, 0.5, ["detection only"])
    assert list(found) == [BARE, "detection only"]
    for cost in found.values():
        assert cost.opened == 20
        assert 20 * 3 < cost.chunks <= 20 * 12
        assert cost.cpu_us >= 0
        assert cost.memory_kb > 0
