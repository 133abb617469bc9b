from __future__ import annotations

import re
from random import Random

import pytest

from gateway_sessions.detection.phrases import ResetPhrases, ends
from gateway_sessions.detection.settings import RESET_PHRASES

PHRASES = ResetPhrases(RESET_PHRASES)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("start over", "start over"),
        ("Start over.", "start over"),
        ("START  OVER!!! please", "start over"),
        ("  start\nover, and tell me a joke", "start over"),
        ("“Start over”", "start over"),
        ("*start over*", "start over"),
        ("start-over", "start over"),
        ("start_over", "start over"),
        ("New conversation: what is a monad?", "new conversation"),
        ("clear chat", "clear chat"),
    ],
)
def test_at_the_start_whatever_its_case_and_punctuation(text: str, phrase: str) -> None:
    assert PHRASES.match(text) == phrase


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "...",
        "is that clear?",
        "Do I have to start over?",
        "So shall I start over?",
        "can you clear chat",
        "clear",
        "clear chatter",
        "start overnight delivery",
        "starting over",
        "restart over",
        "start to over",
        "cleared chat",
        "The new conversation starts tomorrow",
        "a" * 300 + " start over",
    ],
)
def test_nothing_else(text: str) -> None:
    assert PHRASES.match(text) is None


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("Von vorn!", "von VORN, bitte"),
        ("新しい会話", "新しい会話、お願いします"),
        ("Straße frei", "STRASSE FREI"),
        ("İptal et", "İptal et, lütfen"),
        ("ßtart", "ßtart"),
        ("Éteins tout", "éteins tout"),
        ("/reset", "/reset"),
        ("42", "42!"),
    ],
)
def test_phrases_of_the_users_own(phrase: str, text: str) -> None:
    phrases = ResetPhrases([phrase])
    assert phrases.match(text)
    assert not phrases.match("start over")


@pytest.mark.parametrize("phrases", [[], [""], ["  "], ["..."]])
def test_phrases_without_words_match_nothing(phrases: list[str]) -> None:
    for text in ("", " ", "...", "hi", "start over"):
        assert ResetPhrases(phrases).match(text) is None


def test_white_space_before_the_phrase_does_not_count() -> None:
    assert PHRASES.match("\n" * 500 + "start over") == "start over"


def test_a_long_phrase() -> None:
    phrase = "please forget everything that was said here " * 8
    assert ResetPhrases([phrase]).match(phrase + "now")
    assert not ResetPhrases([phrase]).match(phrase.replace("here", "there"))


def test_a_long_text_is_not_searched() -> None:
    assert PHRASES.match("start over " + "x" * 10_000_000) == "start over"


class TestSeveralTexts:
    def test_any_of_them_may_begin_with_a_phrase(self) -> None:
        assert PHRASES.begins(["a reminder", "Start over."]) == "start over"
        assert PHRASES.begins(["a reminder", "So start over."]) is None
        assert PHRASES.begins([]) is None

    @pytest.mark.parametrize("place", [0, -1])
    def test_of_very_many_the_first_and_the_last_are_looked_at(self, place: int) -> None:
        texts = ["a"] * 100_000
        texts[place] = "start over"
        assert PHRASES.begins(texts) == "start over"
        assert len(ends(texts)) < 200

    def test_few_are_all_looked_at(self) -> None:
        texts = [str(number) for number in range(100)]
        assert ends(texts) == texts


@pytest.mark.parametrize("seed", range(10))
def test_the_quick_look_overlooks_nothing(seed: int) -> None:
    """A text begins with a phrase if it does so once punctuation and case are gone."""
    rng = Random(seed)

    def some(most: int) -> str:
        return "".join(rng.choices("aAb1ßİ. _-\n", k=rng.randrange(most)))

    def words(text: str) -> str:
        return re.sub(r"[\W_]+", " ", text.casefold()).strip() + " "

    for _ in range(1000):
        phrase, text = some(4), some(7)
        begins = bool(words(phrase).strip()) and words(text).startswith(words(phrase))
        assert bool(ResetPhrases([phrase]).match(text)) == begins, (phrase, text)
