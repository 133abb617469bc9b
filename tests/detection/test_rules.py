"""Which rule of the ladder answers, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection import rules
from gateway_sessions.detection.rules import LADDER
from gateway_sessions.detection.settings import DetectionSettings, ExplicitSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user

LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."
GREETING = assistant("Hello, I am the assistant of this shop. What can I do for you today, please?")


def client(**options: Any) -> ChatClient:
    return Desk(explain=True).client(**options)


def rule(tag: SessionTag) -> str:
    """Return the name of the rule that answered."""
    return str(tag.explain[-1]["rule"])


def test_the_order_is_the_documented_one() -> None:
    table = (rules.__doc__ or "").split("=============  ")[2].strip().split("\n")
    documented = [line.split()[0] for line in table[1:]]
    names = [name for name, _ in LADDER]
    assert names == documented
    known = ["explicit", "reset", "repeat", "prefix", "anchor", "branch", "new"]
    assert [name for name in names if name in known] == known


class TestExplicit:
    def test_the_id_decides(self) -> None:
        talk = client(headers={"x-session-id": "1"})
        first, second = talk.ask("hi", "Hello!"), talk.send([user("something else")]).tag
        assert first.session_id == second.session_id
        assert (first.relation, first.source, first.confidence) == ("first", "explicit", 1.0)
        assert first.external_id == "1"
        assert rule(first) == rule(second) == "explicit"
        assert "x-session-id" in first.reason

    def test_another_id_is_another_session_on_any_history(self) -> None:
        talk = client(headers={"x-session-id": "1"})
        first = talk.ask("hi", "Hello!")
        talk.headers["x-session-id"] = "2"
        second = talk.ask("more")
        assert first.session_id != second.session_id
        assert second.external_id == "2"

    def test_the_id_can_not_be_guessed_or_taken_over_from_another_key(self) -> None:
        desk = Desk()
        mine = desk.client("a", headers={"x-session-id": "1"}).ask("hi")
        theirs = desk.client("b", headers={"x-session-id": mine.session_id}).ask("hi")
        assert len({mine.session_id, theirs.session_id, "sess_1"}) == 3

    def test_a_first_id_joins_the_session_whose_history_it_continues(self) -> None:
        talk = client()
        first = talk.ask("hi", "Hello!")
        talk.headers["x-session-id"] = "1"
        second = talk.ask("more")
        assert second.session_id == first.session_id
        assert (second.source, second.external_id) == ("explicit", "1")
        talk.history.clear()
        assert talk.ask("something else").session_id == first.session_id

    def test_a_session_begun_with_an_id_goes_on_without(self) -> None:
        talk = client(headers={"x-session-id": "1"})
        first = talk.ask("hi", "Hello!")
        talk.headers.clear()
        second = talk.ask("more")
        assert (second.session_id, second.source) == (first.session_id, "prefix")

    def test_of_two_nameless_sessions_with_that_history_it_joins_none(self) -> None:
        desk = Desk()
        talk = desk.client()
        known = {talk.ask("hi", "Hello!").session_id, desk.client().ask("hi", "Hello!").session_id}
        talk.headers["x-session-id"] = "1"
        assert talk.ask("more").session_id not in known

    def test_a_child_names_its_parent(self) -> None:
        desk = Desk()
        parent = desk.client(headers={"x-session-id": "main"}).ask("hi")
        headers = {"x-session-id": "child", "x-parent-session-id": "main"}
        child = desk.client(headers=headers).ask("a task")
        assert (child.relation, child.source) == ("subagent", "explicit")
        assert child.parent_session_id == child.root_session_id == parent.session_id
        headers = {"x-session-id": "grandchild", "x-parent-session-id": "child"}
        grandchild = desk.client(headers=headers).ask("a part of it")
        assert grandchild.parent_session_id == child.session_id
        assert grandchild.root_session_id == parent.session_id

    def test_a_parent_that_comes_later_has_the_id_the_child_named(self) -> None:
        desk = Desk()
        headers = {"x-session-id": "child", "x-parent-session-id": "main"}
        child = desk.client(headers=headers).ask("a task")
        parent = desk.client(headers={"x-session-id": "main"}).ask("hi")
        assert child.parent_session_id == parent.session_id

    def test_the_parent_is_the_session_that_an_id_joined(self) -> None:
        desk = Desk()
        talk = desk.client()
        first = talk.ask("hi", "Hello!")
        talk.headers["x-session-id"] = "main"
        talk.ask("more")
        headers = {"x-session-id": "child", "x-parent-session-id": "main"}
        assert desk.client(headers=headers).ask("a task").parent_session_id == first.session_id

    def test_a_child_does_not_join_the_history_it_was_given(self) -> None:
        desk = Desk()
        talk = desk.client()
        parent = talk.ask("hi", "Hello!")
        talk.headers.update({"x-session-id": "child", "x-parent-session-id": "main"})
        assert talk.ask("a task").session_id != parent.session_id

    def test_it_can_be_switched_off(self) -> None:
        desk = Desk(DetectionSettings(explicit=ExplicitSettings(enabled=False)))
        talk = desk.client(headers={"x-session-id": "1"})
        first = talk.ask("hi", "Hello!")
        assert (first.source, first.external_id) == ("new", None)
        talk.headers["x-session-id"] = "2"
        assert talk.ask("more").session_id == first.session_id

    def test_headers_of_the_users_own(self) -> None:
        desk = Desk(DetectionSettings(explicit=ExplicitSettings(headers=("X-Chat",))))
        first = desk.client(headers={"x-chat": "1"}).ask("hi")
        assert desk.client(headers={"x-chat": "1"}).ask("else").session_id == first.session_id
        assert first.external_id == "1"

    def test_an_unusable_id_is_as_none(self) -> None:
        talk = client(headers={"x-session-id": "x" * 257})
        first = talk.ask("hi", "Hello!")
        assert (first.source, first.external_id) == ("new", None)
        assert talk.ask("more").source == "prefix"


class TestReset:
    @pytest.mark.parametrize("kept", [True, False], ids=["history kept", "history wiped"])
    def test_a_phrase_begins_a_session(self, kept: bool) -> None:
        talk = client()
        first = talk.ask("hi", "Hello!")
        if not kept:
            talk.history.clear()
        reset = talk.ask("Start over! What is a monad?", LONG)
        assert reset.session_id != first.session_id
        assert (reset.relation, reset.source, rule(reset)) == ("reset", "new", "reset")
        assert "start over" in reset.reason
        assert talk.ask("and a functor?").session_id == reset.session_id

    def test_the_old_session_can_go_on(self) -> None:
        talk = client()
        first = talk.ask("hi", "Hello!")
        before = list(talk.history)
        talk.ask("Start over!", "Gladly.")
        talk.history = before
        assert talk.ask("rather not").session_id == first.session_id

    @pytest.mark.parametrize(
        "asked",
        [
            [user("How do I clear chat?")],
            [user("is that clear?")],
            [user("Explain it"), assistant("start over")],
        ],
    )
    def test_no_reset(self, asked: list[dict[str, Any]]) -> None:
        talk = client()
        first = talk.ask("Tell me about foxes and their dens in the woods.", LONG)
        assert talk.send([*talk.history, *asked]).tag.session_id == first.session_id

    def test_not_in_tool_results(self) -> None:
        talk = client()
        first = talk.ask("Read it.", tool_call("call_1", "read"))
        assert talk.ask(tool_result("call_1", "start over")).session_id == first.session_id

    def test_not_in_instructions_among_the_messages(self) -> None:
        talk = client()
        first = talk.ask("hi", "Hello!")
        reminder = {"role": "system", "content": "Start over if the user asks for it."}
        assert talk.ask([reminder, user("ok")]).session_id == first.session_id

    def test_in_the_newest_of_several_user_messages(self) -> None:
        talk = client()
        first = talk.ask("hi", "Hello!")
        talk.send([*talk.history, user("Are you there?")]).fail()
        reset = talk.send([*talk.history, user("Are you there?"), user("Start over!")]).tag
        assert reset.relation == "reset"
        assert reset.session_id != first.session_id

    def test_not_against_an_id_of_the_clients(self) -> None:
        talk = client(headers={"x-session-id": "1"})
        first = talk.ask("hi", "Hello!")
        assert talk.ask("Start over!").session_id == first.session_id

    @pytest.mark.parametrize("kept", [True, False], ids=["history kept", "history wiped"])
    def test_its_retry_after_a_failure_stays_with_it(self, kept: bool) -> None:
        talk = client()
        talk.ask("hi", "Hello!")
        asked = [*(talk.history if kept else []), user("Start over!")]
        reset = talk.send(asked)
        reset.fail()
        again = talk.send(asked)
        assert again.tag.session_id == reset.tag.session_id
        assert again.tag.relation == "retry"

    def test_its_retry_in_flight_stays_with_it(self) -> None:
        talk = client()
        talk.ask("hi", "Hello!")
        asked = [*talk.history, user("Start over!")]
        reset, again = talk.send(asked), talk.send(asked)
        assert again.tag.session_id == reset.tag.session_id

    def test_phrases_of_the_users_own(self) -> None:
        talk = Desk(DetectionSettings(reset_phrases=("von vorn",))).client()
        first = talk.ask("Hallo", "Guten Tag!")
        assert talk.ask("Start over!").session_id == first.session_id
        assert talk.ask("Von vorn, bitte!").relation == "reset"


class TestRepeat:
    def test_a_first_request_that_failed(self) -> None:
        talk = client()
        first = talk.send([user("hi")])
        first.fail()
        again = talk.send([user("hi")]).tag
        assert (again.session_id, again.relation) == (first.tag.session_id, "retry")
        assert (again.source, rule(again)) == ("prefix", "repeat")

    def test_a_first_request_that_was_answered_is_anybodys(self) -> None:
        desk = Desk()
        tags = [desk.client().ask("hi", "Hello!") for _ in range(3)]
        assert len({tag.session_id for tag in tags}) == 3
        assert {tag.relation for tag in tags} == {"first"}

    def test_a_first_request_in_flight_is_anybodys(self) -> None:
        desk = Desk()
        tags = [desk.client().send([user("hi")]).tag for _ in range(3)]
        assert len({tag.session_id for tag in tags}) == 3

    @pytest.mark.parametrize("outcome", ["in flight", "answered", "failed"])
    def test_a_library_that_says_it_tries_again(self, outcome: str) -> None:
        talk = client()
        first = talk.send([user("hi")])
        if outcome == "answered":
            first.answer("Hello!")
        elif outcome == "failed":
            first.fail()
        talk.headers["x-stainless-retry-count"] = "1"
        again = talk.send([user("hi")]).tag
        assert (again.session_id, again.relation) == (first.tag.session_id, "retry")
        talk.headers["x-stainless-retry-count"] = "0"
        if outcome == "answered":
            assert talk.send([user("hi")]).tag.session_id != first.tag.session_id

    @pytest.mark.parametrize("outcome", ["in flight", "failed"])
    def test_the_same_idempotency_key(self, outcome: str) -> None:
        desk = Desk()
        headers = {"idempotency-key": "key-1"}
        one, other = desk.client(headers=headers), desk.client(headers={"idempotency-key": "2"})
        first = one.send([user("hi")])
        if outcome == "failed":
            first.fail()
        again = one.send([user("hi")]).tag
        assert (again.session_id, again.relation) == (first.tag.session_id, "retry")
        if outcome == "in flight":
            assert other.send([user("hi")]).tag.session_id != first.tag.session_id

    def test_an_idempotency_key_of_another_tenant(self) -> None:
        desk = Desk()
        headers = {"idempotency-key": "key-1"}
        sent = [desk.client(key, headers=headers).send([user("hi")]) for key in ("a", "b")]
        assert sent[0].tag.session_id != sent[1].tag.session_id

    @pytest.mark.parametrize("outcome", ["answered", "in flight"])
    def test_a_greeting_before_the_first_words_is_no_history(self, outcome: str) -> None:
        # A matching prefix must include a user turn: the app greets everybody alike.
        desk = Desk()
        one, other = desk.client(), desk.client()
        first = one.send([GREETING, user("hi")])
        if outcome == "answered":
            first.answer("Hello!")
        second = other.send([GREETING, user("hi")]).tag
        assert second.session_id != first.tag.session_id
        assert second.relation == "first"

    def test_whoever_failed_is_the_one_who_tries_again(self) -> None:
        desk = Desk()
        one, other = desk.client(), desk.client()
        waiting, failing = one.send([user("hi")]), other.send([user("hi")])
        failing.fail()
        assert other.send([user("hi")]).tag.session_id == failing.tag.session_id
        assert waiting.tag.session_id != failing.tag.session_id

    def test_of_a_failed_and_a_running_request_the_failed_one_is_tried_again(self) -> None:
        desk = Desk()
        one, other = desk.client(), desk.client()
        one.send([user("hi")])
        failed = other.send([user("hi")])
        failed.fail()
        other.headers["x-stainless-retry-count"] = "1"
        assert other.send([user("hi")]).tag.session_id == failed.tag.session_id

    def test_a_failed_request_is_known_without_the_id_it_was_sent_with(self) -> None:
        talk = client(headers={"x-session-id": "1"})
        first = talk.ask("hi", "Hello!")
        talk.send([user("something else")]).fail()
        talk.headers.clear()
        again = talk.send([user("something else")]).tag
        assert (again.session_id, again.relation) == (first.session_id, "retry")
