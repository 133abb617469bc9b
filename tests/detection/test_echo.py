from __future__ import annotations

import random

import pytest

from gateway_sessions.detection.canonical import fold_text
from gateway_sessions.detection.echo import (
    CALL,
    KEPT_BYTES,
    LONGEST,
    LONGEST_QUERY,
    MOST_QUOTED,
    PER_END,
    PER_SUMMARY,
    SAME_FINGERPRINT,
    SCOPE_SHARE,
    SHORTEST,
    SUMMARY,
    EchoIndex,
    Text,
    fingerprints,
    kept_text,
    marks_asked,
)
from gateway_sessions.detection.session import Session

SCOPE, ELSEWHERE = 0x5EED, 0xF00D
TASK = fold_text("Find every place where the configuration is read and list them with their lines.")
AROUND = fold_text("Today is Monday, and these are the rules of the house, all of which count. ")


def session(name: str = "sess_1", scope: int = SCOPE) -> Session:
    return Session(id=name, scope=scope, started=0.0, used=0.0)


def call(text: bytes, name: str = "sess_1", at: float = 0.0, number: int = 0, **of: int) -> Text:
    """Return the argument of a pending tool call."""
    return kept_text(session(name, **of), CALL, text, at, f"call_{number}/0")


def summary(text: bytes, name: str = "sess_1", **of: int) -> Text:
    return kept_text(session(name, **of), SUMMARY, text, 0.0)


def index(*texts: Text, kept_bytes: int = KEPT_BYTES) -> EchoIndex:
    made = EchoIndex(kept_bytes)
    for text in texts:
        made.note(text)
    return made


def found(echo: EchoIndex, query: bytes, scope: int = SCOPE) -> list[str]:
    """Return the sessions whose texts are quoted whole."""
    return [quote.text.session.id for quote in echo.quoted(scope, query) if quote.whole]


def prose(seed: int, words: int) -> bytes:
    """Return text that looks like English, without white space."""
    letters = random.Random(seed)
    return b"".join(
        bytes(letters.choices(b"etaoinshrdlucmfwyp", k=letters.randrange(2, 9)))
        for _ in range(words)
    )


class TestQuoted:
    @pytest.mark.parametrize(
        "query",
        [TASK, AROUND + TASK, TASK + AROUND, AROUND * 9 + TASK + AROUND * 9],
        ids=["alone", "at the end", "at the start", "in the middle"],
    )
    def test_a_whole_text(self, query: bytes) -> None:
        (quote,) = index(call(TASK)).quoted(SCOPE, query)
        assert quote.whole
        assert quote.share == pytest.approx(len(TASK) / len(query))

    def test_a_part_of_one(self) -> None:
        text = prose(1, 400)
        (quote,) = index(call(text)).quoted(SCOPE, text[:600] + prose(2, 100))
        assert not quote.whole
        assert 0.2 < quote.share < 0.9

    @pytest.mark.parametrize("query", [AROUND, b"", TASK[:20], TASK[::-1]])
    def test_nothing(self, query: bytes) -> None:
        assert found(index(call(TASK)), query) == []

    def test_not_in_another_scope(self) -> None:
        echo = index(call(TASK))
        assert echo.quoted(ELSEWHERE, TASK) == []
        echo.note(call(TASK, "theirs", scope=ELSEWHERE))
        assert found(echo, TASK) == ["sess_1"]
        assert found(echo, TASK, ELSEWHERE) == ["theirs"]

    def test_whole_texts_first_then_the_larger_share_then_the_newer(self) -> None:
        longer = TASK + fold_text("And then do the same for the environment.")
        echo = index(
            call(TASK, "old", 1.0),
            call(TASK, "new", 2.0),
            call(longer, "longer", 0.0),
            call(TASK + AROUND, "other", 3.0),
        )
        quotes = echo.quoted(SCOPE, longer)
        assert [quote.text.session.id for quote in quotes] == ["longer", "new", "old", "other"]
        assert [quote.whole for quote in quotes] == [True, True, True, False]

    @pytest.mark.parametrize("seed", range(1, 9))
    def test_texts_of_all_lengths_are_found_in_others(self, seed: int) -> None:
        text = prose(seed, 4 * 2**seed)
        assert found(index(call(text)), prose(99, 50) + text + prose(98, 50)) == ["sess_1"]

    def test_other_scripts(self) -> None:
        text = fold_text("설정을 읽는 모든 위치를 줄 번호와 함께 정리해 주세요. " * 6)
        query = fold_text("오늘은 월요일입니다. ") + text
        assert found(index(call(text)), query) == ["sess_1"]

    def test_a_short_text_without_fingerprints_is_found_as_one_of_the_lines(self) -> None:
        text = b"b" * SHORTEST[CALL]
        echo = index(call(text))
        assert found(echo, text) == ["sess_1"]
        assert found(echo, AROUND + text) == []
        whole = echo.quoted(SCOPE, AROUND + text, [AROUND, text])
        assert [quote.whole for quote in whole] == [True]

    def test_many_texts_alike(self) -> None:
        echo = index(*(call(TASK, f"sess_{n}") for n in range(2 * SAME_FINGERPRINT)))
        quotes = echo.quoted(SCOPE, TASK)
        assert 0 < len(quotes) <= MOST_QUOTED
        newest = {f"sess_{n}" for n in range(SAME_FINGERPRINT, 2 * SAME_FINGERPRINT)}
        assert {quote.text.session.id for quote in quotes} <= newest


class TestBounds:
    def test_texts_that_are_too_short(self) -> None:
        text = b"e" * (SHORTEST[CALL] - 1)
        echo = index(call(text))
        assert not echo.holds(SCOPE, CALL)
        assert echo.quoted(SCOPE, text) == []
        echo.note(call(text + b"e"))
        assert echo.holds(SCOPE, CALL)

    def test_of_a_long_text_the_start_is_kept(self) -> None:
        text = prose(1, 4000)
        assert len(text) > LONGEST
        kept = call(text)
        assert kept.folded == text[:LONGEST]
        assert found(index(kept), text) == ["sess_1"]

    def test_of_a_long_request_the_start_is_looked_at(self) -> None:
        filler = b"e" * LONGEST_QUERY
        echo = index(call(TASK))
        assert found(echo, filler[len(TASK) :] + TASK) == ["sess_1"]
        assert found(echo, filler + TASK) == []

    def test_the_oldest_texts_of_a_scope_give_way(self) -> None:
        texts = [prose(n, 40) for n in range(100)]
        echo = index(*(call(t, number=n) for n, t in enumerate(texts)), kept_bytes=40_000)
        assert [bool(found(echo, text)) for text in texts[:50]] == [False] * 50
        assert found(echo, texts[-1]) == ["sess_1"]

    def test_a_scope_can_not_push_out_anothers_texts(self) -> None:
        echo = index(call(TASK, "theirs", scope=ELSEWHERE), kept_bytes=80_000)
        for number in range(400):
            echo.note(call(prose(number, 60), number=number))
        assert found(echo, TASK, ELSEWHERE) == ["theirs"]

    def test_many_scopes_share_the_space(self) -> None:
        echo = EchoIndex(40_000)
        for scope in range(1, 200):
            echo.note(call(prose(scope, 40), f"sess_{scope}", scope=scope))
        held = [scope for scope in range(1, 200) if echo.holds(scope, CALL)]
        assert 0 < len(held) <= 40
        assert held == list(range(200 - len(held), 200))

    def test_a_text_larger_than_the_share_of_a_scope(self) -> None:
        echo = EchoIndex(SCOPE_SHARE * 10_000)
        echo.note(call(prose(1, 1500)))
        assert found(echo, prose(1, 1500)) in ([], ["sess_1"])


class TestForgetting:
    def test_answered_calls(self) -> None:
        theirs = call(TASK, "other")
        mine = [call(TASK, number=1), call(AROUND, number=2)]
        echo = index(theirs, *mine, summary(TASK))
        echo.settled(mine[0].session)
        assert found(echo, AROUND) == []
        assert sorted((q.text.session.id, q.text.kind) for q in echo.quoted(SCOPE, TASK)) == [
            ("other", CALL),
            ("sess_1", SUMMARY),
        ]

    def test_only_the_newest_summary_of_a_session_is_kept(self) -> None:
        echo = index(summary(TASK), summary(TASK, "other"), summary(AROUND))
        assert found(echo, TASK) == ["other"]
        assert found(echo, AROUND) == ["sess_1"]

    def test_what_is_held(self) -> None:
        echo = index(call(TASK))
        assert (echo.holds(SCOPE, CALL), echo.holds(SCOPE, SUMMARY)) == (True, False)
        assert not echo.holds(ELSEWHERE, CALL)
        echo.note(summary(AROUND))
        assert echo.holds(SCOPE, SUMMARY)
        echo.settled(session())
        assert (echo.holds(SCOPE, CALL), echo.holds(SCOPE, SUMMARY)) == (False, True)

    def test_settling_twice_or_nothing(self) -> None:
        echo = index(call(TASK, "other"))
        echo.settled(session())
        echo.settled(session("other"))
        echo.settled(session("other"))
        assert not echo.holds(SCOPE, CALL)
        echo.note(call(TASK))
        assert found(echo, TASK) == ["sess_1"]

    def test_texts_that_fell_out_settle_without_harm(self) -> None:
        echo = EchoIndex(40_000)
        for number in range(200):
            echo.note(call(prose(number, 40), f"sess_{number % 7}", number=number))
        for number in range(7):
            echo.settled(session(f"sess_{number}"))
        assert not echo.holds(SCOPE, CALL)
        assert all(echo.quoted(SCOPE, prose(number, 40)) == [] for number in range(200))

    def test_a_summary_that_fell_out_is_not_held(self) -> None:
        echo = index(summary(AROUND, "other"), kept_bytes=40_000)
        for number in range(100):
            echo.note(call(prose(number, 40), number=number))
        assert (echo.holds(SCOPE, CALL), echo.holds(SCOPE, SUMMARY)) == (True, False)

    def test_settled_calls_do_not_stand_in_the_way_of_a_later_one(self) -> None:
        echo = EchoIndex()
        for number in range(MOST_QUOTED + 8):
            echo.note(call(TASK, f"sess_{number}"))
            echo.settled(session(f"sess_{number}"))
        echo.note(call(TASK, "later"))
        assert found(echo, TASK) == ["later"]

    def test_a_call_noted_again_is_there_once(self) -> None:
        echo = index(call(TASK), call(TASK))
        assert found(echo, TASK) == ["sess_1"]
        echo.settled(session())
        assert not echo.holds(SCOPE, CALL)


class TestFingerprints:
    def test_some_at_each_end(self) -> None:
        text = prose(1, 400)
        marks = fingerprints(text, SCOPE)
        assert len(set(marks)) == 2 * PER_END
        assert set(fingerprints(text[:300], SCOPE)) & set(marks)
        assert set(fingerprints(text[-300:], SCOPE)) & set(marks)

    def test_a_place_depends_on_the_text_alone(self) -> None:
        text = prose(1, 400)
        many = len(text)
        inside = set(fingerprints(text, SCOPE, many))
        assert inside <= set(fingerprints(prose(2, 50) + text + prose(3, 50), SCOPE, many))

    def test_of_summaries_there_are_more(self) -> None:
        text = prose(1, 3000)
        assert len(summary(text).marks) == 2 * PER_SUMMARY
        assert len(call(text).marks) == 2 * PER_END

    def test_scopes_have_their_own(self) -> None:
        assert not set(fingerprints(TASK, SCOPE)) & set(fingerprints(TASK, ELSEWHERE))

    @pytest.mark.parametrize("text", [b"", b"a", b"b" * 100])
    def test_a_text_without_has_one_for_the_whole(self, text: bytes) -> None:
        assert len(fingerprints(text, SCOPE)) == 1
        assert fingerprints(text, SCOPE) != fingerprints(text + b"b", SCOPE)


class TestFromElsewhere:
    def test_it_takes_the_place_of_what_was_known(self) -> None:
        echo = index(call(TASK), summary(AROUND))
        other = call(prose(1, 40), number=1)
        echo.put(session(), [other])
        assert echo.of(session()) == [other]
        assert (found(echo, TASK), found(echo, AROUND)) == ([], [])
        assert found(echo, prose(1, 40)) == ["sess_1"]
        assert echo.holds(SCOPE, CALL)
        assert not echo.holds(SCOPE, SUMMARY)

    def test_the_summary_comes_last(self) -> None:
        echo = index(summary(AROUND), call(TASK))
        assert [text.kind for text in echo.of(session())] == [CALL, SUMMARY]
        echo.forget(session())
        assert echo.of(session()) == []

    def test_owners_are_those_whose_texts_are_asked_for(self) -> None:
        echo = index(call(TASK), call(prose(1, 40), "sess_2"))
        assert echo.owners(marks_asked(SCOPE, AROUND + TASK)) == {"sess_1"}
        assert echo.owners(marks_asked(ELSEWHERE, TASK)) == set()

    def test_a_whole_quotation_has_the_first_and_the_last_fingerprint(self) -> None:
        for seed in range(20):
            text = call(prose(seed, 60))
            asked = marks_asked(SCOPE, AROUND + text.folded + AROUND)
            assert {text.marks[0], text.marks[-1]} <= asked
