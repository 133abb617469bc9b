"""Verdicts in words: what decided, what was asked before, and among whom it was chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_sessions.cli.verdict_lines import _SILENCE, NO_SESSION, explained, plain, told
from gateway_sessions.detection.rules import LADDER
from gateway_sessions.exchange import SessionTag
from gateway_sessions.replay import LoggedVerdict

STEPS: tuple[dict[str, Any], ...] = (
    {"rule": "explicit", "answers": False, "because": ""},
    {
        "rule": "prefix",
        "answers": False,
        "because": "two sessions know it",
        "candidates": [
            {"session_id": "sess_a", "score": 0.9312345, "same_client": True},
            {"session": "sess_b", "score": 1, "same_client": False},
            "sess_c",
        ],
    },
    {"rule": "of_tomorrow", "answers": False, "because": ""},
    {"rule": "anchor", "answers": True, "because": "a tool call", "needed_characters": 60},
)


def verdict(**more: Any) -> LoggedVerdict:
    fields: dict[str, Any] = {
        "session_id": "sess_a",
        "relation": "continue",
        "source": "anchor",
        "confidence": 0.95,
        "root_session_id": "sess_a",
        "reason": "a tool call",
        "explain": STEPS,
    }
    return LoggedVerdict("r1", SessionTag(**(fields | more)))


def lines(given: LoggedVerdict) -> list[str]:
    return told(given).decode().splitlines()


def test_a_verdict_is_told_with_what_each_rule_said() -> None:
    assert lines(verdict()) == [
        "r1  sess_a  continue (by anchor, confidence 0.95)",
        "    decided by the rule anchor: a tool call",
        "        needed characters: 60",
        "    asked before it:",
        "      explicit     the client names no session",
        "      prefix       two sessions know it",
        "        candidate sess_a: score 0.931234, same client yes",
        "        candidate sess_b: score 1, same client no",
        "        candidate sess_c",
        "      of_tomorrow  does not apply",
    ]


def test_relatives_are_named() -> None:
    (first, *_) = lines(verdict(parent_session_id="sess_p", previous_session_id="sess_o"))
    assert first == (
        "r1  sess_a  continue, child of sess_p, goes on from sess_o (by anchor, confidence 0.95)"
    )


def test_a_verdict_without_steps_still_says_what_decided() -> None:
    assert lines(verdict(explain=()))[1:] == ["    decided by anchor: a tool call"]


def test_the_first_rule_has_none_before_it() -> None:
    step = {"rule": "explicit", "answers": True, "because": "named"}
    assert len(lines(verdict(explain=(step,)))) == 2


def test_no_session_is_a_line() -> None:
    assert lines(LoggedVerdict("r1", None)) == [f"r1  {NO_SESSION}"]


def test_nobody_can_forge_a_line() -> None:
    hostile = verdict(reason="x\n    decided by me", session_id="a\x1b[31m")
    assert len(lines(hostile)) == len(lines(verdict()))
    assert "\x1b" not in told(hostile).decode()


def test_lone_surrogates_can_be_written() -> None:
    assert b"\\ud800" in told(LoggedVerdict("r\ud800", None))


@pytest.mark.parametrize("rule", [rule.name for rule in LADDER if rule.name != "new"])
def test_every_rule_has_words_for_its_silence(rule: str) -> None:
    assert _SILENCE[rule]


def test_no_words_are_left_of_rules_that_are_gone() -> None:
    assert set(_SILENCE) <= {rule.name for rule in LADDER}


def test_programs_get_json() -> None:
    assert json.loads(plain(verdict())) == {
        "request_id": "r1",
        "session_id": "sess_a",
        "parent_session_id": None,
        "source": "anchor",
        "relation": "continue",
        "confidence": 0.95,
    }
    assert json.loads(explained(verdict()))["explain"][1]["candidates"][0]["score"] == 0.9312345
    assert json.loads(explained(LoggedVerdict("r1", None)))["reason"] == NO_SESSION
    assert json.loads(plain(LoggedVerdict("r1", None)))["session_id"] is None
