"""How one of several sessions is chosen, and how a request relates to it."""

from __future__ import annotations

import json

import pytest

from gateway_sessions.detection.ask import SUBAGENT_SECONDS
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.testing import (
    ChatClient,
    Desk,
    assistant,
    tool_call,
    tool_result,
    user,
)
from tests.detection.responding import Responder, output
from tests.detection.talk import OPENAI

TASK = "Find every place where the configuration is read and list them with their line numbers."
LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."


def twins(desk: Desk, **second: str) -> tuple[ChatClient, ChatClient, str, str]:
    """Return two clients whose histories are equal, and their sessions."""
    one, other = desk.client(), desk.client(**second)
    mine, theirs = one.ask("hi", "Hello!"), other.ask("hi", "Hello!")
    assert mine.session_id != theirs.session_id
    return one, other, mine.session_id, theirs.session_id


class TestChoice:
    def test_who_waits_for_longest_comes_first(self) -> None:
        _, other, mine, theirs = twins(Desk())
        tags = [other.send([*other.history, user(text)]).tag for text in ("a", "b")]
        assert [tag.session_id for tag in tags] == [mine, theirs]

    def test_a_toss_up_says_so(self) -> None:
        desk = Desk()
        _, other, _, _ = twins(desk)
        sent = other.send([*other.history, user("a")])
        assert sent.tracked.verdict.ambiguous
        assert sent.tag.confidence <= 0.6
        assert sent.tag.source == "prefix"
        certain = desk.client()
        certain.ask("something else", "Fine.")
        later = certain.send([*certain.history, user("more")])
        assert not later.tracked.verdict.ambiguous
        assert later.tag.confidence == 1.0

    def test_the_address_breaks_a_tie(self) -> None:
        one, other, mine, theirs = twins(Desk(), ip="192.0.2.2")
        second = other.send([*other.history, user("a")])
        assert second.tag.session_id == theirs
        assert not second.tracked.verdict.ambiguous
        assert 0.6 < second.tag.confidence < 1.0
        assert one.send([*one.history, user("b")]).tag.session_id == mine

    def test_the_user_agent_breaks_a_tie(self) -> None:
        desk = Desk()
        one = desk.client(headers={"user-agent": "a/1"})
        other = desk.client(headers={"user-agent": "b/1"})
        mine, theirs = one.ask("hi", "Hello!"), other.ask("hi", "Hello!")
        assert other.ask("a poem").session_id == theirs.session_id
        assert one.ask("a recipe").session_id == mine.session_id

    def test_the_instructions_break_a_tie(self) -> None:
        desk = Desk()
        one, other = desk.client(system="Be brief."), desk.client(system="Be polite.")
        mine, theirs = one.ask("hi", "Hello!"), other.ask("hi", "Hello!")
        assert other.ask("a poem").session_id == theirs.session_id
        assert one.ask("a recipe").session_id == mine.session_id

    def test_the_model_breaks_a_tie(self) -> None:
        desk = Desk(explain=True)
        one = desk.client(fields={"model": "large"})
        other = desk.client(fields={"model": "small"})
        mine, theirs = one.ask("hi", "Hello!"), other.ask("hi", "Hello!")
        sent = other.send([*other.history, user("a poem")])
        assert sent.tag.session_id == theirs.session_id
        assert not sent.tracked.verdict.ambiguous
        told = sent.tag.explain[-1]["candidates"]
        assert {c["session_id"]: c["same_model"] for c in told} == {
            mine.session_id: False,
            theirs.session_id: True,
        }
        assert one.ask("a recipe").session_id == mine.session_id

    def test_another_model_separates_nothing_by_itself(self) -> None:
        client = Desk().client(fields={"model": "large"})
        first = client.ask("hi", "Hello!")
        client.fields["model"] = "small"
        assert client.ask("more").session_id == first.session_id

    @pytest.mark.parametrize("outcome", ["answered", "in flight"])
    def test_twins_who_say_the_same_again(self, outcome: str) -> None:
        one, other, mine, theirs = twins(Desk(), ip="192.0.2.2")
        first = one.send([*one.history, user("more")])
        if outcome == "answered":
            first.answer("Yes.")
        second = other.send([*other.history, user("more")])
        assert (first.tag.session_id, second.tag.session_id) == (mine, theirs)
        assert second.tag.relation == "continue"

    def test_a_regeneration_or_its_twins_first_time_is_a_toss_up(self) -> None:
        one, _, mine, theirs = twins(Desk())
        asked = [*one.history, user("more")]
        one.send(asked).answer("Yes.")
        again = one.send(asked)
        assert again.tag.session_id in {mine, theirs}
        assert again.tracked.verdict.ambiguous

    def test_a_failure_makes_no_session_less_likely(self) -> None:
        one, _, mine, _ = twins(Desk())
        one.send([*one.history, user("a")]).fail()
        sent = one.send([*one.history, user("b")])
        assert sent.tag.session_id == mine or sent.tracked.verdict.ambiguous

    def test_client_hints_separate_nothing_by_themselves(self) -> None:
        client = Desk().client()
        first = client.ask("hi", "Hello!")
        client.ip, client.system = "198.51.100.7", "Be brief."
        client.headers["user-agent"] = "another/2"
        assert client.ask("more").session_id == first.session_id

    def test_a_session_without_an_id_of_its_clients_is_preferred(self) -> None:
        desk = Desk()
        named = desk.client(headers={"x-session-id": "1"})
        nameless = desk.client()
        named.ask("hi", "Hello!")
        theirs = nameless.ask("hi", "Hello!")
        assert nameless.ask("more").session_id == theirs.session_id

    def test_one_that_is_asked_already_is_not_chosen(self) -> None:
        one, other, _, _ = twins(Desk())
        first = one.send([*one.history, user("a")])
        second = other.send([*other.history, user("b")])
        assert first.tag.session_id != second.tag.session_id
        assert second.tag.relation == "continue"
        assert not second.tracked.verdict.ambiguous

    def test_a_sub_agent_that_fell_silent_is_not_what_others_go_on_with(self) -> None:
        desk = Desk()
        lead, worker = desk.client(system="Lead."), desk.client(system="Work.")
        lead.ask("Tidy up.", tool_call("call_1", "task", {"prompt": TASK}))
        assert worker.ask(TASK, "It is done.").relation == "subagent"
        desk.clock.advance(SUBAGENT_SECONDS)
        person = desk.client(system="It is 10:00.")
        own = person.ask(TASK, "It is done.")
        person.system = "It is 10:05."
        assert person.ask("Thanks!").session_id == own.session_id

    def test_who_is_no_longer_kept_among_many_is_none_of_the_others(self) -> None:
        desk = Desk()
        fields, headers = {"model": "a"}, {"user-agent": "a/1"}
        talk = desk.client(system="You sell.", fields=fields, headers=headers)
        talk.ask("hi", "Hello!")
        others = [desk.client(system="You lend.").ask("hi", "Hello!") for _ in range(CANDIDATES)]
        tag = talk.ask("A book, please.")
        assert tag.session_id not in {other.session_id for other in others}

    def test_calls_of_another_in_a_history_that_was_left_long_ago(self) -> None:
        desk = Desk()
        one, other = desk.client(), desk.client()
        one.ask("Find it.", tool_call("call_1", "find"))
        one.ask(tool_result("call_1", "here"), "It is here.")
        one.ask("Thanks!", "You are welcome.")
        own = other.ask("Find it.\n\nIt is 10:00.", tool_call("call_2", "find"))
        other.ask(tool_result("call_2", "here"), "It is here.")
        other.history[0] = user("Find it.")
        assert other.ask("And now?").session_id == own.session_id

    @pytest.mark.parametrize("kept", [True, False], ids=["kept", "left out"])
    def test_signatures_tell_equal_histories_apart(self, kept: bool) -> None:
        desk = Desk()
        talks = [desk.client(dialect="anthropic") for _ in range(2)]
        begun = []
        for number, talk in enumerate(talks):
            thought = {"type": "thinking", "thinking": "A greeting.", "signature": f"s{number}"}
            hello = {"type": "text", "text": "Hello!"}
            begun.append(talk.ask("hi", {"role": "assistant", "content": [thought, hello]}))
            if not kept:
                talk.history[-1] = assistant("Hello!")
        then = [talk.ask("A joke, please.", "No.").session_id for talk in reversed(talks)]
        expected = [tag.session_id for tag in begun]
        assert then == (expected[::-1] if kept else expected)

    def test_ids_of_items_tell_equal_histories_apart(self) -> None:
        desk = Desk()
        talk = Responder(desk, store=False)
        said = {"role": "user", "content": "hi"}
        begun = []
        for number in range(2):
            sent = talk.send([said])
            talk.answer(sent, f"resp_{number}", output("Hello!") | {"id": f"msg_{number}"})
            begun.append(sent.tag().session_id)
        then = [
            talk.ask([said, output("Hello!") | {"id": f"msg_{number}"}, said], f"resp_9{number}")
            for number in (1, 0)
        ]
        assert [tag.session_id for tag in then] == begun[::-1]

    def test_ids_of_tool_calls_tell_equal_histories_apart(self) -> None:
        desk = Desk()
        clients = [desk.client(), desk.client()]
        sessions = []
        for number, client in enumerate(clients):
            tag = client.ask("Weather?", tool_call(f"call_{number}", "weather"))
            sessions.append(tag.session_id)
        for number in (1, 0):
            client = clients[number]
            sent = client.send([*client.history, tool_result(f"call_{number}", "rain")])
            sent.answer("It rains.")
            client.history += [tool_result(f"call_{number}", "rain"), assistant("It rains.")]
            assert sent.tag.session_id == sessions[number]
            assert sent.tag.confidence == 1.0
        assert clients[1].ask("And tomorrow?").session_id == sessions[1]
        assert clients[0].ask("And tomorrow?").session_id == sessions[0]


class TestIdleTime:
    def test_just_in_time(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        client = desk.client()
        first = client.ask("hi", "Hello!")
        for _ in range(3):
            desk.clock.advance(60)
            again = client.send([*client.history, user("more")])
            assert again.tag.session_id == first.session_id
            client.history += [user("more"), again.answer("Yes.", seconds=0)]

    def test_too_late(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        client = desk.client()
        first = client.ask("hi", "Hello!")
        desk.clock.advance(60.5)
        again = client.ask("more")
        assert again.session_id != first.session_id
        assert (again.relation, again.source) == ("first", "new")
        assert again.previous_session_id == first.session_id
        assert client.ask("and more").session_id == again.session_id

    def test_a_stream_that_lasts_longer_keeps_its_session(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        client = desk.client()
        sent = client.send([user("hi")])
        desk.clock.advance(3000)
        other = desk.client("other")
        other.ask("x")
        sent.answer("Hello!")
        history = [user("hi"), assistant("Hello!"), user("more")]
        assert client.send(history).tag.session_id == sent.tag.session_id

    def test_a_request_in_flight_for_longer_can_still_be_repeated(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        client = desk.client()
        first = client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        client.send(asked)
        desk.clock.advance(3000)
        again = client.send(asked).tag
        assert (again.session_id, again.relation) == (first.session_id, "retry")

    def test_what_follows_an_expired_session_is_one_session(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        client = desk.client()
        first = client.ask("hi", "Hello!")
        desk.clock.advance(100)
        second = client.send([*client.history, user("more")])
        second.fail()
        third = client.send([*client.history, user("less")]).tag
        assert first.session_id != second.tag.session_id == third.session_id

    def test_the_same_first_words_of_a_stranger_continue_nothing(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        desk.client().ask("hi", "Hello!")
        desk.clock.advance(100)
        tag = desk.client().ask("hi", "Hello!")
        assert tag.previous_session_id is None

    def test_a_short_answer_that_anybody_gets_continues_nothing(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        desk.client().ask("Is 2 even?", "Yes.")
        desk.clock.advance(100)
        strange = [user("Is Ulm in Germany?"), assistant("Yes."), user("Where?")]
        assert desk.client().send(strange).tag.previous_session_id is None

    def test_an_id_of_the_clients_outlives_it(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        client = desk.client(headers={"x-session-id": "1"})
        first = client.ask("hi", "Hello!")
        desk.clock.advance(1000)
        assert client.ask("more").session_id == first.session_id


class TestRelation:
    def test_continue(self) -> None:
        client = Desk().client()
        assert client.ask("hi", "Hello!").relation == "first"
        assert client.ask("more").relation == "continue"
        assert client.ask("more").relation == "continue"

    def test_retry_after_a_failure(self) -> None:
        client = Desk().client()
        client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        client.send(asked).fail()
        assert client.send(asked).tag.relation == "retry"

    def test_retry_while_in_flight(self) -> None:
        client = Desk().client()
        first = client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        client.send(asked)
        again = client.send(asked).tag
        assert (again.session_id, again.relation) == (first.session_id, "retry")

    def test_regenerate(self) -> None:
        client = Desk().client()
        first = client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        client.send(asked).answer("Yes.")
        again = client.send(asked)
        again.answer("No.")
        assert (again.tag.session_id, again.tag.relation) == (first.session_id, "regenerate")
        for reply in ("Yes.", "No."):
            later = client.send([*asked, assistant(reply), user("so?")]).tag
            assert (later.session_id, later.relation) == (first.session_id, "continue")

    def test_fork_at_an_inner_reply(self) -> None:
        client = Desk().client()
        first = client.ask("hi", "Hello!")
        client.ask("a poem", "Roses are red.")
        branch = [user("hi"), assistant("Hello!"), user("a recipe")]
        forked = client.send(branch)
        assert (forked.tag.session_id, forked.tag.relation) == (first.session_id, "fork")
        forked.answer("Boil water.")
        onward = client.send([*branch, assistant("Boil water."), user("and then?")])
        assert (onward.tag.session_id, onward.tag.relation) == (first.session_id, "continue")
        back = client.send([*client.history, user("more")]).tag
        assert (back.session_id, back.relation) == (first.session_id, "fork")

    def test_something_else_after_a_failure_continues(self) -> None:
        client = Desk().client()
        first = client.ask("hi", "Hello!")
        client.send([*client.history, user("more")]).fail()
        other = client.send([*client.history, user("less")]).tag
        assert (other.session_id, other.relation) == (first.session_id, "continue")

    def test_relations_within_a_session_that_its_client_names(self) -> None:
        client = Desk().client(headers={"x-session-id": "1"})
        client.ask("hi", "Hello!")
        asked = [*client.history, user("more")]
        client.send(asked).fail()
        again = client.send(asked)
        assert again.tag.relation == "retry"
        again.answer("Yes.")
        assert client.send(asked).tag.relation == "regenerate"
        assert client.send([user("something new")]).tag.source == "explicit"


@pytest.mark.parametrize("number", [0, 1])
def test_of_several_answers_each_can_be_continued(number: int) -> None:
    desk = Desk()
    client = desk.client()
    sent = client.send([user("Tell me about foxes.")], n=2)
    answers = [LONG, "Foxes are small to medium-sized omnivorous mammals of several genera."]
    choices = [
        {"index": place, "message": assistant(text), "finish_reason": "stop"}
        for place, text in enumerate(answers)
    ]
    reply = OPENAI.read_reply(json.dumps({"id": "c", "choices": choices}).encode())
    desk.tracker.answered(sent.tracked, reply, desk.clock())
    rewritten = [user("Tell me all about foxes."), assistant(answers[number]), user("And dogs?")]
    assert client.send(rewritten).tag.session_id == sent.tag.session_id
