"""Which rule of the ladder answers, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection import rules
from gateway_sessions.detection.rules import LADDER
from gateway_sessions.detection.settings import DetectionSettings, ExplicitSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user
from tests.detection.responding import Responder, output

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
    names = [rule.name for rule in LADDER]
    assert names == documented
    assert names == [
        "explicit", "response_id", "reset", "repeat", "subagent", "prefix", "anchor", "branch",
        "fuzzy", "compaction", "side_call", "new",
    ]  # fmt: skip


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

    @pytest.mark.parametrize("asked", ["more", "less"], ids=["again", "something else"])
    def test_a_first_id_that_goes_back_in_a_history_begins_a_session(self, asked: str) -> None:
        talk = client()
        first = talk.ask("hi", "Hello!")
        talk.ask("more")
        talk.headers["x-session-id"] = "1"
        assert talk.send([*talk.history[:2], user(asked)]).tag.session_id != first.session_id

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

    def test_a_client_says_that_it_has_compacted_its_history(self) -> None:
        talk = client(headers={"x-claude-code-session-id": "1"}, dialect="anthropic")
        first = talk.ask("hi", "Hello!")
        talk.history = [user("What was said so far, in a few words."), assistant("I see.")]
        talk.headers["x-claude-code-context-compacted"] = "true"
        tag = talk.ask("Go on.")
        assert (tag.session_id, tag.relation) == (first.session_id, "compaction")

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


class TestResponseId:
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_chain_of_replies(self, stream: bool) -> None:
        talk = Responder(Desk(explain=True), stream=stream)
        first = talk.ask("hi", "resp_1", "Hello!")
        second = talk.ask("more", "resp_2", previous_response_id="resp_1")
        third = talk.ask("and more", "resp_3", previous_response_id="resp_2")
        assert first.session_id == second.session_id == third.session_id
        assert [tag.relation for tag in (first, second, third)] == ["first", "continue", "continue"]
        assert (second.source, second.confidence, rule(second)) == (
            "response_id",
            1.0,
            "response_id",
        )

    def test_equal_words_are_told_apart(self) -> None:
        desk = Desk()
        talks = [Responder(desk) for _ in range(3)]
        first = [talk.ask("hi", f"resp_{n}", "Hello!") for n, talk in enumerate(talks)]
        assert len({tag.session_id for tag in first}) == 3
        for number in (2, 0, 1):
            named = f"resp_{number}"
            tag = talks[number].ask("more", f"{named}x", previous_response_id=named)
            assert tag.session_id == first[number].session_id

    def test_an_earlier_reply_is_a_fork(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", "Hello!")
        talk.ask("more", "resp_2", previous_response_id="resp_1")
        talk.ask("and more", "resp_3", previous_response_id="resp_2")
        fork = talk.ask("something else", "resp_4", previous_response_id="resp_1")
        assert (fork.session_id, fork.relation) == (first.session_id, "fork")
        after = talk.ask("and so on", "resp_5", previous_response_id="resp_4")
        assert (after.session_id, after.relation) == (first.session_id, "continue")

    def test_the_same_again(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", "Hello!")
        sent = talk.send("more", previous_response_id="resp_1")
        again = talk.send("more", previous_response_id="resp_1").tag()
        assert (again.session_id, again.relation) == (first.session_id, "retry")
        talk.answer(sent, "resp_2", output("Yes."))
        after = talk.send("more", previous_response_id="resp_1").tag()
        assert (after.session_id, after.relation) == (first.session_id, "retry")

    def test_an_answered_request_again(self) -> None:
        talk = Responder(Desk())
        talk.ask("hi", "resp_1", "Hello!")
        talk.ask("more", "resp_2", previous_response_id="resp_1")
        again = talk.ask("more", "resp_3", "Otherwise.", previous_response_id="resp_1")
        assert again.relation == "regenerate"
        after = talk.ask("on", "resp_4", previous_response_id="resp_3")
        assert (after.session_id, after.relation) == (again.session_id, "continue")

    def test_the_whole_history_follows_a_chain(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", "Hello!")
        history = [user("hi"), output("Hello!"), user("more")]
        tag = talk.ask(history, "resp_2", "Yes.")
        assert (tag.session_id, tag.relation) == (first.session_id, "continue")
        assert talk.ask("on", "resp_3", previous_response_id="resp_2").relation == "continue"

    @pytest.mark.parametrize("named", ["resp_9", "", 7, None, ["resp_1"]])
    def test_a_reply_that_nobody_knows(self, named: Any) -> None:
        talk = Responder(Desk(explain=True))
        first = talk.ask("hi", "resp_1", "Hello!")
        tag = talk.ask("more", "resp_2", previous_response_id=named)
        assert (tag.relation, tag.source) == ("first", "new")
        assert tag.session_id != first.session_id
        notes = {step["rule"]: step["because"] for step in tag.explain}
        assert bool(notes["response_id"]) is (named == "resp_9")

    def test_another_tenants_reply(self) -> None:
        desk = Desk()
        first = Responder(desk, "a").ask("hi", "resp_1", "Hello!")
        tag = Responder(desk, "b").ask("more", "resp_2", previous_response_id="resp_1")
        assert (tag.relation, tag.session_id != first.session_id) == ("first", True)

    def test_another_end_users_reply(self) -> None:
        desk = Desk()
        first = Responder(desk, user="alice").ask("hi", "resp_1", "Hello!")
        tag = Responder(desk, user="bob").ask("more", "resp_2", previous_response_id="resp_1")
        assert tag.session_id != first.session_id

    def test_a_session_that_has_expired(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        talk = Responder(desk)
        first = talk.ask("hi", "resp_1", "Hello!")
        desk.clock.advance(62)
        tag = talk.ask("more", "resp_2", previous_response_id="resp_1")
        assert tag.session_id != first.session_id
        assert tag.previous_session_id == first.session_id

    @pytest.mark.parametrize("cut", [1, 3])
    def test_a_reply_that_broke_off(self, cut: int) -> None:
        talk = Responder(Desk())
        sent = talk.send("hi")
        talk.answer(sent, "resp_1", output("Hello!"), stream=True, cut=cut)
        tag = talk.ask("more", "resp_2", previous_response_id="resp_1")
        assert tag.session_id == sent.session.id

    def test_a_reply_that_is_still_being_made(self) -> None:
        talk = Responder(Desk())
        sent = talk.send("hi", background=True)
        talk.answer(sent, "resp_1", output("Hello!"), stream=True, cut=8)
        assert talk.ask("more", "resp_2", previous_response_id="resp_1").session_id == (
            sent.session.id
        )

    def test_a_reply_that_ended_before_it_said_anything(self) -> None:
        talk = Responder(Desk())
        sent = talk.send("hi")
        talk.answer(sent, "resp_1", {"type": "reasoning", "id": "rs_1", "summary": []})
        tag = talk.ask("Go on.", "resp_2", previous_response_id="resp_1")
        assert (tag.session_id, tag.source) == (sent.session.id, "response_id")

    def test_tool_results_alone(self) -> None:
        talk = Responder(Desk())
        sent = talk.send("Weather?")
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
                "arguments": "{}"}  # fmt: skip
        talk.answer(sent, "resp_1", call)
        result = {"type": "function_call_output", "call_id": "call_1", "output": "It rains."}
        tag = talk.ask([result], "resp_2", previous_response_id="resp_1")
        assert (tag.session_id, tag.relation) == (sent.session.id, "continue")

    def test_an_explicit_id_comes_first(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", "Hello!")
        tag = talk.ask("more", "resp_2", previous_response_id="resp_1", conversation="conv_1")
        assert (tag.source, tag.external_id) == ("explicit", "conv_1")
        assert tag.session_id != first.session_id

    @pytest.mark.parametrize("within", ["diagnostics", "thread"])
    def test_the_id_of_anthropics_reply(self, within: str) -> None:
        desk = Desk()
        first = desk.client(dialect="anthropic").ask("hi", "Hello!")
        sent = desk.client(dialect="anthropic").send(
            [user("more")], **{within: {"previous_message_id": "msg_1"}}
        )
        assert (sent.tag.session_id, sent.tag.source) == (first.session_id, "response_id")

    def test_a_reset_phrase_does_not_count_against_it(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", "Hello!")
        tag = talk.ask("Start over!", "resp_2", previous_response_id="resp_1")
        assert tag.session_id == first.session_id


class TestConversationId:
    @pytest.mark.parametrize("named", ["conv_1", {"id": "conv_1"}], ids=["text", "object"])
    def test_every_turn_names_it(self, named: Any) -> None:
        talk = Responder(Desk(), conversation=named)
        tags = [talk.ask(said, f"resp_{n}") for n, said in enumerate(["hi", "more", "on"])]
        assert len({tag.session_id for tag in tags}) == 1
        assert [tag.relation for tag in tags] == ["first", "continue", "continue"]
        assert {(tag.source, tag.external_id) for tag in tags} == {("explicit", "conv_1")}

    def test_the_text_and_the_object_are_one(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", conversation="conv_1")
        assert talk.ask("on", "resp_2", conversation={"id": "conv_1"}).session_id == (
            first.session_id
        )

    def test_the_same_words_twice_are_two_turns(self) -> None:
        talk = Responder(Desk(), conversation="conv_1")
        tags = [talk.ask("next", f"resp_{n}") for n in range(3)]
        assert [tag.relation for tag in tags] == ["first", "continue", "continue"]

    def test_the_same_request_while_it_is_answered(self) -> None:
        talk = Responder(Desk(), conversation="conv_1")
        talk.ask("hi", "resp_1")
        talk.send("more")
        assert talk.send("more").tag().relation == "retry"

    def test_of_another_tenant(self) -> None:
        desk = Desk()
        a, b = (Responder(desk, key, conversation="conv_1").ask("hi", "resp_1") for key in "ab")
        assert a.session_id != b.session_id

    def test_two_conversations(self) -> None:
        desk = Desk()
        a, b = (Responder(desk, conversation=name).ask("hi", name) for name in ("c1", "c2"))
        assert a.session_id != b.session_id

    def test_a_reply_within_it_can_be_named(self) -> None:
        talk = Responder(Desk())
        first = talk.ask("hi", "resp_1", conversation="conv_1")
        tag = talk.ask("more", "resp_2", previous_response_id="resp_1")
        assert (tag.session_id, tag.source) == (first.session_id, "response_id")


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
    def test_what_one_was_asked_that_began_in_the_middle(self) -> None:
        desk = Desk()
        other, talk = desk.client(), desk.client()
        history = [user("Tell me about foxes."), assistant(LONG)]
        other.history = list(history)
        begun = other.ask("And owls?", "They hoot.")
        own = talk.ask("Tell me about foxes.", LONG)
        found = talk.ask("And owls?", "They hoot.")
        assert own.session_id != begun.session_id
        assert (found.session_id, found.relation) == (own.session_id, "continue")

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

    def test_nobody_can_tell_which_of_two_first_requests_is_tried_again(self) -> None:
        desk = Desk(explain=True)
        known = {desk.client().send([user("hi")]).tag.session_id for _ in range(2)}
        again = desk.client(headers={"x-stainless-retry-count": "1"}).send([user("hi")]).tag
        assert again.session_id not in known
        notes = {step["rule"]: step["because"] for step in again.explain}
        assert "each waits" in notes["repeat"]

    def test_an_equal_request_after_a_call_of_another_session_is_that_ones(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=600))
        tags = []
        for number in (1, 2):
            talk = desk.client()
            tags.append(talk.ask("Weather?", tool_call(f"call_{number}", "weather")))
            if number == 2:
                desk.clock.advance(100)
                talk.ask(tool_result("call_2", "rain"), "It rains.")
                desk.clock.advance(550)
        history = [user("Weather?"), tool_call("call_1", "weather"), tool_result("call_1", "rain")]
        tag = desk.client().send(history).tag
        assert tag.session_id not in {found.session_id for found in tags}
        assert tag.previous_session_id == tags[0].session_id

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
