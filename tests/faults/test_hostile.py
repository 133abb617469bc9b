"""Clients that want detection to work: what a request costs stays within bounds.

What is counted and how stands in tests/faults/work.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from gateway_sessions.conversation import Conversation
from gateway_sessions.detection import bounds, canonical
from gateway_sessions.detection.bounds import AT_ONCE, COMPOSED, PART, PRECISE, PRECISE_STEP
from gateway_sessions.detection.plan import OLDER_STATES
from gateway_sessions.detection.session import EXCHANGES_KEPT
from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.testing import assistant, tool_call, tool_result, user
from gateway_sessions.tracker import Tracked
from tests.detection.talk import chat, counted
from tests.faults.work import (
    CROWD,
    INSTRUCTION,
    MOST_CALLS,
    Json,
    Room,
    Work,
    asks,
    assert_calls_grow_slowly,
    assert_time_grows_slowly,
    calls,
    in_a_wary_scope,
    reply,
    starts_everywhere,
)

GREETED = [user("hi"), assistant("Hello!")]
SAME_PREFIX: dict[str, list[Json]] = {
    "the same first request": [user("hi")],
    "the next turn": [*GREETED, user("more")],
    "the same turn again": [*GREETED, user("said before")],
    "a fork": [*GREETED, user("said before"), assistant("Invented."), user("more")],
    "an answer of nobody's": [user("hi"), assistant("Invented."), user("more")],
    "another first message": [user("ho"), assistant("Hello!"), user("more")],
    "two prompts": [user("hi"), user("hi again")],
    "a reset": [*GREETED, user("Start over!")],
    "a title": [INSTRUCTION, user("A title for this chat:\nuser: hi\nassistant: Hello!")],
}


class TestManySessions:
    """Everybody says the same."""

    @pytest.fixture(scope="class")
    @classmethod
    def crowds(cls) -> list[Room]:
        """Return scopes of which each has twice as many sessions as the one before."""
        rooms = [Room() for _ in range(3)]
        for room, sessions in zip(rooms, (CROWD // 4, CROWD // 2, CROWD), strict=True):
            for number in range(sessions):
                room.talk(user("hi"), answer="Hello!")
                if number % 8 == 0:
                    room.talk(*GREETED, user("said before"), answer="Yes.")
        return rooms

    @pytest.mark.parametrize("messages", SAME_PREFIX.values(), ids=SAME_PREFIX)
    def test_a_request_costs_the_same_in_any_crowd(
        self, crowds: list[Room], messages: list[Json]
    ) -> None:
        looked_up, told, called = [], [], []
        for room in crowds:
            room.index.asked = room.index.told = 0
            called.append(calls(asks(room, *messages)))
            looked_up.append(room.index.asked)
            told.append(room.index.told)
        assert looked_up[0] == looked_up[1] == looked_up[2] <= 20
        assert max(told) <= CANDIDATES * looked_up[0]
        assert max(called) <= min(1.1 * min(called), MOST_CALLS)

    def test_what_a_crowd_has_to_remember_is_bounded(self, crowds: list[Room]) -> None:
        room = crowds[-1]
        assert room.index.active <= 2 * CROWD
        found = room.index.candidates(room.ask(user("hi")).plan.scope.seed, 1)
        assert found == ()


def place(room: Room, conversation: Conversation, placed: list[Tracked]) -> None:
    """Send a request and note where it went."""
    placed.append(room.send(conversation))


def alternating(size: int) -> list[Json]:
    return [user(f"q{n}") if n % 2 == 0 else assistant(f"a{n}") for n in range(size)]


def working(size: int) -> list[Json]:
    made = [user("Go!")]
    for number in range(size // 2):
        made += [tool_call(f"call_{number}", "f", {"n": number}), tool_result(f"call_{number}", "")]
    return made


HISTORIES: dict[str, Callable[[int], list[Json]]] = {
    "taking turns": alternating,
    "running tools": working,
    "prompts only": lambda size: [user(f"q{n}") for n in range(size)],
    "answers only": lambda size: [user("hi"), *(assistant(f"a{n}") for n in range(size))],
    "instructions only": lambda size: [INSTRUCTION for n in range(size)],
    "silent messages": lambda size: [user(""), *(assistant("") for n in range(size))],
    "instructions in between": lambda size: [
        message for said in alternating(size // 2) for message in (said, INSTRUCTION)
    ],
}
APART = {
    "letters in two pieces": "e\u0301",
    "syllables in three": "\u1112\u1161\u11ab",
    "marks that stay apart": "\u0915\u093c",
    "marks in the wrong order": "a\u0301\u0316",
}


class Composed:
    """Counts the characters that are brought into NFC at more than a glance."""

    combining = staticmethod(unicodedata.combining)

    def __init__(self) -> None:
        self.characters = 0

    def normalize(self, form: Literal["NFC"], text: str) -> str:
        """Compose a text, and count it."""
        made = unicodedata.normalize(form, text)
        self.characters += 0 if made is text else len(text)
        return made


LONGEST = 10_000
PLAIN = [alternating, HISTORIES["prompts only"], HISTORIES["answers only"]]
CALLS_A_MESSAGE = 20
"""Calls for each of very many messages that are a role and a text; one by one they take 50."""


class TestLongHistories:
    @pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
    def test_an_unknown_one(self, make: Callable[[int], list[Json]]) -> None:
        def work(size: int) -> Work:
            return asks(Room(), *make(size), user("more"))

        assert_calls_grow_slowly(work, 125, 250, 500)
        assert_calls_grow_slowly(work, 1000, 2000, 4000)

    @pytest.mark.parametrize("make", PLAIN)
    def test_plain_messages_are_read_many_at_a_time(
        self, make: Callable[[int], list[Json]]
    ) -> None:
        assert calls(asks(Room(), *make(LONGEST), user("more"))) <= CALLS_A_MESSAGE * LONGEST

    def test_of_messages_with_tool_calls_fewer_are_read(self) -> None:
        took = []
        for size in (LONGEST // 2, LONGEST):
            conversation, read = counted(chat(*working(size), user("more")))
            Room().send(conversation)
            took.append(len(read))
        assert took[1] <= 1.1 * took[0]
        assert took[1] <= (PRECISE + PRECISE_STEP) // PART + 2 * AT_ONCE

    @pytest.mark.parametrize("text", APART.values(), ids=APART)
    @pytest.mark.parametrize("length", [100, 1000, 30_000])
    @pytest.mark.parametrize("answered", [True, False], ids=["turns", "prompts"])
    def test_few_characters_of_many_messages_are_composed(
        self, text: str, length: int, answered: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        composed = Composed()
        for module in (bounds, canonical):
            monkeypatch.setattr(module, "unicodedata", composed)
        took = []
        for size in (4 * COMPOSED, 16 * COMPOSED, 32 * COMPOSED):
            texts = [f"{n}: {text * (length // len(text))}" for n in range(size // length)]
            said = [(assistant if answered and n % 2 else user)(t) for n, t in enumerate(texts)]
            work = asks(Room(), *said, user("more"))
            composed.characters = 0
            work()
            took.append(composed.characters)
        assert max(took) <= 10 * COMPOSED

    @pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
    def test_look_ups_do_not_grow_with_it(self, make: Callable[[int], list[Json]]) -> None:
        looked_up = []
        for size in (2000, 4000):
            room = Room()
            room.ask(*make(size), user("more"))
            looked_up.append(room.index.asked)
        assert looked_up[1] <= max(1.1 * looked_up[0], 20)
        assert looked_up[1] <= 3 * OLDER_STATES

    @pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
    def test_one_of_which_only_the_first_request_failed(
        self, make: Callable[[int], list[Json]]
    ) -> None:
        room = Room()
        history = make(500)
        failed = room.ask(*history[: len(history) // 2])
        room.desk.tracker.failed(failed, None, room.desk.clock())
        assert calls(asks(room, *history, user("more"))) <= 100 * len(history)

    @pytest.mark.parametrize("make", [alternating, working])
    def test_of_a_known_one_only_the_news_is_read(self, make: Callable[[int], list[Json]]) -> None:
        room = Room()
        history = make(LONGEST)
        before, _ = counted(chat(*history, user("more")))
        room.answer(room.send(before), "Fine.")
        following, read = counted(chat(*history, user("more"), assistant("Fine."), user("and")))
        room.index.asked = 0
        assert calls(lambda: room.send(following)) <= 300
        assert len(read) <= 2
        assert room.index.asked <= 5

    def test_a_session_that_goes_on_and_on(self) -> None:
        """Every turn costs the same, and the session does not grow without end."""
        room, took, history = Room(), list[int](), list[Json]()
        for turn in range(700):
            history.append(user(f"q{turn}"))
            conversation = chat(*history)
            sent: list[Tracked] = []
            took.append(calls(partial(place, room, conversation, sent)))
            room.answer(sent[0], f"a{turn}")
            history.append(assistant(f"a{turn}"))
            exchanges = sent[0].session.exchanges
            assert exchanges == min(turn + 1, EXCHANGES_KEPT)
        assert max(took[350:]) <= 1.1 * max(took[2:350])


LARGE_TEXTS: dict[str, Callable[[int], str]] = {
    "words": lambda size: "word " * (size // 5),
    "one letter": lambda size: "a" * size,
    "a pair": lambda size: starts_everywhere() * (size // 2),
    "white space": lambda size: " \n" * (size // 2),
    "lines": lambda size: "line\n" * (size // 5),
    "empty lines": lambda size: "\n" * size,
    "signs": lambda size: "*" * size,
    "speakers": lambda size: "a: " * (size // 3),
    "tags": lambda size: "<summary>" * (size // 9),
    "half a tag": lambda size: "<" + "summary" * (size // 7),
    "a pasted task": lambda size: "Look for the needle in the haystack over there. " * (size // 48),
    "the newest prompt": lambda size: "And the needle?\n" * (size // 16),
    "other scripts": lambda size: "한국어 " * (size // 4),
    "letters in two pieces": lambda size: "e\u0301" * (size // 2),
    "accents on one letter": lambda size: "a" + "\u0316\u0301" * (size // 2),
    "marks of one letter that change places": lambda size: (
        "क" + "\u094d" * (size // 2) + "\u093c" * (size // 2)
    ),
    "marks that come apart": lambda size: "\u0f81" * size,
    "as many marks as are put in order": lambda size: (
        ("a" + "\u0301" * 15 + "\u0316" * 15) * (size // 31)
    ),
    "accents in the wrong order": lambda size: (
        "a" + "\u0301" * (size // 2) + "\u0316" * (size // 2)
    ),
    "letters outside of the basic plane": lambda size: "\U0001f600" * size,
}


class TestLargeMessages:
    @pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
    def test_a_request(self, text: Callable[[int], str]) -> None:
        def work(size: int) -> Work:
            return asks(in_a_wary_scope(), INSTRUCTION, user(text(size)))

        assert_time_grows_slowly(work, 2048)

    @pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
    @pytest.mark.parametrize("asked", ["Summarise all this.", "What else?"])
    def test_a_reply(self, text: Callable[[int], str], asked: str) -> None:
        def work(size: int) -> Work:
            room = Room()
            sent, said = room.ask(user(asked)), reply(text(size))
            return lambda: room.desk.tracker.answered(sent, said, room.desk.clock())

        assert_time_grows_slowly(work, 4096)

    @pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS)
    def test_what_is_handed_to_a_tool(self, text: Callable[[int], str]) -> None:
        def work(size: int) -> Work:
            room = Room()
            sent, said = room.ask(user("Go!")), reply(tool_call("c", "f", {"x": text(size)}))
            return lambda: room.desk.tracker.answered(sent, said, room.desk.clock())

        assert_time_grows_slowly(work, 4096)

    def test_a_title_for_a_very_long_turn(self) -> None:
        def work(size: int) -> Work:
            room = Room()
            room.talk(user("a" * size), answer="b" * size)
            return asks(room, INSTRUCTION, user("a" * size + "\n" + "b" * size), model="small")

        assert_time_grows_slowly(work, 4096)

    @pytest.mark.parametrize("part", ["a", "a: b\n" * 20])
    def test_a_message_of_many_parts(self, part: str) -> None:
        def work(size: int) -> Work:
            parts = [{"type": "text", "text": part} for _ in range(size)]
            return asks(in_a_wary_scope(), INSTRUCTION, {"role": "user", "content": parts})

        assert_calls_grow_slowly(work, 250, 500, 1000)
