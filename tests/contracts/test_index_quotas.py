"""No scope takes the room of another: what every index owes its tenants when it is full.

With room for 100 sessions the quota of a scope is 25.
A scope may fill whatever nobody else needs; what lies within a scope's quota is its own.
"""

from __future__ import annotations

import pytest

from gateway_sessions.detection.quota import SCOPE_SHARE
from tests.contracts.test_indexes import ELSEWHERE, NOW, SCOPE, TTL, Factory, Shelf, make

__all__ = ["make"]  # the fixture of all index contracts

ROOM = 100
QUOTA = ROOM // SCOPE_SHARE


@pytest.fixture
def shelf(make: Factory) -> Shelf:
    return Shelf(make, ROOM)


def fill(shelf: Shelf, prefix: str, sessions: int, scope: int, first_key: int = 0) -> list[str]:
    """Open sessions that are settled at once; return their names."""
    names = [f"{prefix}{n}" for n in range(sessions)]
    for place, name in enumerate(names):
        shelf.settle(name, first_key + place, scope=scope)
    return names


def found(shelf: Shelf, names: list[str], scope: int, first_key: int = 0) -> set[str]:
    return {n for place, n in enumerate(names) if n in shelf.names(first_key + place, scope)}


def test_a_flood_leaves_others_their_quota(shelf: Shelf) -> None:
    quiet = fill(shelf, "quiet", QUOTA, ELSEWHERE, 10_000)
    fill(shelf, "loud", 5 * ROOM, SCOPE)
    assert found(shelf, quiet, ELSEWHERE, 10_000) == set(quiet)
    assert all(name.startswith("loud") for name, _ in shelf.ended)
    assert shelf.index.active == ROOM


def test_beyond_its_quota_the_oldest_give_way(shelf: Shelf) -> None:
    many = fill(shelf, "many", 40, ELSEWHERE, 10_000)
    fill(shelf, "loud", 5 * ROOM, SCOPE)
    left = found(shelf, many, ELSEWHERE, 10_000)
    assert len(left) >= QUOTA
    assert left == set(many[-len(left) :])


def test_one_scope_alone_has_all_the_room(shelf: Shelf) -> None:
    names = fill(shelf, "a", ROOM, SCOPE)
    assert found(shelf, names, SCOPE) == set(names)
    assert shelf.ended == []


def test_a_newcomer_gets_its_quota_from_whoever_has_more(shelf: Shelf) -> None:
    loud = fill(shelf, "loud", ROOM, SCOPE)
    newcomer = fill(shelf, "new", QUOTA, ELSEWHERE, 10_000)
    assert found(shelf, newcomer, ELSEWHERE, 10_000) == set(newcomer)
    assert found(shelf, loud, SCOPE) == set(loud[QUOTA:])
    fill(shelf, "again", ROOM, SCOPE, 20_000)
    assert found(shelf, newcomer, ELSEWHERE, 10_000) == set(newcomer)


def test_use_keeps_a_session_within_its_scope(shelf: Shelf) -> None:
    kept = shelf.settle("kept", 1)
    fill(shelf, "theirs", QUOTA, ELSEWHERE, 10_000)
    for number in range(5 * ROOM):
        shelf.settle(f"loud{number}", 100 + number)
        shelf.index.commit(kept, [], NOW)
    assert "kept" in shelf.names(1)


def test_a_reply_that_comes_late_counts_as_use(shelf: Shelf) -> None:
    asked = shelf.ask("asked", 1)
    fill(shelf, "theirs", QUOTA, ELSEWHERE, 10_000)
    fill(shelf, "loud", ROOM - QUOTA - 1, SCOPE, 100)
    shelf.answer(asked, 1, 2)
    fill(shelf, "more", ROOM - QUOTA - 1, SCOPE, 1000)
    assert shelf.names(2) == {"asked"}


def test_a_stream_that_outlives_the_idle_time_counts_as_use(shelf: Shelf) -> None:
    shelf.ask("streaming", 1)
    for number in range(ROOM - 1):
        shelf.settle(f"settled{number}", 100 + number, NOW + TTL)
    shelf.index.expire(NOW + TTL + 1)
    shelf.settle("one more", 1000, NOW + TTL + 1)
    assert shelf.ended == [("settled0", "evicted")]
    assert shelf.names(1) == {"streaming"}


def test_expired_sessions_make_room_first(shelf: Shelf) -> None:
    fill(shelf, "old", 60, SCOPE)
    later = NOW + TTL + 1
    shelf.index.expire(later)
    shelf.ended.clear()
    for number in range(ROOM):
        shelf.settle(f"new{number}", 10_000 + number, later, ELSEWHERE)
    assert [reason for _, reason in shelf.ended] == []
    assert shelf.index.active == ROOM


def test_many_small_scopes_share_the_room_by_use(shelf: Shelf) -> None:
    for scope in range(1, 2 * ROOM + 1):
        shelf.settle(f"s{scope}", scope, scope=scope)
    assert shelf.index.active == ROOM
    assert [name for name, _ in shelf.ended] == [f"s{scope}" for scope in range(1, ROOM + 1)]


def test_nothing_is_kept_of_scopes_that_are_gone(make: Factory) -> None:
    """A scope that comes back starts from nothing: no count is left behind."""
    shelf = Shelf(make, ROOM)
    for turn in range(20):
        fill(shelf, f"t{turn}-", ROOM, SCOPE + turn, 1000 * turn)
    assert shelf.index.active == ROOM
    newcomer = fill(shelf, "new", QUOTA, ELSEWHERE, 90_000)
    fill(shelf, "loud", ROOM, SCOPE, 95_000)
    assert found(shelf, newcomer, ELSEWHERE, 90_000) == set(newcomer)
