from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest

from gateway_sessions.conversation import (
    ASSISTANT,
    USER,
    Media,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway_sessions.detection.canonical import (
    LONGEST_COMPOSED,
    digest_messages,
    digest_parts,
    fold_text,
    fold_texts,
    join_messages,
    text_key,
)


def links(*parts: Part) -> bytes:
    return digest_parts(USER, parts).links


def call(arguments: Any, name: str = "f", call_id: str = "") -> ToolCall:
    return ToolCall(call_id, name, arguments)


def result(*parts: Text | Media, call_id: str = "") -> ToolResult:
    return ToolResult(call_id, parts)


class TestText:
    @pytest.mark.parametrize(
        "written",
        [" hi there", "hi\nthere\n", "hi\r\nthere", "hi\tthere", "hi\x0b\x0cthere", "hi  there"],
    )
    def test_white_space_and_line_ends_do_not_count(self, written: str) -> None:
        assert links(Text(written)) == links(Text("hi there"))

    def test_composed_and_decomposed_letters_are_equal(self) -> None:
        composed = "Crème brûlée für Zoë, 한국어"
        decomposed = unicodedata.normalize("NFD", composed)
        assert decomposed != composed
        assert links(Text(decomposed)) == links(Text(composed))

    def test_a_string_is_the_same_as_blocks(self) -> None:
        whole = links(Text("one two three"))
        assert links(Text("one"), Text(" two "), Text("three")) == whole
        assert links(Text(""), Text("one two three"), Text("  ")) == whole

    def test_a_letter_and_its_accent_in_two_blocks_are_one_letter(self) -> None:
        assert links(Text("cafe"), Text("\u0301!")) == links(Text("café!"))

    @pytest.mark.parametrize("other", ["Hi there", "hi there!", "hi thère", "there hi", "hi ther"])
    def test_other_words_are_other_links(self, other: str) -> None:
        assert links(Text(other)) != links(Text("hi there"))

    @pytest.mark.parametrize("silent", [(), (Text(""),), (Text(" \r\n"),), (Thinking("hm"),)])
    def test_what_says_nothing_has_no_link(self, silent: tuple[Part, ...]) -> None:
        digested = digest_parts(USER, silent)
        assert (digested.links, digested.weight) == (b"", 0)
        assert not digested.opens_with_text
        assert not digested.ends_with_text

    def test_lone_surrogates_are_text_too(self) -> None:
        assert links(Text("\ud800")) != links(Text("\ud801"))

    def test_fold_text_gives_utf8_without_white_space(self) -> None:
        assert fold_text(" e\u0301 \n x ") == "éx".encode()


class TestReasoning:
    def test_it_is_left_out_wherever_it_stands(self) -> None:
        said = (Text("a"), call({}))
        whole = links(*said)
        assert links(Thinking("hm"), *said) == whole
        assert links(said[0], Thinking("hm"), said[1]) == whole
        assert links(*said, Thinking("hm")) == whole

    def test_texts_around_it_are_adjacent(self) -> None:
        assert links(Text("a"), Thinking("hm"), Text("b")) == links(Text("ab"))


class TestToolCalls:
    def test_key_order_does_not_count(self) -> None:
        one = call({"a": 1, "b": {"x": [1, 2], "y": None}})
        other = call({"b": {"y": None, "x": [1, 2]}, "a": 1})
        assert links(one) == links(other)

    def test_composed_and_decomposed_keys_sort_alike(self) -> None:
        keys = {"é": 1, "f": 2}
        decomposed = {unicodedata.normalize("NFD", key): value for key, value in keys.items()}
        assert links(call(decomposed)) == links(call(keys))

    def test_numbers_are_equal_however_a_serialiser_writes_them(self) -> None:
        # JavaScript writes 1.0 as 1 and 1e3 as 1000.
        assert links(call({"x": 1.0, "y": 1e3})) == links(call({"x": 1, "y": 1000}))

    @pytest.mark.parametrize(
        "other", [call({"a": 2}), call({"b": 1}), call({}), call({"a": 1}, "g"), call({"a": "1"})]
    )
    def test_name_and_arguments_count(self, other: ToolCall) -> None:
        assert links(other) != links(call({"a": 1}))

    def test_order_within_lists_counts(self) -> None:
        assert links(call([1, 2])) != links(call([2, 1]))

    def test_the_id_is_kept_apart(self) -> None:
        one, other = call({}, call_id="call_1"), call({}, call_id="call_2")
        assert links(one) == links(other)
        assert digest_parts(ASSISTANT, (one, other)).call_ids == ("call_1", "call_2")

    @pytest.mark.parametrize("arguments", [{"n": 10**30}, 2**64, {"deep": [[[10**40]]]}])
    def test_integers_beyond_64_bits(self, arguments: Any) -> None:
        assert links(call(arguments)) == links(call(arguments))
        assert links(call(arguments)) != links(call({"n": 10**30 + 1}))

    def test_nesting_beyond_the_stack(self) -> None:
        deep: Any = []
        for _ in range(900):
            deep = [deep]
        assert links(call(deep)) == links(call(deep)) != links(call([]))

    def test_name_and_arguments_can_not_run_into_each_other(self) -> None:
        assert links(call("x\0y", "f")) != links(call("y", "f\0x"))
        assert links(call("bc", "a")) != links(call("c", "ab"))


class TestToolResults:
    def test_the_content_counts_and_folds_as_text(self) -> None:
        assert links(result(Text("it  rains"))) == links(result(Text("it"), Text(" rains\n")))
        assert links(result(Text("it rains"))) != links(result(Text("it snows")))

    def test_the_id_is_kept_apart(self) -> None:
        answered = digest_parts(USER, (result(Text("a"), call_id="call_1"),))
        assert answered.links == links(result(Text("a"), call_id="call_2"))
        assert answered.call_ids == ("call_1",)

    def test_media_in_it_count(self) -> None:
        assert links(result(Media("AAAA"))) != links(result(Media("BBBB")))
        assert links(result(Media("AAAA"))) != links(result())

    def test_text_and_media_can_not_run_into_each_other(self) -> None:
        both = links(result(Text("a"), Media("b")))
        assert both not in {links(result(Text("a\0b"))), links(result(Text("ab")))}
        assert both != links(result(Text("a\0"), Media("b")))
        assert links(result(Media("a"), Media("b"))) != links(result(Media("ab")))

    def test_it_stands_between_texts(self) -> None:
        assert links(Text("a"), result(), Text("b")) != links(Text("ab"), result())


def test_kinds_of_parts_never_meet() -> None:
    parts: list[Part] = [Text("x"), Media("x"), call("x", "x"), result(Text("x")), call("", "x")]
    parts += [Text("mx"), Text("rx"), Text("r1:x"), Text("cx"), Text("c1:xx"), Media("r1:x")]
    assert len({links(part) for part in parts}) == len(parts)


def test_media_are_told_apart_by_their_reference() -> None:
    assert links(Media("https://x.example/1.png")) != links(Media("https://x.example/2.png"))


def test_the_order_of_parts_counts() -> None:
    picture = Media("AAAA")
    assert links(Text("a"), picture) != links(picture, Text("a"))


def test_one_link_of_sixteen_bytes_for_each_run_of_text_and_each_other_part() -> None:
    parts = (Text("a"), Text("b"), Media("AAAA"), Text("c"), call({}), Text("d"))
    assert len(links(*parts)) == 16 * 5


@pytest.mark.parametrize(
    ("parts", "edges"),
    [
        ((Text("a"),), (True, True)),
        ((Text("a"), Media("m")), (True, False)),
        ((Media("m"), Text("a")), (False, True)),
        ((Media("m"),), (False, False)),
        ((Text("a"), Media("m"), Text("b")), (True, True)),
        ((Thinking("t"), Text("a"), Text(" ")), (True, True)),
        ((Text(" "), Media("m"), Text("\n")), (False, False)),
        ((Media("m"), Text("a"), Media("m")), (False, False)),
    ],
)
def test_edges(parts: tuple[Part, ...], edges: tuple[bool, bool]) -> None:
    digested = digest_parts(USER, parts)
    assert (digested.opens_with_text, digested.ends_with_text) == edges


def test_the_weight_is_the_bytes_of_canonical_text() -> None:
    assert digest_parts(USER, (Text("é  é"),)).weight == 4
    heavy = digest_parts(USER, (Text("ab"), Media("x" * 100), Text("cd")))
    assert 104 <= heavy.weight <= 110


def test_joined_messages_are_as_one() -> None:
    one, other = (Text("a"), Media("m"), Text("b")), (Text("c"), call({}))
    joined = join_messages([Message(USER, one), Message(USER, other)])
    assert joined == digest_parts(USER, one + other)


def test_a_text_key_depends_on_text_and_seed() -> None:
    keys = {text_key("a", 1), text_key("b", 1), text_key("a", 2), text_key("\ud800", 1)}
    assert len(keys) == 4
    assert text_key("a", 1) in keys
    assert all(0 < key < 2**64 for key in keys)


def is_mark(letter: str) -> bool:
    """Whether a letter has nothing in it but marks that go with another letter."""
    return all(unicodedata.combining(part) for part in unicodedata.normalize("NFD", letter))


class TestRowsOfMarks:
    """Text is composed, but for rows of marks so long that to order them would take for ever."""

    ROWS = ("\u0301\u0316", "\u094d\u093c", "\u0f81", "\u0344\u0316", "\U00011100\U00011133")

    @pytest.mark.parametrize("row", ROWS)
    @pytest.mark.parametrize("before", ["a", "a" * 7 + "\n", "é" * 1000])
    def test_up_to_thirty_are_put_in_order(self, row: str, before: str) -> None:
        text = before + (row * 30)[:30] + "z"
        composed = unicodedata.normalize("NFC", text)
        assert fold_text(text) == composed.replace("\n", "").encode()

    @pytest.mark.parametrize("row", ROWS)
    def test_so_they_are_equal_in_any_order(self, row: str) -> None:
        text = "é" * 1000 + (row * 14)[:14]
        assert fold_text(text) == fold_text(unicodedata.normalize("NFD", text))

    @pytest.mark.parametrize("row", ROWS)
    @pytest.mark.parametrize("before", range(12))
    def test_longer_ones_are_left_as_they_are(self, row: str, before: int) -> None:
        text = "e\u0301" + "a" * before + (row * 31)[:31]
        assert fold_text(text) == text.encode()

    def test_every_mark_that_there_is_counts(self) -> None:
        letters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
        marks = [letter for letter in letters if is_mark(letter)]
        assert len(marks) > 800
        for letter in marks:
            text = "e\u0301" + letter * 31
            assert fold_text(text) == text.encode(), hex(ord(letter))


class TestLongTexts:
    """What is longer than people write is taken as it is composed."""

    LONG = "e\u0301" * (LONGEST_COMPOSED // 2)

    def test_up_to_the_bound_it_is_composed(self) -> None:
        assert fold_text(self.LONG) == ("é" * (LONGEST_COMPOSED // 2)).encode()

    def test_beyond_it_is_not(self) -> None:
        assert fold_text(self.LONG + "e") == (self.LONG + "e").encode()
        assert fold_text(f"{self.LONG} \n!") == f"{self.LONG}!".encode()

    def test_its_neighbours_are(self) -> None:
        texts = ["e\u0301", self.LONG + "e", "u\u0308"]
        assert fold_texts(texts) == [fold_text(text) for text in texts]
        assert fold_texts(texts)[2] == "ü".encode()


class TestMany:
    """Many texts at once give what each gives by itself."""

    @pytest.mark.parametrize(
        "texts",
        [
            [],
            [""],
            ["", ""],
            ["a b", "", "c\n"],
            ["e", "\u0301x", "é"],
            ["nul\0nul", "a"],
            ["\0", ""],
            ["\ud800", "\udc00"],
            ["e\u0301", "a" + "\u0301" * 40],
        ],
    )
    def test_texts(self, texts: list[str]) -> None:
        assert fold_texts(texts) == [fold_text(text) for text in texts]

    def test_messages(self) -> None:
        parts: list[tuple[Part, ...]] = [
            (), (Text("hi"),), (Text(""),), (Thinking("hm"),), (Text("a"), Text("b")),
            (call({"a": 1}, "f", "id"),), (result(Text("x")),), (Text("e\u0301"),), (Text(" \n"),),
        ]  # fmt: skip
        messages = [Message(role, said) for said in parts for role in (USER, ASSISTANT)]
        expected = [digest_parts(message.role, message.parts) for message in messages]
        assert digest_messages(messages) == expected
        assert digest_messages(messages[:3]) == expected[:3]
