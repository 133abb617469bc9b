from __future__ import annotations

from gateway_sessions.detection.memories import Memories


def test_nobody_shares_memories_by_accident() -> None:
    one, other = Memories(), Memories()
    one.asides.asked(1, 2)
    assert one.asides.known(1, 2)
    assert not other.asides.known(1, 2)
