"""Histories that come back altered: which are recognised, and which must not be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway_sessions.detection.histories import LONGEST
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import ChatClient, Desk, Json, assistant, user

BAKERY = [
    ("I am Johanna Weiss, and I run a bakery in Ulm.", "Nice to meet you, Johanna."),
    ("What flour should I buy for rye bread?", "Type 1150, from a local mill."),
    ("And how much water per kilo?", "About 780 grams."),
    ("Write a label for the bread.", "Johanna's Rye, baked in Ulm."),
]
Change = Callable[[str], str]


def told(desk: Desk, turns: list[tuple[str, str]] = BAKERY) -> tuple[ChatClient, SessionTag]:
    """Hold a conversation of short replies; return its client and its newest verdict."""
    talk = desk.client()
    tags = [talk.ask(prompt, reply) for prompt, reply in turns]
    return talk, tags[-1]


def retold(history: list[Json], change: Change) -> list[Json]:
    return [{**message, "content": change(message["content"])} for message in history]


def stamped(text: str) -> str:
    return f"[2026-01-20 10:30] {text}"


def masked(text: str) -> str:
    for name in ("Johanna Weiss", "Johanna", "Ulm"):
        text = text.replace(name, "[NAME]")
    return text.replace("kilo", "****")


def corrected(text: str) -> str:
    return text.replace("bread", "braed").replace("bakery", "bakerey").replace("water", "watter")


def punctuated(text: str) -> str:
    return text.replace(".", " !").replace(",", " –").replace("'", "’")


def renamed(text: str) -> str:
    return stamped(text).replace("Johanna", "Mathilda").replace("Ulm", "Bonn")


def renumbered(text: str) -> str:
    return stamped(text).replace("780", "810").replace("1150", "997")


def why(tag: SessionTag, rule: str = "fuzzy") -> str:
    return next(str(step["because"]) for step in tag.explain if step["rule"] == rule)


ALTERATIONS: list[Change] = [
    stamped,
    punctuated,
    lambda text: stamped(corrected(text)),
    lambda text: stamped(masked(text)),
    str.upper,
]
NAMES = ["stamped", "punctuated", "corrected", "masked", "shouted"]


class TestRecognised:
    @pytest.mark.parametrize("change", ALTERATIONS, ids=NAMES)
    def test_a_history_told_otherwise_throughout(self, change: Change) -> None:
        talk, first = told(Desk(explain=True))
        sent = talk.send([*retold(talk.history, change), user("And for wheat?")])
        assert (sent.tag.session_id, sent.tag.relation) == (first.session_id, "continue")
        assert sent.tag.source == "fuzzy"
        assert 0.5 < sent.tag.confidence < 0.9
        assert not sent.tracked.verdict.ambiguous

    @pytest.mark.parametrize("change", ALTERATIONS, ids=NAMES)
    def test_its_oldest_turn_left_out(self, change: Change) -> None:
        talk, first = told(Desk())
        tag = talk.send([*retold(talk.history[2:], change), user("And for wheat?")]).tag
        assert (tag.session_id, tag.source) == (first.session_id, "fuzzy")

    def test_what_follows_goes_by_the_history_as_it_is_told_now(self) -> None:
        talk, first = told(Desk())
        talk.history = retold(talk.history, stamped)
        talk.ask("And for wheat?", "Type 550.")
        tag = talk.ask("And for spelt?", "Type 630.")
        assert (tag.session_id, tag.source) == (first.session_id, "prefix")

    def test_stamped_anew_each_time(self) -> None:
        talk, first = told(Desk())
        plain = list(talk.history)
        for minute in range(31, 36):
            history = retold(plain, lambda text, minute=minute: f"[10:{minute}] {text}")  # type: ignore[misc]
            sent = talk.send([*history, user(f"[10:{minute}] And after {minute}?")])
            assert (sent.tag.session_id, sent.tag.source) == (first.session_id, "fuzzy")
            plain += [user(f"And after {minute}?"), sent.answer(f"Wait for {minute * 2} minutes.")]

    def test_replies_that_others_gave_as_well(self) -> None:
        desk = Desk()
        talk, first = told(desk, [*BAKERY, ("Is it good?", "Yes.")])
        told(desk, [("Is rain wet?", "Yes.")])
        talk.history = [
            message if message["role"] == "assistant" else user(stamped(message["content"]))
            for message in talk.history
        ]
        tag = talk.ask("Really?")
        assert (tag.session_id, tag.source) == (first.session_id, "fuzzy")

    def test_another_question_after_an_earlier_reply(self) -> None:
        talk, first = told(Desk())
        tag = talk.send([*retold(talk.history[:-2], stamped), user("How hot?")]).tag
        assert (tag.session_id, tag.source) == (first.session_id, "fuzzy")
        assert tag.relation == "fork"

    def test_the_last_question_again(self) -> None:
        talk, first = told(Desk())
        history = [*retold(talk.history[:-2], stamped), talk.history[-2]]
        tag = talk.send(history).tag
        assert (tag.session_id, tag.relation) == (first.session_id, "regenerate")

    def test_a_turn_that_never_came_by(self) -> None:
        talk, first = told(Desk())
        unseen = [user("Is that much?"), assistant("Not at all.")]
        tag = talk.send([*retold([*talk.history, *unseen], stamped), user("And wheat?")]).tag
        assert (tag.session_id, tag.relation) == (first.session_id, "continue")

    def test_long_messages_count_by_their_digests(self) -> None:
        page = "rye " * LONGEST
        talk, first = told(Desk(), [*BAKERY[:3], (f"Shorten this: {page}", "No."), BAKERY[3]])
        history = [
            message if page in message["content"] else {**message, "content": change}
            for message, change in zip(
                talk.history, (stamped(m["content"]) for m in talk.history), strict=True
            )
        ]
        tag = talk.send([*history, user("And?")]).tag
        assert (tag.session_id, tag.source) == (first.session_id, "fuzzy")
        history[6] = user(f"Shorten that: {page}")
        assert talk.send([*history, user("Or?")]).tag.source == "new"


FORM = "Dear customer service, I would like to return what I bought last week. It is a {} in {}."
CANNED = ["Please give me the order number.", "Thank you, it is on its way."]


class TestKeptApart:
    @pytest.mark.parametrize("change", [renamed, renumbered], ids=["names", "numbers"])
    def test_other_names_or_numbers(self, change: Change) -> None:
        talk, first = told(Desk(explain=True))
        tag = talk.send([*retold(talk.history, change), user("And for wheat?")]).tag
        assert tag.session_id != first.session_id
        assert "other words" in why(tag) or "too few" in why(tag)

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            (("lamp", "green"), ("chair", "red")),
            (("lamp", "green"), ("lamp", "grey")),
            (("size 42", "green"), ("size 43", "green")),
        ],
    )
    def test_a_template_filled_in_by_two(
        self, mine: tuple[str, str], theirs: tuple[str, str]
    ) -> None:
        desk = Desk(explain=True)
        _, first = told(desk, [(FORM.format(*mine), CANNED[0]), ("It is 4711.", CANNED[1])])
        other = [user(FORM.format(*theirs)), assistant(CANNED[0]),
                 user("It is 4711!"), assistant(CANNED[1]), user("Thanks.")]  # fmt: skip
        tag = desk.client().send(retold(other, stamped)).tag
        assert tag.session_id != first.session_id
        assert "other words" in why(tag)

    @pytest.mark.parametrize("change", [renamed, renumbered], ids=["names", "numbers"])
    def test_a_low_threshold_makes_strangers_no_kin(self, change: Change) -> None:
        talk, first = told(Desk(DetectionSettings(fuzzy_threshold=0.0, fuzzy_max_diff=99)))
        tag = talk.send([*retold(talk.history, change), user("And for wheat?")]).tag
        assert tag.session_id != first.session_id

    def test_the_first_message_edited(self) -> None:
        talk, first = told(Desk(explain=True), BAKERY[:1])
        history = [user("I am Johanna Weiss, and I run a café in Ulm."), talk.history[1]]
        tag = talk.send([*retold(history, stamped), user("And now?")]).tag
        assert tag.session_id != first.session_id

    def test_the_same_opening(self) -> None:
        desk = Desk()
        _, first = told(desk, [("Hello there, can you help me?", "Of course, what is it about?")])
        other = [user("hello there - can you help me"), assistant("Of course! What is it about?")]
        assert desk.client().send([*other, user("Taxes.")]).tag.session_id != first.session_id

    def test_the_same_small_talk(self) -> None:
        desk = Desk()
        small = [("hi", "Hello!"), ("how are you?", "Fine."), ("good", "Yes."), ("ok", "OK.")]
        talk, first = told(desk, small)
        tag = talk.send([*retold(talk.history, stamped), user("so")]).tag
        assert tag.session_id != first.session_id

    def test_replies_that_two_sessions_gave(self) -> None:
        desk = Desk(explain=True)
        talk, first = told(desk)
        _, second = told(desk)
        tag = talk.send([*retold(talk.history, stamped), user("And for wheat?")]).tag
        assert tag.session_id not in {first.session_id, second.session_id}

    def test_a_history_with_replies_of_two_sessions(self) -> None:
        desk = Desk(explain=True)
        talk, first = told(desk)
        other, second = told(
            desk,
            [
                ("Name a tree that grows by the sea.", "The stone pine does."),
                ("And one from the far north.", "The dwarf birch, up to the tundra."),
                ("How tall is that one?", "No taller than your knee."),
                ("Who eats it, if anybody?", "Reindeer and ptarmigans."),
            ],
        )
        mixed = [*talk.history[:4], *other.history[4:]]
        tag = desk.client().send([*retold(mixed, stamped), user("And now?")]).tag
        assert tag.session_id not in {first.session_id, second.session_id}

    def test_another_tenant(self) -> None:
        desk = Desk()
        talk, first = told(desk)
        stranger = desk.client("another key")
        tag = stranger.send([*retold(talk.history, stamped), user("And for wheat?")]).tag
        assert (tag.source, tag.relation) == ("new", "first")
        assert tag.session_id != first.session_id

    def test_an_expired_session_is_named_and_not_joined(self) -> None:
        desk = Desk(DetectionSettings(session_ttl_seconds=60))
        talk, first = told(desk)
        desk.clock.advance(61)
        sent = talk.send([*retold(talk.history, stamped), user("And for wheat?")])
        assert (sent.tag.source, sent.tracked.verdict.new) == ("new", "expired")
        assert sent.tag.previous_session_id == first.session_id


class TestSettings:
    def tag(self, history: slice = slice(None), **settings: Any) -> SessionTag:
        talk, _ = told(Desk(DetectionSettings(**settings), explain=True))
        return talk.send([*retold(talk.history[history], stamped), user("And?")]).tag

    def test_switched_off(self) -> None:
        assert self.tag().source == "fuzzy"
        tag = self.tag(fuzzy_matching=False)
        assert (tag.source, why(tag)) == ("new", "fuzzy_matching is off")

    @pytest.mark.parametrize(("threshold", "source"), [(0.9, "fuzzy"), (0.99, "new")])
    def test_how_alike(self, threshold: float, source: str) -> None:
        talk, _ = told(Desk(DetectionSettings(fuzzy_threshold=threshold)))
        history = retold(talk.history, lambda text: stamped(text.replace("I buy for rye ", "")))
        assert talk.send([*history, user("And?")]).tag.source == source

    @pytest.mark.parametrize(("most", "source"), [(1, "new"), (2, "fuzzy")])
    def test_how_many_messages_more_or_less(self, most: int, source: str) -> None:
        tag = self.tag(slice(2, None), fuzzy_max_diff=most)
        assert tag.source == source
        if source == "new":
            assert "2 messages off" in why(tag)

    def test_system_messages_are_counted_on_both_sides(self) -> None:
        desk = Desk(DetectionSettings(fuzzy_max_diff=0))
        talk = desk.client(system="Be brief.")
        first = [talk.ask(prompt, reply) for prompt, reply in BAKERY][-1]
        tag = talk.send([*retold(talk.history, stamped), user("And?")]).tag
        assert tag.session_id == first.session_id


class TestExplained:
    def test_with_what_it_was_compared(self) -> None:
        talk, first = told(Desk(explain=True))
        tag = talk.send([*retold(talk.history, stamped), user("And?")]).tag
        (step,) = [step for step in tag.explain if step["rule"] == "fuzzy"]
        assert step["candidates"] == [{"session_id": first.session_id, "similarity": 1.0}]
        assert "100% of the words" in tag.reason

    def test_no_words_of_the_conversation_are_told(self) -> None:
        talk, _ = told(Desk(explain=True))
        tag = talk.send([*retold(talk.history, renamed), user("And?")]).tag
        assert "Johanna" not in str(tag.explain)
        assert "Mathilda" not in str(tag.explain)


@pytest.mark.parametrize("letters", ["ab ", "a'", "12:30:00 ", "[A", "的", "<{[AAAA AAAA "])
def test_no_history_takes_long(letters: str) -> None:
    desk = Desk()
    texts = [(letters * LONGEST)[: LONGEST // len(letters.encode())] for _ in range(16)]
    talk, _ = told(desk, [(f"{n} {text}", f"{n} {text}") for n, text in enumerate(texts)])
    history = retold(talk.history, lambda text: f"{text}!")
    began = time.process_time()
    talk.send([*history, user("And?")])
    assert time.process_time() - began < 0.1
