"""Who pays when room is short: oneself, then whoever has most over the quota, then anybody."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gateway_sessions.detection.quota import SCOPE_SHARE, Quota

LOUD, QUIET, THIRD = 1, 2, 3


def quota(room: int = 40, **held: int) -> Quota:
    made = Quota(room)
    for scope, amount in ((LOUD, "loud"), (QUIET, "quiet"), (THIRD, "third")):
        if amount in held:
            made.add(scope, held[amount])
    return made


def test_who_has_the_quota_pays_alone() -> None:
    assert quota(loud=10).payer(LOUD) == LOUD
    assert quota(loud=25, quiet=12).payer(QUIET) == QUIET


def test_who_has_less_is_paid_for_by_who_has_more() -> None:
    assert quota(loud=11, quiet=9).payer(QUIET) == LOUD
    assert quota(loud=11).payer(QUIET) == LOUD


def test_who_has_most_pays_first() -> None:
    made = quota(loud=11, third=12)
    assert made.payer(QUIET) == THIRD
    made.remove(THIRD)
    made.add(LOUD)
    assert made.payer(QUIET) == LOUD


@pytest.mark.parametrize("held", [{}, {"loud": 10, "quiet": 9, "third": 10}])
def test_nobody_in_particular_pays_if_nobody_has_more(held: dict[str, int]) -> None:
    assert quota(**held).payer(QUIET) is None


def test_who_is_within_the_quota_again_does_not_pay() -> None:
    made = quota(loud=11)
    made.remove(LOUD)
    assert made.payer(QUIET) is None


def test_everybody_has_a_quota_however_small_the_room() -> None:
    made = quota(1)
    assert made.payer(LOUD) is None
    made.add(LOUD)
    assert made.payer(LOUD) == LOUD


def test_what_is_cleared_is_forgotten() -> None:
    made = quota(loud=25, quiet=10)
    made.clear()
    assert made.payer(QUIET) is None


def test_it_agrees_with_a_plain_count() -> None:
    rng, room = random.Random(1), 23
    made, held = Quota(room), Counter[int]()
    for _ in range(5000):
        scope = min(rng.randrange(9), rng.randrange(9))
        if held.total() == room:
            payer = made.payer(scope)
            most = max(held.values())
            if held[scope] >= room // SCOPE_SHARE:
                assert payer == scope
            elif most > room // SCOPE_SHARE:
                assert payer is not None
                assert held[payer] == most
            else:
                assert payer is None
            gone = rng.choice(sorted(held.elements())) if payer is None else payer
            made.remove(gone)
            held[gone] -= 1
            held += Counter()
        made.add(scope)
        held[scope] += 1
