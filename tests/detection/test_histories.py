"""What is kept of each session's newest turns, and how much of it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Media,
    Message,
    Text,
    Thinking,
    ToolCall,
)
from gateway_sessions.detection.histories import (
    LONGEST,
    LONGEST_RAW,
    SAME_REPLY,
    SCOPE_SHARE,
    TURNS_KEPT,
    Histories,
    Told,
    Turn,
    mark_of,
    told,
)
from gateway_sessions.detection.session import Session

SEED = 11


def session(name: str, scope: int = 1) -> Session:
    return Session(id=name, scope=scope, started=0.0, used=0.0)


def turn(number: int, text: str = "") -> Turn:
    return Turn(Told(1000 + number, text), Told(number, text), number)


def replies(histories: Histories, of: Session) -> list[int]:
    return [turn.reply.key for turn in histories.of(of)]


def givers(histories: Histories, mark: int) -> list[str]:
    return [history.session.id for history in histories.giving(mark)]


def said(*parts: Any, weight: int = 10) -> Told:
    return told(5, weight, [Message(USER, parts)])


def mark(text: str, seed: int = SEED) -> int:
    return mark_of(Told(5, text), seed)


class TestTurns:
    def test_they_are_found_by_their_replies(self) -> None:
        histories, one = Histories(), session("a")
        histories.note(one, turn(1), 0)
        histories.note(one, turn(2), 1)
        assert replies(histories, one) == [1, 2]
        assert givers(histories, 2) == ["a"]
        assert givers(histories, 3) == []

    def test_the_oldest_give_way(self) -> None:
        histories, one = Histories(), session("a")
        for number in range(1, TURNS_KEPT + 3):
            histories.note(one, turn(number), number - 1)
        assert replies(histories, one) == list(range(3, TURNS_KEPT + 3))
        assert givers(histories, 2) == []

    def test_what_the_client_went_back_behind_is_forgotten(self) -> None:
        histories, one = Histories(), session("a")
        for number in (1, 2, 3):
            histories.note(one, turn(number), number - 1)
        histories.note(one, turn(4), 1)
        assert replies(histories, one) == [1, 4]
        assert givers(histories, 3) == []

    def test_a_first_turn_once_more(self) -> None:
        histories, one = Histories(), session("a")
        histories.note(one, turn(1), 0)
        histories.note(one, turn(2), 0)
        assert replies(histories, one) == [2]

    def test_a_turn_after_one_that_was_not_seen(self) -> None:
        histories, one = Histories(), session("a")
        histories.note(one, turn(1), 0)
        histories.note(one, turn(3), 2)
        assert replies(histories, one) == [1, 3]

    def test_the_same_reply_twice_is_found_until_both_are_gone(self) -> None:
        histories, one = Histories(), session("a")
        histories.note(one, turn(1), 0)
        histories.note(one, turn(2), 1)
        histories.note(one, turn(1), 2)
        histories.note(one, turn(4), 2)
        assert givers(histories, 1) == ["a"]

    def test_a_session_that_was_never_seen_has_none(self) -> None:
        assert replies(Histories(), session("a")) == []


class TestPut:
    @pytest.mark.parametrize(
        ("known", "told"),
        [
            ([], [1, 2]),
            ([1], [1, 2, 3]),
            ([1, 2], [1, 2]),
            ([1, 2, 3], [2, 3, 4]),
            ([1, 2, 3], [1, 2]),
            ([1, 2], [5, 6]),
            ([1, 2], []),
        ],
    )
    def test_what_is_told_counts_whatever_was_known(
        self, known: list[int], told: list[int]
    ) -> None:
        histories, fresh, one = Histories(), Histories(), session("a")
        histories.put(one, [turn(number) for number in known])
        histories.put(one, [turn(number) for number in told])
        fresh.put(one, [turn(number) for number in told])
        assert replies(histories, one) == replies(fresh, one) == told
        for number in range(7):
            assert givers(histories, number) == givers(fresh, number)
        assert histories._size == fresh._size


class TestBounds:
    def test_many_sessions_with_one_reply(self) -> None:
        histories = Histories()
        for number in range(SAME_REPLY + 2):
            histories.note(session(f"{number}"), turn(1), 0)
        assert givers(histories, 1) == [f"{n}" for n in range(2, SAME_REPLY + 2)]

    def test_a_scope_has_its_share_and_the_sessions_used_longest_ago_go(self) -> None:
        histories = Histories(kept_bytes=SCOPE_SHARE * 20_000)
        quiet = session("quiet", scope=2)
        histories.note(quiet, turn(1), 0)
        others = [session(f"{number}") for number in range(50)]
        for other in others:
            histories.note(other, turn(1, "x" * 1000), 0)
        kept = [other.id for other in others if replies(histories, other)]
        assert 2 < len(kept) < 12
        assert kept == [f"{n}" for n in range(50 - len(kept), 50)]
        assert replies(histories, quiet) == [1]

    def test_all_scopes_together_have_a_limit(self) -> None:
        histories = Histories(kept_bytes=20_000)
        names = [session(f"{number}", scope=number) for number in range(50)]
        for one in names:
            histories.note(one, turn(1), 0)
        assert 5 < sum(bool(replies(histories, one)) for one in names) < 20
        assert replies(histories, names[-1]) == [1]

    def test_what_is_forgotten_takes_no_room(self) -> None:
        histories = Histories(kept_bytes=1)
        for number in range(100):
            histories.note(session(f"{number}", scope=number), turn(number), 0)
        assert [len(vars(histories)[name]) for name in ("_all", "_scopes", "_by_reply")] == [0] * 3
        assert vars(histories)["_size"] == 0

    def test_the_size_is_that_of_the_turns(self) -> None:
        one = turn(1, "x" * 1000)
        parts = (one, one.prompt, one.reply, one.prompt.text, one.reply.text)
        assert one.size() >= sum(map(sys.getsizeof, parts)) - 200


class TestTold:
    def test_texts_of_several_messages(self) -> None:
        messages = [Message(USER, (Text("a"), Text("b"))), Message(USER, (Text("c"),))]
        assert told(5, 3, messages).text == "a\nb\nc"

    def test_reasoning_is_left_out(self) -> None:
        parts = (Thinking("Hm."), Text("Yes."))
        assert told(5, 4, [Message(ASSISTANT, parts)]).text == "Yes."

    @pytest.mark.parametrize("part", [Media("data"), ToolCall("call_1", "f", {})])
    def test_more_than_text_counts_by_its_digest(self, part: Any) -> None:
        assert said(Text("Look:"), part) == Told(5)

    def test_a_long_one_counts_by_its_digest(self) -> None:
        assert said(Text("a"), weight=LONGEST).text == "a"
        assert said(Text("a"), weight=LONGEST + 1) == Told(5)
        assert said(Text(" " * LONGEST_RAW), Text("a")) == Told(5)

    @pytest.mark.parametrize(
        "other",
        [
            "[10:30] it is 11 o’clock in Ulm!",
            "IT IS “12” O'CLOCK, IN ULM",
            "It is\u00a012 o'clock in Ulm…",
        ],
    )
    def test_numbers_punctuation_and_case_are_no_part_of_its_mark(self, other: str) -> None:
        assert mark("It is 12 o'clock in Ulm.") == mark(other)

    def test_letters_of_any_script_are(self) -> None:
        marks = {mark(text) for text in ("今天天气很好", "今天天气不好", "Это хорошо")}
        assert len(marks) == 3

    def test_a_text_of_few_letters_stands_for_itself(self) -> None:
        assert mark("42, or 43.") == 5
        assert mark_of(Told(5), SEED) == 5

    def test_it_means_nothing_in_another_scope(self) -> None:
        assert mark("a text of some letters") != mark("a text of some letters", SEED + 1)


class TestFromElsewhere:
    def test_it_takes_the_place_of_what_was_known(self) -> None:
        histories = Histories()
        histories.note(session("a"), turn(1), 0)
        histories.put(session("a"), [turn(2), turn(3)])
        assert replies(histories, session("a")) == [2, 3]
        assert histories.owners([1, 2]) == {"a"}
        assert histories.owners([1]) == set()

    def test_nothing_is_nothing(self) -> None:
        histories = Histories()
        histories.note(session("a"), turn(1), 0)
        histories.put(session("a"), [])
        histories.forget(session("a"))
        assert (replies(histories, session("a")), givers(histories, 1)) == ([], [])

    def test_its_bounds_hold_for_it_as_well(self) -> None:
        histories = Histories(kept_bytes=8000)
        for name in "abcdef":
            histories.put(session(name), [turn(1, "x" * 100)])
        assert len(givers(histories, 1)) < 3
