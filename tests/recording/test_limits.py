"""How much may wait."""

from __future__ import annotations

from gateway_sessions.recording.limits import Limits


def test_the_defaults_are_those_of_the_documentation() -> None:
    limits = Limits()
    assert (limits.max_count, limits.max_bytes) == (10_000, 256 * 1024 * 1024)
    assert (len(limits.pauses), round(sum(limits.pauses), 3)) == (4, 1.5)
