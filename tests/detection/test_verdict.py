from __future__ import annotations

import pytest

from gateway_sessions.detection.session import Session
from gateway_sessions.detection.verdict import RELATIONS, SOURCES, Verdict


def test_the_words_are_those_of_the_vocabulary() -> None:
    assert set(RELATIONS) == {
        "first", "continue", "retry", "regenerate", "fork",
        "compaction", "subagent", "side_call", "reset",
    }  # fmt: skip
    assert set(SOURCES) == {
        "explicit", "response_id", "prefix", "anchor", "fuzzy", "echo", "new",
    }  # fmt: skip


def test_a_verdict_is_final() -> None:
    session = Session(id="sess_1", scope=1, started=0.0, used=0.0)
    verdict = Verdict(session, "first", "new", 0.9, "a first request")
    with pytest.raises(AttributeError):
        verdict.confidence = 1.0  # type: ignore[misc]
    assert (verdict.new, verdict.ambiguous, verdict.previous_session_id) == ("", False, None)
