from __future__ import annotations

import pytest

from gateway_sessions.detection.session import Session
from gateway_sessions.detection.turns import (
    FRESH_SECONDS,
    LONGEST,
    OPENING,
    TURNS_COMPARED,
    RecentTurns,
    Said,
    Turn,
    line_key,
)

NOW = 1_700_000_000.0
SCOPE, ELSEWHERE = 0x5EED, 0xF00D


def session(name: str, scope: int = SCOPE) -> Session:
    return Session(id=name, scope=scope, started=NOW, used=NOW)


def names(turns: RecentTurns, now: float = NOW, scope: int = SCOPE) -> list[str]:
    return [turn.session.id for turn in turns.of(scope, now)]


def only(turns: RecentTurns, now: float = NOW) -> Turn:
    (turn,) = turns.of(SCOPE, now)
    return turn


def texts(turn: Turn) -> tuple[str | None, str | None]:
    return turn.prompt.text if turn.prompt else None, turn.reply.text if turn.reply else None


class TestTurns:
    def test_a_prompt_and_the_reply_to_it(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        assert texts(only(turns)) == ("hi", None)
        turns.answered(talk, "Hello!", NOW)
        assert texts(only(turns)) == ("hi", "Hello!")

    def test_the_next_prompt_takes_the_place_of_both(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "Hello!", NOW)
        turns.asked(talk, "more", NOW)
        assert texts(only(turns)) == ("more", None)

    def test_a_reply_alone(self) -> None:
        turns = RecentTurns()
        turns.answered(session("a"), "Hello!", NOW)
        assert texts(only(turns)) == (None, "Hello!")

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


class TestBounds:
    @pytest.mark.parametrize(("seconds", "fresh"), [(FRESH_SECONDS, True), (121.0, False)])
    def test_they_are_fresh_for_a_while(self, seconds: float, fresh: bool) -> None:
        turns = RecentTurns()
        turns.asked(session("a"), "hi", NOW)
        assert names(turns, NOW + seconds) == (["a"] if fresh else [])

    def test_a_reply_refreshes_its_turn(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "hi", NOW)
        turns.answered(talk, "Hello!", NOW + 100)
        assert names(turns, NOW + 200) == ["a"]

    def test_so_many_are_compared(self) -> None:
        turns = RecentTurns()
        for number in range(TURNS_COMPARED + 5):
            turns.asked(session(f"s{number}"), "hi", NOW)
        found = names(turns)
        assert len(found) == TURNS_COMPARED
        assert found[0] == f"s{TURNS_COMPARED + 4}"

    def test_so_many_are_kept_those_used_last(self) -> None:
        turns = RecentTurns(3)
        for name in ("a", "b", "c"):
            turns.asked(session(name), "hi", NOW)
        turns.answered(session("a"), "Hello!", NOW)
        turns.asked(session("d", ELSEWHERE), "hi", NOW)
        assert names(turns) == ["a", "c"]
        assert names(turns, scope=ELSEWHERE) == ["d"]

    def test_a_scope_whose_turns_are_all_forgotten(self) -> None:
        turns = RecentTurns(1)
        turns.asked(session("a"), "hi", NOW)
        turns.asked(session("b", ELSEWHERE), "hi", NOW)
        assert names(turns) == []
        turns.asked(session("a"), "hi again", NOW)
        assert texts(only(turns)) == ("hi again", None)

    def test_of_long_texts_the_start_is_kept(self) -> None:
        turns, talk = RecentTurns(), session("a")
        turns.asked(talk, "p" * LONGEST + "x", NOW)
        turns.answered(talk, "r" * LONGEST + "x", NOW)
        assert texts(only(turns)) == ("p" * LONGEST, "r" * LONGEST)


class TestOpenings:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("What is it?", b"Whatisit?"),
            ("\n  What is it?\nAnd why?", b"Whatisit?"),
            ("a" * 100, b"a" * OPENING),
            ("", b""),
        ],
    )
    def test_how_a_text_begins(self, text: str, key: bytes) -> None:
        said = Said(text)
        assert said.opening() == said.opening() == key

    def test_a_line_that_begins_alike_has_the_same_key(self) -> None:
        assert line_key(f"{'ab c' * OPENING} x") == line_key(f"{'a bc' * OPENING} y")
        assert line_key("What is it?") != line_key("What is that?")
