"""What is particular to the index in memory; the rest is in tests/contracts/test_indexes.py."""

from __future__ import annotations

from gateway_sessions.detection.session import Session
from gateway_sessions.index.memory import EXPIRED_AT_ONCE, EXPIRED_PER_COMMIT, MemoryIndex

SPREAD = 0x9E3779B97F4A7C15


def put(index: MemoryIndex, number: int, now: float) -> None:
    """Commit a session with one answered request."""
    session = Session(id=f"s{number}", scope=1, started=now, used=now)
    request, head, anchor = [(number * 3 + column) * SPREAD % 2**64 for column in range(3)]
    session.take(request, now, 1)
    session.answer(request, head, anchor, 0, now)
    index.commit(session, [request, head, anchor], now)


def test_a_commit_ends_a_bounded_number_of_sessions() -> None:
    ended: list[str] = []
    index = MemoryIndex(10_000, 10.0, lambda session, reason: ended.append(session.id))
    for number in range(1000):
        put(index, number, 0.0)
    put(index, 1000, 100.0)
    assert len(ended) == EXPIRED_PER_COMMIT >= 2
    for number in range(1001, 1500):
        put(index, number, 100.0)
    assert len(ended) == 1000
    assert index.active == 500


def test_a_live_session_is_handed_out_itself_and_not_a_copy() -> None:
    index = MemoryIndex(10, 10.0)
    put(index, 1, 0.0)
    key = 3 * SPREAD % 2**64
    assert index.candidates(1, key)[0] is index.candidates(1, key)[0]


def test_memory_is_bounded_by_the_number_of_sessions() -> None:
    index = MemoryIndex(50, 1000.0)
    for number in range(20_000):
        put(index, number, float(number % 7))
    assert index.active == 50
    found = [n for n in range(20_000) if index.candidates(1, n * 3 * SPREAD % 2**64)]
    assert found == list(range(19_950, 20_000))


def test_nobody_needs_to_listen() -> None:
    index = MemoryIndex(1, 1.0)
    put(index, 1, 0.0)
    put(index, 2, 0.0)
    index.expire(10.0)
    assert index.active == 0


def test_a_look_for_what_expired_takes_a_bounded_time() -> None:
    ended: list[str] = []
    index = MemoryIndex(10_000, 10.0, lambda session, reason: ended.append(session.id))
    for number in range(EXPIRED_AT_ONCE + 10):
        put(index, number, 0.0)
    put(index, EXPIRED_AT_ONCE + 10, 90.0)
    closed = len(ended)
    assert index.expire(95.0)
    assert len(ended) == EXPIRED_AT_ONCE + closed
    assert not index.expire(95.0)
    assert len(ended) == EXPIRED_AT_ONCE + 10
    assert index.active == 1
    assert not index.expire(96.0)


def test_sessions_in_use_are_not_looked_at_again_and_again() -> None:
    index = MemoryIndex(10_000, 10.0)
    for number in range(EXPIRED_AT_ONCE + 10):
        session = Session(id=f"s{number}", scope=1, started=0.0, used=0.0)
        session.take(number * SPREAD % 2**64, 0.0, 1)
        index.commit(session, [], 0.0)
        assert session.pending
    assert not index.expire(100.0)
    assert index.active == EXPIRED_AT_ONCE + 10
