from __future__ import annotations

import pytest

from gateway_sessions.detection.asides import Asides
from gateway_sessions.index.habits import Habits
from gateway_sessions.index.held import HeldHabit
from gateway_sessions.index.store import StoredSession

SCOPE, AGENT, NOW = 0x5EED, 0xA6E27, 1_700_000_000.0


@pytest.fixture
def asides() -> Asides:
    return Asides()


def stored(habit: HeldHabit, version: int) -> StoredSession:
    """Return what the store holds after a process has stored what it knows."""
    return StoredSession(habit.id, version, NOW, habit.change().state)


def test_instructions_that_nobody_has_judged_are_not_stored(asides: Asides) -> None:
    assert Habits(asides).news(SCOPE, AGENT, NOW) is None


def test_what_is_new_is_to_be_stored_until_it_was(asides: Asides) -> None:
    habits = Habits(asides)
    asides.asked(SCOPE, AGENT)
    habit = habits.news(SCOPE, AGENT, NOW)
    assert habit is not None
    assert habit is habits.of(SCOPE, AGENT)
    assert (habit.used, habits.news(SCOPE, AGENT, NOW + 1)) == (NOW, habit)
    habit.stored(habit.change())
    assert habits.news(SCOPE, AGENT, NOW + 2) is None
    asides.went_on(SCOPE, AGENT)
    assert habits.news(SCOPE, AGENT, NOW + 3) is habit


def test_what_another_process_stored_is_learned_once(asides: Asides) -> None:
    theirs = Asides()
    theirs.asked(SCOPE, AGENT)
    other = Habits(theirs).news(SCOPE, AGENT, NOW)
    assert other is not None
    habits = Habits(asides)
    habits.learn(SCOPE, AGENT, stored(other, 3))
    known = habits.of(SCOPE, AGENT)
    assert known is not None
    assert (known.version, asides.of(SCOPE, AGENT), habits.news(SCOPE, AGENT, NOW)) == (
        3,
        True,
        None,
    )
    theirs.went_on(SCOPE, AGENT)
    habits.learn(SCOPE, AGENT, stored(other, 2))
    assert (known.version, asides.of(SCOPE, AGENT)) == (3, True)
    habits.learn(SCOPE, AGENT, stored(other, 4))
    assert (known.version, asides.of(SCOPE, AGENT)) == (4, False)


def test_what_is_said_of_other_instructions_is_not_learned(asides: Asides) -> None:
    theirs = Asides()
    theirs.asked(SCOPE, AGENT + 1)
    other = Habits(theirs).news(SCOPE, AGENT + 1, NOW)
    assert other is not None
    Habits(asides).learn(SCOPE, AGENT, stored(other, 3))
    assert asides.of(SCOPE, AGENT) is None


def test_the_versions_of_a_few_are_kept(asides: Asides) -> None:
    habits = Habits(asides, kept=2)
    for agent in (1, 2, 3):
        asides.asked(SCOPE, agent)
        assert habits.news(SCOPE, agent, NOW) is not None
    assert [habits.of(SCOPE, agent) is not None for agent in (1, 2, 3)] == [False, True, True]
