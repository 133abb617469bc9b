"""Which instructions serve for side calls alone."""

from __future__ import annotations

from gateway_sessions.detection.asides import Asides

SCOPE, ELSEWHERE = 0x5EED, 0xF00D


def test_what_came_with_a_side_call_is_known() -> None:
    asides = Asides()
    assert not asides.known(SCOPE, 1)
    asides.asked(SCOPE, 1)
    assert asides.known(SCOPE, 1)
    assert not asides.known(SCOPE, 2)
    assert not asides.known(ELSEWHERE, 1)


def test_not_once_a_conversation_went_on_under_them() -> None:
    asides = Asides()
    asides.asked(SCOPE, 1)
    asides.went_on(SCOPE, 1)
    asides.asked(SCOPE, 1)
    assert not asides.known(SCOPE, 1)


def test_conversations_are_not_remembered() -> None:
    asides = Asides(kept=1)
    asides.asked(SCOPE, 1)
    for agent in range(2, 5):
        asides.went_on(SCOPE, agent)
    assert asides.known(SCOPE, 1)


def test_no_more_than_allowed() -> None:
    asides = Asides(kept=2)
    for agent in (1, 2, 2, 3):
        asides.asked(SCOPE, agent)
    assert [asides.known(SCOPE, agent) for agent in (1, 2, 3)] == [False, True, True]


def test_what_others_tell_of() -> None:
    asides = Asides()
    assert asides.of(SCOPE, 1) is None
    asides.put(SCOPE, 1, alone=True)
    assert asides.of(SCOPE, 1) is True
    asides.put(SCOPE, 1, alone=False)
    asides.put(SCOPE, 1, alone=True)
    assert asides.of(SCOPE, 1) is False
