from __future__ import annotations

from gateway_sessions.detection.asides import Asides
from gateway_sessions.detection.memories import Memories
from gateway_sessions.detection.records import KEYS_KEPT, decode, habit_key, name_key, unpacked
from gateway_sessions.detection.session import Session
from gateway_sessions.index.held import IN_FLIGHT_SECONDS, HeldHabit, HeldSession, settle
from gateway_sessions.index.store import StoredSession

SCOPE, NOW = 0x5EED, 1_700_000_000.0


def session(**fields: object) -> Session:
    made = Session(id="sess_1", scope=SCOPE, started=NOW, used=NOW)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class TestSession:
    def test_a_change_tells_how_the_keys_differ(self) -> None:
        held = HeldSession(session(), Memories())
        held.rekey([1, 2, 0], ())
        first = held.change()
        name = name_key(SCOPE, "sess_1")
        assert (first.version, set(first.added), first.outdated) == (0, {1, 2, name}, ())
        held.stored(first)
        held.rekey([3, 2], [1])
        second = held.change()
        assert (second.version, second.added, second.outdated) == (1, (3,), (1,))
        held.stored(second)
        assert (held.change().added, held.change().outdated, held.ours) == ((), (), True)

    def test_what_is_met_meanwhile_is_joined(self) -> None:
        ours, theirs = HeldSession(session(), Memories()), HeldSession(session(), Memories())
        theirs.session.answer(10, 11, 12, 13, NOW + 1)
        theirs.rekey([11], ())
        mine = ours.session
        ours.session.answer(20, 21, 22, 23, NOW + 2)
        ours.rekey([21], ())
        ours.busy = True
        ours.met(StoredSession("sess_1", 4, NOW + 1, theirs.change().state))
        assert ours.session is mine
        assert (mine.head, mine.answered(10), mine.answered(20)) == (21, True, True)
        change = ours.change()
        assert (change.version, change.added, change.outdated) == (4, (21,), ())
        assert set(unpacked(decode(change.state).keys)) == {11, 21}

    def test_what_is_newer_counts_where_nothing_is_new_here(self) -> None:
        ours, theirs = HeldSession(session(agent=1), Memories()), HeldSession(session(), Memories())
        ours.rekey([1], ())
        theirs.rekey([2], ())
        theirs.session.agent = 2
        ours.met(StoredSession("sess_1", 2, NOW, theirs.change().state))
        assert (ours.session.agent, list(unpacked(ours.keys)), ours.ours) == (2, [2], False)

    def test_an_answer_that_comes_late_changes_nothing(self) -> None:
        ours, theirs = HeldSession(session(), Memories()), HeldSession(session(), Memories())
        change = ours.change()
        ours.met(StoredSession("sess_1", 5, NOW, theirs.change().state))
        ours.stored(change)
        assert (ours.version, ours.ours) == (5, False)

    def test_keys_that_the_session_has_forgotten_go(self) -> None:
        held = HeldSession(session(last_reply=7), Memories())
        held.rekey(range(1, 2 * KEYS_KEPT + 1), ())
        assert len(unpacked(held.keys)) == 2 * KEYS_KEPT
        held.rekey([2 * KEYS_KEPT + 1], ())
        assert list(unpacked(held.keys)) == [7]

    def test_of_very_many_keys_the_store_has_those_registered_last(self) -> None:
        held = HeldSession(session(), Memories())
        held.rekey(range(1, KEYS_KEPT + 1), ())
        held.stored(held.change())
        held.rekey([8000, 8001], [2])
        change = held.change()
        assert (set(change.added), set(change.outdated)) == ({8000, 8001}, {1, 2})
        held.stored(change)
        held.rekey([8002], [1])
        change = held.change()
        assert (change.added, change.outdated) == ((8002,), (3,))

    def test_what_comes_and_goes_while_a_change_is_on_its_way_is_told_next(self) -> None:
        held = HeldSession(session(), Memories())
        held.rekey([1, 2], ())
        first = held.change()
        held.rekey([3], [1])
        held.stored(first)
        second = held.change()
        assert (second.added, second.outdated) == ((3,), (1,))

    def test_keys_that_end_and_begin_like_a_key_are_not_it(self) -> None:
        held = HeldSession(session(), Memories())
        whole = 0x0807060504030201
        held.rekey([0x0403020100000000, 0x0807060500000000 >> 32], ())
        held.rekey([whole], [whole])
        assert whole in unpacked(held.keys)
        held.rekey((), [whole])
        assert len(unpacked(held.keys)) == 2


class TestHabit:
    def test_news_is_what_the_store_has_not(self) -> None:
        asides = Asides()
        habit = HeldHabit(SCOPE, 77, asides)
        assert not habit.is_news
        asides.asked(SCOPE, 77)
        assert habit.is_news
        change = habit.change()
        assert (change.id, change.version) == ("habit_000000000000004d", 0)
        assert change.added == (habit_key(SCOPE, 77),)
        habit.stored(change)
        assert not habit.is_news
        asides.went_on(SCOPE, 77)
        assert habit.is_news
        assert (habit.change().version, habit.change().added) == (1, ())

    def test_instructions_that_serve_for_more_stay_so(self) -> None:
        here, there = Asides(), Asides()
        ours, theirs = HeldHabit(SCOPE, 77, here), HeldHabit(SCOPE, 77, there)
        there.asked(SCOPE, 77)
        alone = StoredSession(theirs.id, 1, NOW, theirs.change().state)
        ours.met(alone)
        assert here.known(SCOPE, 77)
        assert not ours.is_news
        here.went_on(SCOPE, 77)
        ours.met(alone)
        assert not here.known(SCOPE, 77)
        assert ours.is_news
        there.went_on(SCOPE, 77)
        theirs.met(StoredSession(ours.id, 2, NOW, ours.change().state))
        assert not there.known(SCOPE, 77)


def test_what_was_in_flight_in_a_process_that_died_has_failed() -> None:
    in_time, late = (session(pending=(1, 2), failed=(3,)) for _ in range(2))
    settle(in_time, NOW + IN_FLIGHT_SECONDS)
    assert (in_time.pending, in_time.failed) == ((1, 2), (3,))
    settle(late, NOW + IN_FLIGHT_SECONDS + 1)
    assert (late.pending, late.failed) == ((), (3, 1, 2))
