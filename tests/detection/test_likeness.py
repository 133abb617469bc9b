"""What is an alteration of a text, and what is another text."""

from __future__ import annotations

import time

import pytest

from gateway_sessions.detection.likeness import CLIENT, MODEL, Likeness, compare, words

ORDER = "Hello, my name is John Smith and I would like to move my order 4711 to a later day."


def likeness(ours: str, theirs: str, least: float = 0.0) -> Likeness | None:
    """Compare what a client has said, and said again."""
    return compare([CLIENT, *words(ours)], [CLIENT, *words(theirs)], least)


def contradicts(ours: str, theirs: str) -> bool:
    found = likeness(ours, theirs)
    assert found is not None
    return found.contradicts


class TestWords:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("Hello, world!", ["Hello", "world"]),
            ("“Don’t” – 'go'…", ["Don't", "go"]),
            ("1,500.25 EUR", ["1,500.25", "EUR"]),
            ("2 + 2 = -4", ["2", "+", "2", "=", "-", "4"]),
            ("well-known", ["well", "known"]),
            ("你好", ["你", "好"]),
            ("[NAME] <EMAIL_1> **** XXXX", ["[NAME]", "<EMAIL_1>", "****", "XXXX"]),
            (" \n", []),
        ],
    )
    def test_what_counts(self, text: str, found: list[str]) -> None:
        assert words(text) == found

    @pytest.mark.parametrize(
        "stamp",
        [
            "2026-01-20 10:30",
            "2026-01-20T10:30:05.123Z",
            "20.1.2026, 10:30",
            "1/20/2026 10:30 PM",
            "[10:30]",
            "(10:30:05)",
            "[2026-01-20]",
            "Tue Jan 20 10:30:05 2026",
            "20 January 2026 at 10:30",
            "10:30 UTC on Jan 20",
        ],
    )
    def test_a_stamp_of_time_does_not(self, stamp: str) -> None:
        assert words(f"Look {stamp} here") == ["Look", "here"]

    def test_a_time_at_the_start_of_a_line_is_a_stamp(self) -> None:
        assert words("10:30 hi\n10:31: there") == ["hi", "there"]

    @pytest.mark.parametrize(
        "text", ["a table for 19:00", "on 2026-01-20 please", "score 3:15 now"]
    )
    def test_a_time_within_a_sentence_is_content(self, text: str) -> None:
        assert len(words(text)) >= len(text.split())


class TestAlterations:
    @pytest.mark.parametrize(
        "altered",
        [
            ORDER.upper(),
            ORDER.replace(",", " –").replace(".", " !"),
            f"[2026-01-20 10:30] {ORDER}",
            ORDER.replace("John Smith", "[NAME]"),
            ORDER.replace("John Smith", "****").replace("4711", "<ORDER_1>"),
            ORDER.replace("John Smith", "J*** Smith"),
            ORDER.replace("would", "woudl").replace("later", "latter"),
            ORDER.replace("would like", "wouldlike"),
            ORDER.replace(" and", ""),
            f"{ORDER} Thanks a lot.",
        ],
        ids=["case", "punctuation", "stamp", "mask", "masks", "half", "slips", "joined", "less",
             "more"],
    )  # fmt: skip
    @pytest.mark.parametrize("back", [False, True])
    def test_it_may_be_the_same(self, altered: str, back: bool) -> None:
        pair = (altered, ORDER) if back else (ORDER, altered)
        assert not contradicts(*pair)

    @pytest.mark.parametrize(
        "other",
        [
            ORDER.replace("John Smith", "Mary Jones"),
            ORDER.replace("Smith", "Smyth"),
            ORDER.replace("John", "Joan"),
            ORDER.replace("4711", "4712"),
            ORDER.replace("4711", "471 1"),
            ORDER.replace("later", "earlier"),
            ORDER.replace("later", "lager"),
            ORDER.replace("a later", "an older"),
            ORDER.replace("move my", "cancel the"),
            ORDER.replace("John ", "").replace("order", "big order"),
            ORDER.replace("John Smith", "[NAME]").replace("later", "earlier"),
        ],
        ids=["name", "one letter of a name", "given name", "number", "number taken apart", "word",
             "one letter for another", "an article and a word",
             "words", "less here and more there", "a mask and a word"],
    )  # fmt: skip
    @pytest.mark.parametrize("back", [False, True])
    def test_it_is_another(self, other: str, back: bool) -> None:
        pair = (other, ORDER) if back else (ORDER, other)
        assert contradicts(*pair)

    def test_two_masks_tell_nothing(self) -> None:
        masked = ORDER.replace("John Smith", "[NAME]")
        assert contradicts(masked, ORDER.replace("John Smith", "[CITY]"))

    def test_a_mask_stands_for_no_whole_message(self) -> None:
        assert contradicts(f"I say {ORDER} So it is.", "I say [TEXT] So it is.")

    def test_what_one_message_lacks_another_may_have_more(self) -> None:
        ours = [CLIENT, *words("Say hello to Anna."), MODEL, *words("Hello, Anna!")]
        theirs = [CLIENT, *words("Say hello."), MODEL, *words("Hello, dear Anna!")]
        found = compare(ours, theirs, 0.0)
        assert found is not None
        assert not found.contradicts

    def test_a_word_of_one_side_is_none_of_the_others(self) -> None:
        found = compare([CLIENT, "hi", MODEL], [MODEL, "hi", CLIENT], 0.0)
        assert found is not None
        assert found.similarity < 0.5


class TestSimilarity:
    def test_unrelated_texts_of_the_same_letters_are_not_alike(self) -> None:
        other = "The weather in the mountains has been rather mild, and the old mill is closed."
        found = likeness(ORDER, other)
        assert found is None or found.similarity < 0.4

    def test_the_order_of_words_counts(self) -> None:
        found = likeness("one two three four", "four three two one")
        assert found is not None
        assert found.similarity < 0.7

    def test_it_is_the_share_of_words_in_common(self) -> None:
        found = likeness("one two three", "one two three four five six")
        assert found is not None
        assert found.similarity == pytest.approx(2 * 4 / 11)  # with the opening of either side
        assert found.agreeing == len("onetwothree")

    def test_less_than_asked_for_is_nothing(self) -> None:
        assert likeness("one two three", "one five six", 0.8) is None

    def test_nothing_is_like_nothing(self) -> None:
        assert compare([], ["a"], 0.0) is None


@pytest.mark.parametrize(
    "piece", ["[A", "<{[AAAA AAAA", "12:30:00 ", "1:23:45.", "Monday, Jan 12, 2020 ", "a'", "*",
              "2020-01-01T", "\n 12:00", "Jan 1 "],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    text = (piece * 4096)[:4096]
    began = time.process_time()
    words(text)
    assert time.process_time() - began < 0.1
