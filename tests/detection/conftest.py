"""A fixture that places every request both ways."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway_sessions.detection.detector import Detector
from gateway_sessions.detection.facts import facts_of
from gateway_sessions.detection.plan import Plan
from gateway_sessions.detection.rules import LADDER, answering
from gateway_sessions.detection.verdict import Verdict
from gateway_sessions.detection.view import View


@pytest.fixture
def both_ways(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Climb the whole ladder for every request, and hold both short cuts to what it says.

    Return how many requests went straight.
    """
    went: Counter[str] = Counter()
    short_cut = Detector._straight

    def straight(self: Detector, plan: Plan, view: View, now: float) -> Verdict | None:
        found = short_cut(self, plan, view, now)
        ask = self.ask(plan, view, now)
        allowed = answering(facts_of(ask))
        climbed = next((rule, said) for rule in LADDER if (said := rule.answer(ask)) is not None)
        assert climbed[0].answer in allowed
        if found is not None:
            went["straight"] += 1
            assert found == climbed[1]
            assert found.session is climbed[1].session
        return found

    monkeypatch.setattr(Detector, "_straight", straight)
    return went
