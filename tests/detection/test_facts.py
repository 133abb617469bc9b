from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection.ask import Ask
from gateway_sessions.detection.detector import Detector, Sender
from gateway_sessions.detection.facts import (
    CALLS,
    FIELDS,
    HISTORY,
    NAMED,
    SUMMARIES,
    facts_of,
)
from gateway_sessions.detection.rules import LADDER, answering
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.testing import Desk, assistant, tool_call, user
from tests.detection.talk import chat

NOW = 1_700_000_000.0
TASK = "Look for the needle in the haystack over there, and do not come back without it."


def ask(*messages: Any, headers: dict[str, str] | None = None, **fields: Any) -> Ask:
    detector = Detector(DetectionSettings(), b"0123456789abcdef", lambda: "sess_1")
    plan = detector.plan(chat(*messages, **fields), Sender(headers or {}, "/"))
    return detector.ask(plan, MemoryIndex(10, 10.0), NOW)


def test_a_first_prompt_has_none() -> None:
    assert facts_of(ask(user("hi"))) == 0
    assert facts_of(ask({"role": "system", "content": "Be kind."}, user("hi"))) == 0


@pytest.mark.parametrize(
    "messages",
    [
        [user("hi"), assistant("Hello!"), user("more")],
        [user("hi"), assistant("Well,")],
        [assistant("Hello!"), user("hi")],
        [user("hi"), user("more")],
        [user("")],
        [{"role": "system", "content": "Be kind."}],
    ],
)
def test_whatever_is_more_or_less_than_one_prompt_may_have_a_history(messages: list[Any]) -> None:
    assert facts_of(ask(*messages)) == HISTORY


def test_names() -> None:
    assert facts_of(ask(user("hi"), headers={"x-session-id": "1"})) == NAMED
    assert facts_of(ask(user("hi"), metadata={"topic": "cats"})) == FIELDS
    assert facts_of(ask(user("hi"), metadata={"session_id": "1"})) == NAMED | FIELDS


def test_what_others_have_been_told_in_the_same_scope() -> None:
    desk = Desk()
    desk.client().ask("Find it.", tool_call("call_1", "agent", {"task": TASK}))
    assert facts_in(desk) == CALLS
    desk.client().ask("Summarise all of this, please.", "All that was said so far, in few words.")
    assert facts_in(desk) == CALLS | SUMMARIES
    assert facts_in(desk, key="another") == 0


def facts_in(desk: Desk, key: str = "key") -> int:
    tracker = desk.tracker
    sent = desk.client(key).send([user("hi")])
    sent.fail()
    return facts_of(tracker._detector.ask(sent.tracked.plan, tracker.index, desk.clock()))


def test_rules_are_asked_in_order_where_what_they_need_is_there() -> None:
    everything = NAMED | FIELDS | HISTORY | CALLS | SUMMARIES
    assert answering(everything) == tuple(rule.answer for rule in LADDER)
    assert [rule.__name__ for rule in answering(0)] == ["reset", "repeat", "side_call", "new"]
