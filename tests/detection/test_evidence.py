"""Whose a history is that two sessions could have sent."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.testing import ChatClient, Desk, assistant, tool_call, tool_result, user

pytestmark = pytest.mark.usefixtures("both_ways")

REFUSAL = "I'm sorry, but I can't give advice on that. Please ask a professional instead."
LONG = "The quick brown fox jumps over the lazy dog and then reads a book about foxes."
ASKED = "May I plant a walnut beside my neighbour's fence?"


def shop(desk: Desk, **options: Any) -> ChatClient:
    """Return a client of one application."""
    headers = {"user-agent": "shop/1"}
    return desk.client(system="You sell.", headers=headers, fields={"model": "a"}, **options)


def bank(desk: Desk, **options: Any) -> ChatClient:
    """Return a client of another, which has nothing in common with it."""
    headers = {"user-agent": "bank/1"}
    return desk.client(system="You lend.", headers=headers, fields={"model": "b"}, **options)


class TestTheSendersOwn:
    def test_the_end_of_a_history_is_all_that_another_application_was_asked(self) -> None:
        desk = Desk()
        long, short = bank(desk), shop(desk)
        own = long.ask("Tell me about foxes.", LONG)
        long.ask(ASKED, REFUSAL)
        short.ask(ASKED, REFUSAL)
        short.ask("And an oak?", REFUSAL)
        tag = long.send([*long.history[-2:], user("Why?")]).tag
        assert (tag.session_id, tag.source) == (own.session_id, "anchor")

    def test_where_the_other_waits_as_well_the_whole_history_counts(self) -> None:
        desk = Desk()
        long, short = bank(desk), shop(desk)
        long.ask("Tell me about foxes.", LONG)
        long.ask(ASKED, REFUSAL)
        moved = short.ask(ASKED, REFUSAL)
        assert bank(desk).send([*short.history, user("Why?")]).tag.session_id == moved.session_id

    def test_unless_its_client_has_sent_less_before(self) -> None:
        desk = Desk()
        long, short = bank(desk), shop(desk)
        own = long.ask("Tell me about foxes.", LONG)
        long.ask("And where do they live in winter?", f"In dens. {LONG}")
        long.history = long.history[-2:]
        long.ask(ASKED, REFUSAL)
        short.ask(ASKED, REFUSAL)
        tag = long.send([*long.history[-2:], user("Why?")]).tag
        assert (tag.session_id, tag.source) == (own.session_id, "anchor")

    def test_an_older_turn_of_the_same_application(self) -> None:
        desk = Desk()
        long, short = bank(desk), bank(desk)
        own = long.ask("Tell me about foxes.", LONG)
        long.ask("And where do they live in winter?", f"In dens. {LONG}")
        long.history = long.history[-2:]
        long.ask(ASKED, REFUSAL)
        short.ask(ASKED, REFUSAL)
        short.ask("And an oak?", REFUSAL)
        assert long.send([*long.history[-2:], user("Why?")]).tag.session_id == own.session_id

    def test_who_changes_the_application_is_no_other(self) -> None:
        desk = Desk()
        moving, staying = shop(desk), bank(desk)
        moved = moving.ask("Tell me about foxes.", LONG)
        moving.ask(ASKED, REFUSAL)
        staying.ask("And about owls?", LONG)
        staying.ask("May I fell an old one?", REFUSAL)
        tag = bank(desk).send([*moving.history, user("Why?")]).tag
        assert (tag.session_id, tag.source) == (moved.session_id, "prefix")

    def test_a_repetition_in_another_application_is_none(self) -> None:
        desk = Desk()
        one, other = shop(desk), bank(desk)
        one.ask(ASKED, REFUSAL)
        own = other.ask(ASKED, REFUSAL)
        one.ask("Why?", "The law says so.")
        tag = other.ask("Why?", "The law says so.")
        assert (tag.session_id, tag.relation) == (own.session_id, "continue")

    def test_a_failed_opening_of_another_application(self) -> None:
        desk = Desk()
        sent = shop(desk).send([user("hi")])
        sent.fail()
        assert bank(desk).send([user("hi")]).tag.relation == "first"
        assert shop(desk).send([user("hi")]).tag.session_id == sent.tag.session_id

    def test_a_repetition_by_another_model_is_one(self) -> None:
        desk = Desk()
        sent = shop(desk).send([user("hi")])
        sent.fail()
        again = shop(desk).send([user("hi")], model="fallback").tag
        assert (again.session_id, again.relation) == (sent.tag.session_id, "retry")

    def test_a_repetition_where_a_session_nearer_to_the_sender_went_another_way(self) -> None:
        desk = Desk()
        one, other = shop(desk), bank(desk)
        for talk in (one, other):
            talk.ask(ASKED, REFUSAL)
        one.ask("Why?", "The law says so.")
        own = other.ask("And an oak?", REFUSAL)
        tag = other.send([*other.history[:2], user("Why?")]).tag
        assert (tag.session_id, tag.relation) == (own.session_id, "fork")

    def test_a_repetition_whose_tool_calls_are_anothers(self) -> None:
        desk = Desk()
        one, other = shop(desk), shop(desk)
        calls = [tool_call(f"call_{number}", "trees") for number in range(2)]
        tags = [talk.ask("Which?", call) for talk, call in zip((one, other), calls, strict=True)]
        for number, talk in enumerate((one, other)):
            talk.ask(tool_result(f"call_{number}", "A walnut."), REFUSAL)
        one.send([*one.history, user("Why?")]).fail()
        one.ask("Why?", "The law says so.")
        tag = other.ask("Why?", "The law says so.")
        assert (tag.session_id, tag.relation) == (tags[1].session_id, "continue")

    def test_windows_that_say_the_same(self) -> None:
        desk = Desk()
        one, other = shop(desk), shop(desk)
        for talk, animal in ((one, "foxes"), (other, "owls")):
            own = talk.ask(f"Tell me about {animal}.", f"Of {animal}: {LONG}")
            talk.ask(ASKED, REFUSAL)
            talk.history = talk.history[-2:]
            found = talk.ask(f"And with {animal} about?", "The law says so.")
            assert (found.session_id, found.source) == (own.session_id, "anchor")

    def test_who_goes_back_to_the_beginning_is_no_window(self) -> None:
        desk = Desk()
        one, other = shop(desk), shop(desk)
        own = one.ask(ASKED, REFUSAL)
        one.ask("Why?", "The law says so.")
        other.ask("Tell me about foxes.", LONG)
        other.ask(ASKED, REFUSAL)
        tag = one.send([*one.history[:2], user("Why, please?")]).tag
        assert (tag.session_id, tag.relation) == (own.session_id, "fork")

    def test_an_id_that_is_new_on_the_history_of_another_application(self) -> None:
        desk = Desk()
        one = shop(desk)
        known = one.ask(ASKED, REFUSAL)
        one.ask("Why?", "The law says so.")
        named = desk.client(headers={"x-session-id": "b"}, fields={"model": "b"})
        tag = named.send([*one.history[:2], user("Why?")]).tag
        assert (tag.session_id == known.session_id, tag.source) == (False, "explicit")


class TestGoingBack:
    def test_who_changes_the_dialect_goes_on_where_it_was_just_answered(self) -> None:
        desk = Desk()
        left, changing = (desk.client(fields={"model": m}, headers={"user-agent": m}) for m in "ab")
        left.ask(ASKED, REFUSAL)
        left.ask("Why?", "The law says so.")
        desk.clock.advance(600)
        own = changing.ask(ASKED, REFUSAL)
        desk.clock.advance(1)
        changed = desk.client(fields={"model": "a"}, headers={"user-agent": "a"})
        tag = changed.send([*changing.history, user("And an oak?")]).tag
        assert (tag.session_id, tag.relation) == (own.session_id, "continue")

    def test_unless_what_it_left_was_used_since(self) -> None:
        desk = Desk()
        back, waiting = (desk.client(fields={"model": m}, headers={"user-agent": m}) for m in "ab")
        waiting.ask(ASKED, REFUSAL)
        desk.clock.advance(600)
        own = back.ask(ASKED, REFUSAL)
        back.ask("Why?", "The law says so.")
        tag = back.send([*back.history[:2], user("And an oak?")]).tag
        assert (tag.session_id, tag.relation) == (own.session_id, "fork")

    def test_who_was_busy_last_goes_back(self) -> None:
        desk = Desk()
        talks = [shop(desk), shop(desk)]
        for talk in talks:
            talk.ask("hi", "Hello, what can I do for you?")
        tags = [talk.ask(f"Tell me {n} jokes.", "Of course.") for n, talk in enumerate(talks)]
        for place in (1, 0):
            talk = talks[place]
            talk.ask("More.", "No.")
            found = talk.send([*talk.history[:2], user(f"Sing song {place}.")])
            assert (found.tag.session_id, found.tag.relation) == (tags[place].session_id, "fork")
            assert found.tag.reason.endswith("this one was busy last")
            assert found.tracked.verdict.ambiguous
            found.answer("La la.")


class TestContextThatIsLeftOut:
    def dressed(self, desk: Desk, text: str, context: str) -> ChatClient:
        """Return a client whose newest message carried what its history leaves out."""
        talk = shop(desk)
        talk.ask(f"Documents:\n{context}\n\nQuestion: {text}", "Yes.")
        talk.history[0] = user(text)
        return talk

    def test_what_was_asked_tells_equal_short_replies_apart(self) -> None:
        desk = Desk()
        asked = "I have {} of them, and wonder whether I may lay them out as a rectangle, or not."
        talks = [self.dressed(desk, asked.format(n), f"About {n}") for n in (3, 5, 7)]
        tags = [talk.ask(f"Context: {n}\nWhy?") for n, talk in enumerate(talks)]
        assert len({tag.session_id for tag in tags}) == 3
        assert {tag.source for tag in tags} == {"anchor"}

    def test_what_is_short_as_well_does_not(self) -> None:
        desk = Desk()
        talks = [self.dressed(desk, f"Is {n} prime?", f"About {n}") for n in (3, 5, 7)]
        assert talks[0].ask("Why?").relation == "first"

    def test_of_what_is_long_the_beginning_is_enough(self) -> None:
        desk = Desk()
        asked = "Count these: " + "fox owl " * 1000
        for time in ("10:01", "10:05"):
            talk = shop(desk)
            own = talk.ask(f"[{time}] {asked}", REFUSAL)
            talk.history[0] = user(asked)
            found = talk.ask(f"[{time}] Why?", REFUSAL)
            assert (found.session_id, found.source) == (own.session_id, "anchor")

    @pytest.mark.parametrize("words", [1, 100, 1000, 3000])
    @pytest.mark.parametrize("context", [1, 1000])
    def test_the_end_of_what_is_long_counts_too(self, words: int, context: int) -> None:
        desk = Desk()
        asked = "Count these: " + " ".join(f"fox{n}" for n in range(words))
        other, talk = shop(desk), shop(desk)
        other.ask(asked, REFUSAL)
        other.ask("Why?", "The law says so.")
        own = talk.ask("Note. " * context + asked, REFUSAL)
        talk.history[0] = user(asked)
        assert talk.ask("Why not?").session_id == own.session_id

    def test_a_long_prompt_that_ends_otherwise_is_another(self) -> None:
        desk = Desk()
        asked = " ".join(f"fox{n}" for n in range(1000))
        other, talk = shop(desk), shop(desk)
        known = other.ask(asked, REFUSAL)
        other.ask("Why?", "The law says so.")
        talk.ask("Note. " * 1000 + asked + ".", REFUSAL)
        talk.history[0] = user(asked)
        assert talk.ask("Why not?").session_id == known.session_id

    def test_who_names_one_session_names_all(self) -> None:
        desk = Desk()
        named, talk = shop(desk), shop(desk)
        named.headers["x-session-id"] = "1"
        named.ask("Tell me about foxes.", REFUSAL)
        named.ask(ASKED, REFUSAL)
        own = talk.ask("[10:01] Tell me about foxes.", REFUSAL)
        talk.history[-2] = user("Tell me about foxes.")
        talk.ask(f"[10:02] {ASKED}", REFUSAL)
        talk.history[-2] = user(ASKED)
        assert talk.ask("Why?").session_id == own.session_id

    def test_two_that_asked_the_same_are_not_told_apart(self) -> None:
        desk = Desk()
        talks = [self.dressed(desk, "Is 3 prime?", f"About {n}") for n in (3, 5)]
        assert talks[0].ask("Why?").relation == "first"

    @pytest.mark.parametrize("asked", ["me?", "s 3 prime?"])
    def test_the_end_of_a_word_is_not_what_was_asked(self, asked: str) -> None:
        desk = Desk()
        talks = [self.dressed(desk, f"Is {n} prime?", "Numbers") for n in (3, 5)]
        talks[0].history[0] = user(asked)
        assert talks[0].ask("Why?").relation == "first"

    def test_two_messages_are_not_one(self) -> None:
        desk = Desk()
        talks = [self.dressed(desk, f"Is {n} prime?", "Numbers") for n in (3, 5)]
        talks[0].history[:1] = [user("Is"), user("3 prime?")]
        assert talks[0].ask("Why?").relation == "first"


class TestExpired:
    def test_replies_that_others_gave_as_well_do_not_keep_it_alive(self) -> None:
        desk = Desk(settings=DetectionSettings(session_ttl_seconds=100.0))
        old, young = shop(desk), shop(desk)
        first = old.ask("Tell me about foxes.", LONG)
        old.ask(ASKED, REFUSAL)
        desk.clock.advance(200)
        young.ask("And owls?", "They hoot.")
        other = young.ask(ASKED, REFUSAL)
        tag = old.ask("Why?")
        assert tag.session_id not in (first.session_id, other.session_id)
        assert (tag.relation, tag.previous_session_id) == ("first", first.session_id)


def test_a_summary_says_more_than_the_replies_kept_after_it() -> None:
    desk = Desk()
    one, other = shop(desk), shop(desk)
    own = one.ask("Tell me about foxes.", LONG)
    one.ask(ASKED, REFUSAL)
    other.ask("And owls?", "They hoot.")
    other.ask(ASKED, REFUSAL)
    summary = "The user asks about foxes, and about planting a walnut beside a fence."
    one.send([*one.history, user("Summarise our conversation so far.")]).answer(summary)
    kept = [user(f"Summary so far: {summary}"), assistant("Understood."), *one.history[-2:]]
    tag = one.send([*kept, user("Why?")]).tag
    assert (tag.session_id, tag.relation) == (own.session_id, "compaction")


def test_of_equal_summaries_the_senders_own() -> None:
    desk = Desk()
    summary = "The user asks about foxes, and about planting a walnut beside a fence."
    talks = [bank(desk), shop(desk)]
    tags = [talk.ask("Tell me about foxes.", LONG) for talk in talks]
    for talk in talks:
        talk.send([*talk.history, user("Summarise our conversation.")]).answer(summary)
    for talk, tag in zip(talks, tags, strict=True):
        found = talk.send([user(f"Summary so far: {summary}"), user("Why?")]).tag
        assert (found.session_id, found.relation) == (tag.session_id, "compaction")


def called(talk: ChatClient, call: str) -> None:
    """Let a client be answered by a tool call, and that by a text."""
    talk.ask("Is it raining?", tool_call(call, "weather"))
    talk.ask(tool_result(call, "rain"), "Yes, take an umbrella.")


class TestOlderCalls:
    def test_an_expired_session_is_told_from_a_live_one(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=1000))
        gone, live = desk.client(), desk.client()
        for talk, call in ((gone, "call_1"), (live, "call_2")):
            called(talk, call)
            desk.clock.advance(600)
        sent = gone.send([*gone.history, user("And tomorrow?")])
        assert sent.tracked.verdict.new == "expired"

    def test_what_follows_an_expired_session_has_its_calls(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=1000))
        gone, live = desk.client(), desk.client()
        called(gone, "call_1")
        desk.clock.advance(1100)
        called(live, "call_2")
        first = gone.send([*gone.history, user("And tomorrow?")])
        first.fail()
        again = gone.send([*gone.history, user("And tomorrow?")]).tag
        assert (again.session_id, again.relation) == (first.tag.session_id, "retry")

    def test_a_history_that_is_told_otherwise_by_another(self) -> None:
        desk = Desk()
        one, other = shop(desk), shop(desk)
        sessions = []
        for talk, call in ((one, "call_1"), (other, "call_2")):
            sessions.append(talk.ask(f"[{call}] Good morning.", "Hello.").session_id)
            called(talk, call)
            talk.history[0] = user("Good morning.")
        one.ask("And tomorrow?", "Sun.")
        tag = other.send([*other.history, user("And at night?")]).tag
        assert tag.session_id == sessions[1]

    def test_the_end_of_a_history_is_all_that_another_application_has_said(self) -> None:
        desk = Desk()
        long, short = bank(desk), shop(desk)
        own = long.ask("Tell me about foxes.", LONG)
        for talk, call in ((long, "call_1"), (short, "call_2")):
            called(talk, call)
        tag = long.send([*long.history[-4:], user("And tomorrow?")]).tag
        assert (tag.session_id, tag.source) == (own.session_id, "anchor")


class TestAfterResultsOfTools:
    def test_a_history_that_begins_there(self) -> None:
        desk = Desk()
        one, other = shop(desk), shop(desk)
        sessions = []
        for talk, call, asked in ((one, "call_1", "Which?"), (other, "call_2", "Why so?")):
            talk.ask("Is it raining?", tool_call(call, "weather"))
            said = talk.ask([tool_result(call, "rain"), user(asked)], LONG)
            sessions.append(said.session_id)
        for talk, session in zip((one, other), sessions, strict=True):
            sent = talk.send([*talk.history[-2:], user("Go on.")])
            assert (sent.tag.session_id, sent.tag.source) == (session, "anchor")
            assert not sent.tracked.verdict.ambiguous


class TestContextAroundSeveralTexts:
    def test_it_tells_whose_an_equal_answer_is(self) -> None:
        desk = Desk()
        sessions = []
        texts = ["This is about walnuts.", "May I plant one beside the fence?"]
        for client, said in ((shop(desk), "\n".join(texts)), (shop(desk), "And an oak?")):
            sessions.append(client.ask(f"[10:00] {said}", REFUSAL).session_id)
        blocks = [{"type": "text", "text": text} for text in texts]
        history = [{"role": "user", "content": blocks}, assistant(REFUSAL), user("[10:02] Why?")]
        assert shop(desk).send(history).tag.session_id == sessions[0]


class TestForeign:
    def test_who_agrees_in_nothing_goes_back_in_nothing(self) -> None:
        desk = Desk()
        talk = shop(desk)
        first = talk.ask(ASKED, REFUSAL)
        talk.ask("Why?", "The law says so.")
        history = [*talk.history[:2], user("And an oak?")]
        assert bank(desk).send(history).tag.source == "new"
        tag = shop(desk).send(history).tag
        assert (tag.session_id, tag.relation) == (first.session_id, "fork")

    def test_nor_by_a_long_answer(self) -> None:
        desk = Desk()
        shop(desk).ask(ASKED, REFUSAL)
        history = [user("Otherwise?"), assistant(REFUSAL), user("Why?")]
        assert bank(desk).send(history).tag.source == "new"


class TestExpiredThatWaits:
    def test_it_comes_before_one_that_would_be_gone_back_in(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=1000))
        gone, busy = shop(desk), shop(desk)
        gone.ask(ASKED, REFUSAL)
        desk.clock.advance(1100)
        busy.ask(ASKED, REFUSAL)
        busy.ask("Why?", "The law says so.")
        sent = gone.send([*gone.history, user("And an oak?")])
        assert sent.tracked.verdict.new == "expired"

    def test_unless_it_is_another_applications(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=1000))
        bank(desk).ask(ASKED, REFUSAL)
        desk.clock.advance(1100)
        busy = shop(desk)
        own = busy.ask(ASKED, REFUSAL)
        busy.ask("Why?", "The law says so.")
        tag = busy.send([*busy.history[:2], user("And an oak?")]).tag
        assert (tag.session_id, tag.relation) == (own.session_id, "fork")


class TestChangedDialect:
    def test_of_a_past_that_is_fresh_the_own_application_comes_first(self) -> None:
        desk = Desk()
        left, changing = (desk.client(fields={"model": m}, headers={"user-agent": m}) for m in "ab")
        own = left.ask(ASKED, REFUSAL)
        left.ask("Why?", "The law says so.")
        changing.ask(ASKED, REFUSAL)
        tag = left.send([*left.history[:2], user("And an oak?")]).tag
        assert (tag.session_id, tag.relation) == (own.session_id, "fork")
