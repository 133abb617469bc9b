"""What every index owes detection, whatever keeps its sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest

from gateway_sessions.detection.session import Session
from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.base import Index
from gateway_sessions.index.memory import MemoryIndex

NOW, TTL = 1_700_000_000.0, 60.0
SCOPE, ELSEWHERE = 0x5EED, 0xF00D
SPREAD = 0x9E3779B97F4A7C15

Ended = list[tuple[str, str]]
Factory = Callable[[int, float, Callable[[Session, str], None]], Index]

FACTORIES: dict[str, Factory] = {"memory": MemoryIndex}


def key(number: int) -> int:
    """Return a key that looks like a hash."""
    return (number + 1) * SPREAD % 2**64


class Shelf:
    """An index with room for five sessions, and what it told of those that ended."""

    def __init__(self, make: Factory, sessions: int = 5) -> None:
        self.ended: Ended = []
        self.index = make(sessions, TTL, lambda s, reason: self.ended.append((s.id, reason)))

    def ask(self, name: str, request: int, now: float = NOW, scope: int = SCOPE) -> Session:
        """Commit a session with a request in flight."""
        session = Session(id=name, scope=scope, started=now, used=now)
        session.take(key(request), now, 1)
        self.index.commit(session, [key(request)], now)
        return session

    def answer(self, session: Session, request: int, head: int, now: float = NOW) -> None:
        """Commit the reply to a request."""
        session.answer(key(request), key(head), 0, 0, now)
        self.index.commit(session, [key(head)], now)

    def settle(self, name: str, request: int, now: float = NOW, scope: int = SCOPE) -> Session:
        """Commit a session whose request failed, so that nothing is in flight."""
        session = self.ask(name, request, now, scope)
        session.fail(key(request), now)
        self.index.commit(session, [], now)
        return session

    def names(self, number: int, scope: int = SCOPE) -> set[str]:
        """Return the ids of the sessions under a key."""
        return {session.id for session in self.index.candidates(scope, key(number))}


@pytest.fixture(params=list(FACTORIES.values()), ids=list(FACTORIES))
def make(request: pytest.FixtureRequest) -> Factory:
    factory: Factory = request.param
    return factory


@pytest.fixture
def shelf(make: Factory) -> Iterator[Shelf]:
    made = Shelf(make)
    yield made
    made.index.close()


class TestKeys:
    def test_nothing_is_found_in_an_empty_index(self, shelf: Shelf) -> None:
        assert list(shelf.index.candidates(SCOPE, key(1))) == []
        assert shelf.index.active == 0

    def test_a_session_is_found_by_each_of_its_keys(self, shelf: Shelf) -> None:
        session = shelf.ask("a", 1)
        shelf.answer(session, 1, 2)
        assert shelf.names(1) == shelf.names(2) == {"a"}
        assert shelf.names(3) == set()

    def test_what_is_found_is_as_it_was_committed(self, shelf: Shelf) -> None:
        session = shelf.ask("a", 1)
        session.external, session.messages = "their id", 7
        shelf.answer(session, 1, 2, NOW + 1)
        (found,) = shelf.index.candidates(SCOPE, key(2))
        assert (found.id, found.external, found.messages) == ("a", "their id", 8)
        assert (found.head, found.used, found.pending) == (key(2), NOW + 1, ())

    def test_several_sessions_share_a_key(self, shelf: Shelf) -> None:
        for name in ("a", "b", "c"):
            shelf.ask(name, 1)
        assert shelf.names(1) == {"a", "b", "c"}

    def test_never_one_of_another_scope(self, shelf: Shelf) -> None:
        shelf.ask("mine", 1)
        shelf.ask("theirs", 1, scope=ELSEWHERE)
        assert shelf.names(1) == {"mine"}
        assert shelf.names(1, ELSEWHERE) == {"theirs"}
        assert shelf.names(1, SCOPE + 1) == set()

    def test_a_key_that_the_session_has_forgotten_leads_nowhere(self, shelf: Shelf) -> None:
        session = shelf.ask("a", 1)
        session.done(key(1))
        shelf.index.commit(session, [], NOW)
        assert shelf.names(1) == set()

    def test_an_outdated_key_leads_nowhere(self, shelf: Shelf) -> None:
        session = shelf.ask("a", 1)
        other = shelf.ask("b", 1)
        session.done(key(1))
        shelf.index.commit(session, [], NOW, [key(1), key(99)])
        assert shelf.names(1) == {"b"}
        other.done(key(1))
        shelf.index.commit(other, [], NOW, [key(1)])
        assert shelf.names(1) == set()

    def test_registering_a_key_twice_changes_nothing(self, shelf: Shelf) -> None:
        session = shelf.ask("a", 1)
        shelf.index.commit(session, [key(1), key(1)], NOW)
        assert [found.id for found in shelf.index.candidates(SCOPE, key(1))] == ["a"]

    def test_of_too_many_sessions_under_a_key_the_latest_are_kept(self, make: Factory) -> None:
        shelf = Shelf(make, sessions=200)
        for number in range(CANDIDATES + 10):
            shelf.ask(f"s{number}", 1)
        assert shelf.names(1) == {f"s{number}" for number in range(10, CANDIDATES + 10)}


class TestEviction:
    def test_the_one_unused_for_longest_goes(self, shelf: Shelf) -> None:
        for number in range(1, 6):
            shelf.settle(f"s{number}", number)
        (first,) = shelf.index.candidates(SCOPE, key(1))
        shelf.index.commit(first, [], NOW)
        shelf.ask("s6", 6)
        assert shelf.ended == [("s2", "evicted")]
        assert shelf.names(2) == set()
        assert [shelf.names(n) for n in (1, 3, 4, 5, 6)] == [
            {name} for name in ("s1", "s3", "s4", "s5", "s6")
        ]
        assert shelf.index.active == 5

    def test_looking_at_a_session_is_no_use_of_it(self, shelf: Shelf) -> None:
        for number in range(1, 6):
            shelf.settle(f"s{number}", number)
        assert shelf.names(1) == {"s1"}
        shelf.ask("s6", 6)
        assert shelf.ended == [("s1", "evicted")]

    def test_its_keys_never_lead_to_its_successor(self, shelf: Shelf) -> None:
        for number in range(1, 30):
            shelf.ask(f"s{number}", number)
        assert all(shelf.names(number) == set() for number in range(1, 25))
        assert all(shelf.names(number) == {f"s{number}"} for number in range(25, 30))

    def test_a_reply_to_one_that_was_evicted_brings_it_back(self, shelf: Shelf) -> None:
        session = shelf.ask("s0", 100)
        for number in range(1, 6):
            shelf.settle(f"s{number}", number)
        assert shelf.ended == [("s0", "evicted")]
        shelf.answer(session, 100, 101)
        assert shelf.names(101) == {"s0"}
        assert shelf.index.active == 5


class TestIdleTime:
    def test_an_idle_session_ends(self, shelf: Shelf) -> None:
        shelf.settle("a", 1)
        shelf.index.expire(NOW + TTL)
        assert shelf.index.active == 1
        shelf.index.expire(NOW + TTL + 1)
        assert shelf.index.active == 0
        assert shelf.ended == [("a", "expired")]

    def test_every_use_renews_it(self, shelf: Shelf) -> None:
        session = shelf.settle("a", 1)
        for number in range(1, 5):
            session.used = NOW + number * TTL
            shelf.index.commit(session, [], session.used)
        shelf.index.expire(NOW + 5 * TTL)
        assert shelf.index.active == 1
        assert shelf.ended == []

    def test_only_the_idle_ones_end(self, shelf: Shelf) -> None:
        shelf.settle("a", 1, NOW)
        shelf.settle("b", 2, NOW + 40)
        shelf.settle("c", 3, NOW + 80)
        shelf.index.expire(NOW + 110)
        assert shelf.ended == [("a", "expired"), ("b", "expired")]

    def test_traffic_alone_ends_them(self, shelf: Shelf) -> None:
        for number in range(1, 4):
            shelf.settle(f"s{number}", number)
        shelf.settle("x", 10, NOW + TTL + 1)
        shelf.settle("y", 11, NOW + TTL + 1)
        assert sorted(shelf.ended) == [(f"s{number}", "expired") for number in (1, 2, 3)]
        assert shelf.index.active == 2

    def test_one_with_a_request_in_flight_does_not_end(self, shelf: Shelf) -> None:
        session = shelf.ask("streaming", 1)
        shelf.settle("idle", 2)
        shelf.index.expire(NOW + 100 * TTL)
        assert shelf.ended == [("idle", "expired")]
        shelf.answer(session, 1, 3, NOW + 100 * TTL)
        shelf.index.expire(NOW + 101 * TTL)
        assert shelf.ended == [("idle", "expired")]
        shelf.index.expire(NOW + 102 * TTL)
        assert shelf.ended[1:] == [("streaming", "expired")]

    def test_an_ended_session_is_still_found(self, shelf: Shelf) -> None:
        shelf.settle("a", 1)
        shelf.index.expire(NOW + TTL + 1)
        (ghost,) = shelf.index.candidates(SCOPE, key(1))
        assert (ghost.id, ghost.used) == ("a", NOW)

    def test_ended_ones_give_way_before_live_ones(self, shelf: Shelf) -> None:
        for number in (1, 2):
            shelf.settle(f"old{number}", number)
        for number in (3, 4, 5):
            shelf.settle(f"s{number}", number, NOW + TTL)
        later = NOW + TTL + 1
        shelf.index.expire(later)
        shelf.settle("s6", 6, later)
        assert shelf.names(1) == set()
        assert shelf.names(2) == {"old2"}
        shelf.settle("s7", 7, later)
        assert shelf.names(2) == set()
        assert shelf.ended == [("old1", "expired"), ("old2", "expired")]
        shelf.settle("s8", 8, later)
        assert shelf.ended[2:] == [("s3", "evicted")]

    def test_an_ended_session_that_is_used_again_is_live_again(self, shelf: Shelf) -> None:
        shelf.settle("a", 1)
        shelf.index.expire(NOW + TTL + 1)
        (ghost,) = shelf.index.candidates(SCOPE, key(1))
        later = NOW + 2 * TTL
        ghost.take(key(2), later, 1)
        shelf.index.commit(ghost, [key(2)], later)
        assert shelf.index.active == 1
        assert shelf.names(1) == shelf.names(2) == {"a"}
        for number in range(3, 8):
            shelf.settle(f"s{number}", number, later)
        assert shelf.ended[1:] == [("a", "evicted")]


def test_an_index_can_be_closed_twice_and_is_empty(shelf: Shelf) -> None:
    shelf.settle("a", 1)
    shelf.index.close()
    shelf.index.close()
    found: Sequence[Session] = shelf.index.candidates(SCOPE, key(1))
    assert list(found) == []
    assert shelf.index.active == 0


def test_a_clock_that_goes_back_ends_nothing(shelf: Shelf) -> None:
    shelf.settle("a", 1, NOW)
    shelf.settle("b", 2, NOW - 10 * TTL)
    shelf.index.expire(NOW - 10 * TTL)
    assert shelf.ended == []


def test_a_random_walk_like_a_plain_dictionary(make: Factory) -> None:
    """Uses and evictions in any order agree with a list in order of use."""
    shelf, order, keys = Shelf(make), list[str](), dict[str, list[int]]()
    sessions: dict[str, Session] = {}
    random = Random(1)
    for step in range(600):
        name = f"s{random.randrange(9)}"
        if name not in sessions:
            sessions[name] = Session(id=name, scope=SCOPE, started=NOW, used=NOW)
            keys[name] = []
            if len(order) == 5:
                gone = order.pop(0)
                del sessions[gone], keys[gone]
        else:
            order.remove(name)
        order.append(name)
        session = sessions[name]
        session.answer(key(step % 50), key(100 + step % 40), 0, 0, NOW)
        keys[name] += [step % 50, 100 + step % 40]
        shelf.index.commit(session, [key(step % 50), key(100 + step % 40)], NOW)
        for number in (step % 50, 100 + step % 40, (step * 7) % 50):
            assert shelf.names(number) == {n for n in order if number in keys[n]}
    assert shelf.index.active == 5
