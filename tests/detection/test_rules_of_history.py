"""The rules that go by what the history says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.conversation import ASSISTANT, Message, Reply, Text
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user

pytestmark = pytest.mark.usefixtures("both_ways")

LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."
INVENTED = [user("And owls?"), assistant("They hoot."), user("And elks?"), assistant("They bell.")]
OTHER = "Foxes are small to medium-sized omnivorous mammals belonging to several genera."


def client(**options: Any) -> ChatClient:
    return Desk(explain=True).client(**options)


def rule(tag: SessionTag) -> str:
    """Return the name of the rule that answered."""
    return str(tag.explain[-1]["rule"])


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

    @pytest.mark.parametrize(
        ("changed", "kept"),
        [
            ({}, True),
            ({"system": "Be brief."}, False),
            ({"ip": "192.0.2.2"}, False),
        ],
        ids=["the same client", "other instructions", "another address"],
    )
    def test_a_window_that_ends_with_what_one_of_them_asked(
        self, changed: dict[str, Any], kept: bool
    ) -> None:
        desk = Desk()
        one, other = desk.client(), desk.client()
        other.ask("Is 4 even?", "Yes.")
        one.ask("Tell me.", "Fine.")
        first = one.ask("Is 2 even?", "Yes.")
        for name, value in changed.items():
            setattr(one, name, value)
        tag = one.send([*one.history[2:], user("more")]).tag
        assert (tag.session_id == first.session_id) is kept

    def test_a_window_that_ends_with_what_two_of_them_asked(self) -> None:
        desk = Desk()
        talks = [desk.client() for _ in range(2)]
        for number, talk in enumerate(talks):
            talk.ask(f"Tell me {number}.", "Fine.")
        known = {talk.ask("Is 2 even?", "Yes.").session_id for talk in talks}
        tag = talks[0].send([*talks[0].history[2:], user("more")]).tag
        assert tag.session_id not in known

    @pytest.mark.parametrize("called", [False, True])
    def test_newer_replies_of_an_expired_session(self, called: bool) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=600), explain=True)
        talk, other = desk.client(), desk.client()
        first = talk.ask("Tell me about foxes.", LONG)
        talk.ask("And elks?", tool_call("call_1", "search") if called else OTHER)
        desk.clock.advance(601)
        known = other.ask("Tell me about foxes.", LONG)
        talk.history[2] = user("And elks, please?")
        prompt = tool_result("call_1", "None.") if called else user("And owls?")
        tag = talk.send([*talk.history, prompt]).tag
        assert tag.session_id not in {first.session_id, known.session_id}
        assert tag.previous_session_id == first.session_id
        notes = {step["rule"]: step["because"] for step in tag.explain}
        assert "expired" in notes["anchor"]
        assert "expired" in notes["branch"]

    def test_a_call_of_an_expired_session_beside_an_equal_one(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=600))
        tags = []
        for number in (1, 2):
            talk = desk.client()
            call = tool_call(f"call_{number}", "look_up", {"number": "3RK2T9", "by": "Anya Garcia"})
            tags.append(talk.ask(f"Booking {number}", call))
            desk.clock.advance(400)
        history = [user("Booking!"), tool_call("call_1", "look_up", {"number": "3RK2T9",
                   "by": "Anya Garcia"}), tool_result("call_1", "two seats")]  # fmt: skip
        tag = desk.client().send(history).tag
        assert tag.session_id not in {found.session_id for found in tags}
        assert tag.previous_session_id == tags[0].session_id

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

    def test_an_equal_long_answer_of_two_sessions_is_no_evidence(self) -> None:
        desk = Desk(explain=True)
        known = {desk.client().ask(f"Foxes{n}?", LONG).session_id for n in (1, 2)}
        tag = desk.client().send([user("Foxes?"), assistant(LONG), user("Go on.")]).tag
        assert tag.session_id not in known
        notes = {step["rule"]: step["because"] for step in tag.explain}
        assert notes["anchor"] == "several sessions gave the replies that are known"

    def test_an_equal_turn_of_two_sessions_is_a_toss_up(self) -> None:
        desk = Desk()
        known = set()
        for number in (1, 2):
            talk = desk.client()
            talk.ask(f"I am number {number}.", "Hello, and welcome.")
            known.add(talk.ask("Foxes?", LONG).session_id)
        sent = desk.client().send([user("Foxes?"), assistant(LONG), user("Go on.")])
        assert sent.tag.session_id in known
        assert sent.tracked.verdict.ambiguous
        assert sent.tag.confidence <= 0.5

    def test_an_equal_turn_of_many_sessions_is_nobodys(self) -> None:
        desk = Desk()
        for number in range(3):
            talk = desk.client()
            talk.ask(f"I am number {number}.", "Hello, and welcome.")
            talk.ask("Foxes?", LONG)
        tag = desk.client().send([user("Foxes?"), assistant(LONG), user("Go on.")]).tag
        assert tag.source == "new"


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

    def test_a_beginning_that_two_sessions_share_is_a_toss_up(self) -> None:
        desk = Desk()
        talks = [desk.client() for _ in range(2)]
        known = {talk.ask("Tell me about foxes.", LONG).session_id for talk in talks}
        for number, talk in enumerate(talks):
            talk.ask(f"And dogs {number}?", "Dogs bark.")
        sent = talks[0].send([*talks[0].history[:2], *INVENTED, user("And now?")])
        assert sent.tag.session_id in known
        assert sent.tracked.verdict.ambiguous
        assert sent.tag.confidence <= 0.5


ASKED = "Tell me everything that you know about foxes and what they eat in winter."


class TestOvertaking:
    """Requests that go on from a reply which has not been seen to its end."""

    def test_the_first_reply(self) -> None:
        talk = client()
        first = talk.send([user(ASKED)])
        second = talk.send([user(ASKED), assistant("Mice."), user("And in summer?")])
        assert second.tag.session_id == first.tag.session_id
        assert (second.tag.relation, second.tag.source) == ("continue", "prefix")
        assert second.tag.confidence < 0.8
        first.answer("Mice.")
        second.answer("Berries.")
        history = [user(ASKED), assistant("Mice."), user("And in summer?"), assistant("Berries.")]
        third = talk.send([*history, user("more")]).tag
        assert (third.session_id, third.relation) == (first.tag.session_id, "continue")

    def test_a_later_reply(self) -> None:
        talk = client()
        first = talk.ask(ASKED, LONG)
        talk.send([*talk.history, user("And dogs?")])
        later = talk.send([*talk.history, user("And dogs?"), assistant("Bones."), user("Cats?")])
        assert (later.tag.session_id, later.tag.relation) == (first.session_id, "continue")

    def test_of_two_who_ask_the_same_neither(self) -> None:
        desk = Desk()
        asked = {desk.client().send([user(ASKED)]).tag.session_id for _ in range(2)}
        tag = desk.client().send([user(ASKED), assistant("Mice."), user("And dogs?")]).tag
        assert tag.session_id not in asked

    def test_a_short_opening_is_anybodys(self) -> None:
        talk = client()
        first = talk.send([user("hi")])
        tag = talk.send([user("hi"), assistant("Hello!"), user("more")]).tag
        assert tag.session_id != first.tag.session_id
        assert "too short" in next(s["because"] for s in tag.explain if s["rule"] == "branch")

    def test_what_was_answered_is_not_overtaken(self) -> None:
        talk = client()
        first = talk.ask(ASKED, "Mice.")
        tag = talk.send([user(ASKED), assistant("Berries."), user("And dogs?")]).tag
        assert (tag.session_id != first.session_id, tag.source) == (True, "new")


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
