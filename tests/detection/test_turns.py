from __future__ import annotations

import pytest

from gateway_sessions.detection.session import Session
from gateway_sessions.detection.turns import (
    FRESH_SECONDS,
    LONGEST,
    LONGEST_ENDING,
    OPENING,
    TURNS_COMPARED,
    RecentTurns,
    Turn,
    line_mark,
)

NOW = 1_700_000_000.0
SCOPE, ELSEWHERE = 0x5EED, 0xF00D


def session(name: str, scope: int = SCOPE) -> Session:
    return Session(id=name, scope=scope, started=NOW, used=NOW)


OPENINGS = ("hi", "hi again", "Hello!", "more")


def found(turns: RecentTurns, *lines: str, now: float = NOW, scope: int = SCOPE) -> list[Turn]:
    """Return the turns that open with one of some lines."""
    return turns.marked(scope, [line_mark(line, scope) for line in lines or OPENINGS], now)


def names(turns: RecentTurns, *lines: str, now: float = NOW, scope: int = SCOPE) -> list[str]:
    return [turn.session.id for turn in found(turns, *lines, now=now, scope=scope)]


def only(turns: RecentTurns, *lines: str) -> Turn:
    (turn,) = found(turns, *lines)
    return turn


def texts(turn: Turn) -> tuple[str, str]:
    return turn.prompt, turn.reply


class TestTurns:
    def test_prompt_in_the_words_of_the_reply_is_found_after_another_reply(self) -> None:
        turns = RecentTurns()
        turns.asked(session("a"), "hi", NOW)
        turns.answered(session("a"), "hi", NOW)
        assert names(turns, "hi") == ["a"]
        turns.answered(session("a"), "Hello!", NOW)
        assert names(turns, "hi") == ["a"]
        assert names(turns, "Hello!") == ["a"]
        turns.asked(session("a"), "more", NOW)
        assert names(turns, "hi", "Hello!") == []

    def test_a_prompt_and_the_reply_to_it(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        assert texts(only(turns)) == ("hi", "")
        turns.answered(talk, "Hello!", NOW)
        assert texts(only(turns)) == ("hi", "Hello!")

    def test_the_next_prompt_takes_the_place_of_both(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "Hello!", NOW)
        turns.asked(talk, "more", NOW)
        assert texts(only(turns)) == ("more", "")

    def test_of_a_long_prompt_both_ends_are_kept_and_its_length(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "a" * LONGEST + "b" * LONGEST + "\n", NOW)
        kept = turns.of(talk)
        assert kept is not None
        assert (kept.prompt, kept.ending) == ("a" * LONGEST, "b" * LONGEST_ENDING)
        assert kept.length == 2 * LONGEST
        turns.asked(talk, "a" * LONGEST, NOW)
        assert (kept.prompt, kept.ending, kept.length) == ("a" * LONGEST, "", 0)

    def test_a_reply_alone(self) -> None:
        turns = RecentTurns()
        turns.answered(session("a"), "Hello!", NOW)
        assert texts(only(turns)) == ("", "Hello!")

    def test_a_session_that_is_another_object_now(self) -> None:
        turns, again = RecentTurns(), session("a")
        turns.asked(session("a"), "hi", NOW)
        turns.answered(again, "Hello!", NOW)
        assert only(turns).session is again

    def test_the_newest_first(self) -> None:
        turns = RecentTurns()
        for name in ("a", "b", "c"):
            turns.asked(session(name), "hi", NOW)
        turns.answered(session("a"), "Hello!", NOW)
        assert names(turns) == ["a", "c", "b"]

    def test_scopes_are_apart(self) -> None:
        turns = RecentTurns()
        turns.asked(session("a"), "hi", NOW)
        turns.asked(session("b", ELSEWHERE), "hi", NOW)
        assert (names(turns), names(turns, scope=ELSEWHERE)) == (["a"], ["b"])
        assert names(turns, scope=1) == []


class TestOpenings:
    def test_by_the_prompt_or_by_the_reply(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "Hello!", NOW)
        assert names(turns, "hi") == names(turns, "Hello!") == names(turns, "Hello!", "hi") == ["a"]
        assert names(turns, "ho") == []

    def test_not_by_what_is_no_longer_the_newest(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "Hello!", NOW)
        turns.asked(talk, "more", NOW)
        assert names(turns, "hi", "Hello!") == []
        turns.answered(talk, "No more.", NOW)
        turns.answered(talk, "Really.", NOW)
        assert names(turns, "No more.") == []
        assert names(turns, "more") == names(turns, "Really.") == ["a"]

    def test_a_reply_in_the_words_of_the_prompt(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "hi", NOW)
        assert names(turns, "hi") == ["a"]
        turns.answered(talk, "Hello!", NOW)
        assert names(turns, "hi") == ["a"]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("What is it?", "What is it?"),
            ("\n  What is it?\nAnd why?", "What\tis  it?"),
            ("a" * 100, "a" * OPENING),
            (f"{'ab c' * OPENING} x", f"{'a bc' * OPENING} y"),
        ],
    )
    def test_lines_that_begin_alike(self, text: str, line: str) -> None:
        turns = RecentTurns()
        turns.asked(session("a"), text, NOW)
        assert names(turns, line) == ["a"]
        assert names(turns, "What is that?") == []

    @pytest.mark.parametrize("text", ["", " \n ", " " * LONGEST + "hi"])
    def test_what_says_nothing_is_never_found(self, text: str) -> None:
        turns = RecentTurns()
        turns.asked(session("a"), text, NOW)
        assert names(turns, "", text, text.strip()) == []

    def test_the_same_line_has_another_mark_in_another_scope(self) -> None:
        assert line_mark("hi", SCOPE) != line_mark("hi", ELSEWHERE)
        turns = RecentTurns()
        turns.asked(session("a"), "hi", NOW)
        assert turns.marked(ELSEWHERE, [line_mark("hi", SCOPE)], NOW) == []


class TestBounds:
    @pytest.mark.parametrize(("seconds", "fresh"), [(FRESH_SECONDS, True), (121.0, False)])
    def test_they_are_fresh_for_a_while(self, seconds: float, fresh: bool) -> None:
        turns = RecentTurns()
        turns.asked(session("a"), "hi", NOW)
        assert names(turns, now=NOW + seconds) == (["a"] if fresh else [])
        assert turns.fresh(SCOPE, NOW + seconds) is fresh
        assert not turns.fresh(ELSEWHERE, NOW)

    def test_a_reply_refreshes_its_turn(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "Hello!", NOW + 100)
        assert names(turns, now=NOW + 200) == ["a"]
        assert turns.fresh(SCOPE, NOW + 200)

    def test_so_many_are_compared(self) -> None:
        turns = RecentTurns()
        for number in range(TURNS_COMPARED + 5):
            turns.asked(session(f"s{number}"), "hi", NOW)
        found = names(turns)
        assert found == [f"s{number}" for number in range(TURNS_COMPARED + 4, 4, -1)]

    def test_so_many_are_compared_of_several_openings(self) -> None:
        turns = RecentTurns()
        for number in range(2 * TURNS_COMPARED):
            turns.asked(session(f"s{number}"), ("hi", "more")[number % 2], NOW)
        found = names(turns)
        assert len(found) == TURNS_COMPARED
        assert found[:2] == [f"s{2 * TURNS_COMPARED - 1}", f"s{2 * TURNS_COMPARED - 2}"]

    def test_one_that_too_many_opened_like_is_still_found_by_its_reply(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        for number in range(TURNS_COMPARED):
            turns.asked(session(f"s{number}"), "hi", NOW)
        assert "a" not in names(turns)
        turns.answered(talk, "Hello!", NOW)
        assert names(turns, "Hello!") == ["a"]
        turns.asked(talk, "more", NOW)
        assert names(turns, "more") == ["a"]

    def test_so_many_are_kept_those_used_last(self) -> None:
        turns = RecentTurns(3)
        for name in ("a", "b", "c"):
            turns.asked(session(name), "hi", NOW)
        turns.answered(session("a"), "Hello!", NOW)
        turns.asked(session("d", ELSEWHERE), "hi", NOW)
        assert names(turns) == ["a", "c"]
        assert names(turns, scope=ELSEWHERE) == ["d"]

    def test_a_scope_alone_may_fill_all_the_room(self) -> None:
        turns = RecentTurns(40)
        for number in range(41):
            turns.asked(session(f"s{number}"), "hi", NOW)
        assert names(turns) == [f"s{number}" for number in range(40, 0, -1)]

    def test_a_scope_does_not_push_out_what_is_within_the_quota_of_another(self) -> None:
        turns = RecentTurns(40)
        for number in range(10):
            turns.asked(session(f"quiet{number}", ELSEWHERE), "hi", NOW)
        for number in range(100):
            turns.asked(session(f"loud{number}"), "hi", NOW)
        assert len(names(turns, scope=ELSEWHERE)) == 10
        assert names(turns) == [f"loud{number}" for number in range(99, 69, -1)]

    def test_a_newcomer_gets_room_from_whoever_has_most(self) -> None:
        turns = RecentTurns(40)
        for number in range(40):
            turns.asked(session(f"loud{number}"), "hi", NOW)
        turns.asked(session("new", ELSEWHERE), "hi", NOW)
        assert names(turns, scope=ELSEWHERE) == ["new"]
        assert names(turns)[-1] == "loud1"

    def test_a_scope_whose_turns_are_all_forgotten(self) -> None:
        turns = RecentTurns(1)
        turns.asked(session("a"), "hi", NOW)
        turns.asked(session("b", ELSEWHERE), "hi", NOW)
        assert names(turns) == []
        turns.asked(session("a"), "hi again", NOW)
        assert texts(only(turns)) == ("hi again", "")

    def test_of_long_texts_the_start_is_kept(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "p" * LONGEST + "x", NOW)
        turns.answered(talk, "r" * LONGEST + "x", NOW)
        assert texts(only(turns, "p" * OPENING)) == ("p" * LONGEST, "r" * LONGEST)


class TestFromElsewhere:
    def test_an_older_turn_does_not_make_newer_ones_stale(self) -> None:
        turns = RecentTurns()
        turns.asked(session("new"), "hi", NOW)
        turns.put(session("old"), "more", "Hello!", NOW - FRESH_SECONDS - 1)
        assert turns.fresh(SCOPE, NOW + 1)
        assert names(turns) == ["new"]

    def test_it_is_found_by_both_its_texts(self) -> None:
        turns = RecentTurns()
        turns.put(session("a"), "hi", "Hello!", NOW)
        marks = [line_mark(line, SCOPE) for line in ("hi", "Hello!")]
        assert [turns.owners([mark]) for mark in marks] == [{"a"}, {"a"}]
        turns.put(session("a"), "more", "", NOW)
        assert turns.owners(marks) == set()

    def test_what_is_forgotten_is_not_found(self) -> None:
        turns = RecentTurns()
        turns.put(session("a"), "hi", "Hello!", NOW)
        turns.forget(session("a"))
        turns.forget(session("b"))
        assert (turns.of(session("a")), names(turns)) == (None, [])
        assert not turns.fresh(SCOPE, NOW)
