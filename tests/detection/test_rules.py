"""Which rule of the ladder answers, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.conversation import ASSISTANT, Message, Reply, Text
from gateway_sessions.detection import rules
from gateway_sessions.detection.rules import LADDER
from gateway_sessions.detection.settings import DetectionSettings, ExplicitSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user

LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."
OTHER = "Foxes are small to medium-sized omnivorous mammals belonging to several genera."
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


class TestPrefix:
    def test_the_history_decides(self) -> None:
        talk = client()
        first, second = talk.ask("hi", "Hello!"), talk.ask("more")
        assert second.session_id == first.session_id
        assert (second.source, second.confidence, rule(second)) == ("prefix", 1.0, "prefix")

    def test_a_prefill_at_a_later_turn(self) -> None:
        talk = client(dialect="anthropic")
        first = talk.ask("hi", "Hello!")
        sent = talk.send([*talk.history, user("a haiku?"), assistant("Old pond")])
        assert (sent.tag.session_id, sent.tag.relation) == (first.session_id, "continue")
        sent.answer(" — a frog leaps in.")
        whole = assistant("Old pond — a frog leaps in.")
        later = talk.send([*talk.history, user("a haiku?"), whole, user("more")]).tag
        assert (later.session_id, later.relation) == (first.session_id, "continue")

    def test_a_broken_answer_may_be_continued_from_where_it_broke(self) -> None:
        desk = Desk()
        talk = desk.client()
        sent = talk.send([user("Tell me")])
        said = Reply((Message(ASSISTANT, (Text("Once upon a"),)),), complete=False)
        desk.tracker.failed(sent.tracked, said, desk.clock())
        later = talk.send([user("Tell me"), assistant("Once upon a"), user("go on")]).tag
        assert (later.session_id, later.relation) == (sent.tag.session_id, "continue")


class TestAnchor:
    def test_an_old_prompt_rewritten(self) -> None:
        talk = client()
        first = talk.ask("Tell me about foxes.", LONG)
        talk.history[0] = user("Tell me (as an expert) about foxes.")
        second = talk.ask("And dogs?", "Dogs bark.")
        assert (second.session_id, second.source) == (first.session_id, "anchor")
        assert rule(second) == "anchor"
        third = talk.ask("And cats?")
        assert (third.session_id, third.source) == (first.session_id, "prefix")

    def test_a_window_of_no_more_than_our_own_answer(self) -> None:
        talk = client()
        first = talk.ask("Tell me about foxes.", LONG)
        second = talk.send([assistant(LONG), user("And dogs?")]).tag
        assert (second.session_id, second.source) == (first.session_id, "anchor")

    def test_tool_results_cleared(self) -> None:
        talk = client()
        first = talk.ask("Weather?", tool_call("call_1", "weather"))
        talk.ask(tool_result("call_1", "rain " * 50), "It rains.")
        talk.history[2] = tool_result("call_1", "[cleared]")
        second = talk.ask("And tomorrow?")
        assert (second.session_id, second.source) == (first.session_id, "anchor")

    def test_the_id_of_a_tool_call_is_enough(self) -> None:
        talk = client()
        first = talk.ask("Weather in Ulm?", tool_call("call_abc", "weather"))
        history = [user("Weather in Bonn?"), tool_call("call_abc", "weather"),
                   tool_result("call_abc", "rain")]  # fmt: skip
        assert talk.send(history).tag.session_id == first.session_id

    @pytest.mark.parametrize("number", [0, 1])
    def test_of_equal_calls_the_id_tells(self, number: int) -> None:
        desk = Desk()
        tags = [
            desk.client().ask(f"Weather {n}?", tool_call(f"call_{n}", "weather")) for n in range(2)
        ]
        called = tool_call(f"call_{number}", "weather")
        history = [user("Weather!"), called, tool_result(f"call_{number}", "rain")]
        tag = desk.client().send(history).tag
        assert tag.session_id == tags[number].session_id
        assert tag.confidence > 0.9

    def test_another_request_on_the_rewritten_history(self) -> None:
        talk = client()
        first = talk.ask("Tell me about foxes.", LONG)
        talk.history[0] = user("Tell me (as an expert) about foxes.")
        tags = [talk.send([*talk.history, user(text)]).tag for text in ("And dogs?", "And cats?")]
        assert {tag.session_id for tag in tags} == {first.session_id}
        assert [tag.source for tag in tags] == ["anchor", "prefix"]

    def test_a_short_answer_after_which_two_sessions_wait_is_not_enough(self) -> None:
        desk = Desk(explain=True)
        one, other = desk.client(), desk.client()
        known = {
            one.ask("Tell me.", "Fine.").session_id,
            other.ask("Is 4 even?", "Yes.").session_id,
        }
        one.ask("Is 2 even?", "Yes.")
        one.history[0] = user("Tell me now.")
        tag = one.send([*one.history, user("more")]).tag
        assert tag.session_id not in known
        notes = {step["rule"]: step["because"] for step in tag.explain}
        assert "too short" in notes["anchor"]

    def test_the_id_of_a_tool_call_in_another_scope_is_nothing(self) -> None:
        desk = Desk()
        first = desk.client("a").ask("Weather?", tool_call("call_abc", "weather"))
        history = [user("Weather?!"), tool_call("call_abc", "weather"),
                   tool_result("call_abc", "rain")]  # fmt: skip
        assert desk.client("b").send(history).tag.session_id != first.session_id

    def test_a_short_answer_that_two_sessions_gave_is_not(self) -> None:
        desk = Desk()
        known = {desk.client().ask(f"Is {n} even?", "Yes.").session_id for n in (2, 4)}
        history = [user("Is Ulm in Germany?"), assistant("Yes."), user("Where?")]
        tag = desk.client().send(history).tag
        assert tag.session_id not in known
        assert tag.source == "new"

    def test_an_equal_long_answer_of_two_sessions_is_a_toss_up(self) -> None:
        desk = Desk()
        known = {desk.client().ask(f"Foxes{n}?", LONG).session_id for n in (1, 2)}
        sent = desk.client().send([user("Foxes?"), assistant(LONG), user("Go on.")])
        assert sent.tag.session_id in known
        assert sent.tracked.verdict.ambiguous
        assert sent.tag.confidence <= 0.5


class TestBranch:
    def test_an_answer_rewritten_by_the_client(self) -> None:
        talk = client()
        first = talk.ask("Tell me about foxes.", LONG)
        talk.ask("And dogs?", "Dogs bark.")
        talk.history[-1] = assistant("Dogs bark, as everybody knows.")
        second = talk.ask("And cats?")
        assert second.session_id == first.session_id
        assert second.source in {"prefix", "anchor"}

    def test_a_common_short_beginning_is_not_enough(self) -> None:
        desk = Desk(explain=True)
        first = desk.client().ask("hi", "Hello!")
        history = [user("hi"), assistant("Hello!"), user("a"), assistant("b"), user("c")]
        tag = desk.client().send(history).tag
        assert tag.session_id != first.session_id
        notes = {step["rule"]: step["because"] for step in tag.explain}
        assert "too short" in notes["branch"]

    def test_a_failed_first_request_with_more_words(self) -> None:
        talk = client()
        first = talk.send([user("Are you there?")])
        first.fail()
        second = talk.send([user("Are you there?"), user("Hello?")]).tag
        assert (second.session_id, rule(second)) == (first.tag.session_id, "branch")

    def test_an_answered_first_request_with_more_words_is_anybodys(self) -> None:
        desk = Desk()
        first = desk.client().ask("Are you there?", "Yes.")
        second = desk.client().send([user("Are you there?"), user("Hello?")]).tag
        assert second.session_id != first.session_id


class TestNew:
    @pytest.mark.parametrize(
        ("history", "reason"),
        [([], "first_request"), ([user("a"), assistant("b")], "no_match")],
    )
    def test_the_reason(self, history: list[dict[str, Any]], reason: str) -> None:
        sent = client().send([*history, user("hi")])
        assert sent.tracked.verdict.new == reason
        assert (sent.tag.relation, sent.tag.source) == ("first", "new")

    def test_expired(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        talk = desk.client()
        first = talk.ask("hi", "Hello!")
        desk.clock.advance(61)
        sent = talk.send([*talk.history, user("more")])
        assert sent.tracked.verdict.new == "expired"
        assert sent.tag.previous_session_id == first.session_id

    def test_a_known_history_has_no_reason_to_be_new(self) -> None:
        talk = client()
        talk.ask("hi", "Hello!")
        assert talk.send([*talk.history, user("more")]).tracked.verdict.new == ""

    def test_a_new_session_is_its_own_root(self) -> None:
        tag = client().ask("hi")
        assert tag.root_session_id == tag.session_id
        assert tag.parent_session_id is None


@pytest.mark.parametrize(
    "changed",
    [
        {"system": "It is 10:01. Be brief."},
        {"ip": "198.51.100.1"},
        {"fields": {"temperature": 0.5, "stream": True}},
        {"fields": {"tools": [{"type": "function", "function": {"name": "f"}}]}},
        {"fields": {"metadata": {"trace": "x"}}},
    ],
    ids=["system", "address", "parameters", "tools", "metadata"],
)
def test_what_is_no_link_of_the_chain(changed: dict[str, Any]) -> None:
    talk = client(system="It is 10:00. Be brief.")
    first = talk.ask("hi", "Hello!")
    for name, value in changed.items():
        setattr(talk, name, value)
    second = talk.ask("more")
    assert (second.session_id, second.source) == (first.session_id, "prefix")


def test_ten_texts_that_only_resemble_each_other() -> None:
    desk = Desk()
    opening = [
        desk.client().ask(f"Write an essay about {n} foxes. {OTHER}", LONG) for n in range(10)
    ]
    assert len({tag.session_id for tag in opening}) == 10
