"""Why a session is new."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.testing import ChatClient, Desk, Sent, assistant, tool_result, user

STEAM = [
    ("Explain how a steam engine works.", "Boiling water makes steam, which pushes a piston."),
    ("Who built the first useful engine?", "Thomas Newcomen, to pump water out of mines."),
]
PASTRY = "Give me a recipe for strawberry pancakes without buttermilk."
INVENTED = [user("a"), assistant("b")]


def told(desk: Desk, **options: Any) -> ChatClient:
    talk = desk.client(**options)
    for prompt, reply in STEAM:
        talk.ask(prompt, reply)
    return talk


def why(sent: Sent) -> str:
    verdict = sent.tracked.verdict
    assert (verdict.relation, verdict.source) == ("first", "new")
    return verdict.new


class TestNothingBefore:
    def test_the_first_request_of_all(self) -> None:
        assert why(Desk().client().send([user("hi")])) == "first_request"

    def test_an_unknown_history(self) -> None:
        assert why(Desk().client().send([*INVENTED, user("c")])) == "no_match"

    @pytest.mark.parametrize(
        "other",
        [{"key": "other"}, {"ip": "198.51.100.1"}, {"headers": {"user-agent": "other/1"}}],
        ids=["scope", "address", "program"],
    )
    def test_another_client(self, other: dict[str, Any]) -> None:
        desk = Desk()
        told(desk)
        assert why(desk.client(**other).send([user(PASTRY)])) == "first_request"

    def test_sessions_that_have_expired(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        told(desk)
        desk.clock.advance(61)
        assert why(desk.client().send([user(PASTRY)])) == "first_request"

    def test_what_goes_on_from_an_expired_session(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        talk = told(desk)
        desk.clock.advance(61)
        other = desk.client()
        other.ask("hi", "Hello!")
        assert why(talk.send([*talk.history, user("more")])) == "expired"


class TestCountDrop:
    @pytest.mark.parametrize("messages", [1, 2])
    def test_a_short_history_beside_a_longer_session(self, messages: int) -> None:
        desk = Desk(explain=True)
        told(desk)
        sent = desk.client(system="Be brief." if messages == 2 else None).send([user(PASTRY)])
        assert why(sent) == "count_drop"
        assert sent.tag.reason == (
            f"its history is short ({messages}), and its client has a live session that is"
            " longer (4)"
        )
        (step,) = [step for step in sent.tag.explain if step["rule"] == "new"]
        assert step["candidates"] == [{"session_id": "sess_1", "messages": 4}]

    def test_it_merges_nothing(self) -> None:
        desk = Desk()
        talk = told(desk)
        new = desk.client().ask(PASTRY, "Mix flour and milk.")
        later = talk.ask("And after him?")
        assert new.session_id != later.session_id
        assert later.relation == "continue"

    def test_a_longer_history_is_none(self) -> None:
        desk = Desk()
        told(desk)
        assert why(desk.client().send([*INVENTED, tool_result("x", "c")])) == "no_match"

    def test_a_session_that_is_no_longer_is_none(self) -> None:
        desk = Desk()
        desk.client().send([user("hi")])
        assert why(desk.client().send([user("hi")])) == "first_request"

    @pytest.mark.parametrize(
        ("least", "reason"),
        [(0, "first_request"), (1, "first_request"), (2, "count_drop"), (9, "count_drop")],
    )
    def test_how_short_is_a_setting(self, least: int, reason: str) -> None:
        desk = Desk(DetectionSettings(min_messages_for_new_session=least))
        told(desk)
        steam = "Explain the steam engine that pushes a piston."
        assert why(desk.client().send([user(steam)])) == reason


class TestContextBreak:
    def desk(self) -> Desk:
        desk = Desk(DetectionSettings(min_messages_for_new_session=0), explain=True)
        told(desk)
        return desk

    def test_something_else_than_the_only_live_session(self) -> None:
        sent = self.desk().client().send([user(PASTRY)])
        assert why(sent) == "context_break"
        (step,) = [step for step in sent.tag.explain if step["rule"] == "new"]
        assert step["candidates"] == [{"session_id": "sess_1", "same_topic": 0.0}]

    def test_with_a_history_as_well(self) -> None:
        sent = self.desk().client().send([*INVENTED, user(PASTRY)])
        assert why(sent) == "context_break"

    @pytest.mark.parametrize(
        "same", ["Was the engine that Newcomen built for water useful?", "STEAM engines: explain!"]
    )
    def test_the_same_topic(self, same: str) -> None:
        assert why(self.desk().client().send([user(same)])) == "first_request"

    @pytest.mark.parametrize("short", ["hi", "yes, do it", "你好", ""])
    def test_too_few_words_to_tell(self, short: str) -> None:
        assert why(self.desk().client().send([user(short)])) == "first_request"

    def test_two_live_sessions(self) -> None:
        desk = self.desk()
        told(desk)
        assert why(desk.client().send([user(PASTRY)])) == "first_request"

    def test_a_session_that_has_said_nothing_yet(self) -> None:
        desk = Desk(DetectionSettings(min_messages_for_new_session=0))
        desk.client().send([user(STEAM[0][0])])
        assert why(desk.client().send([user(PASTRY)])) == "first_request"
