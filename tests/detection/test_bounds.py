from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from msgspec import Raw

from gateway_sessions.conversation import ASSISTANT, USER, Message, Part, Text, ToolCall
from gateway_sessions.detection.bounds import (
    AT_ONCE,
    COMPOSED,
    PART,
    PRECISE,
    PRECISE_STEP,
    SMALL,
    Budget,
    apart,
    composing,
    is_large,
    parts_of,
    pieces,
    plain_parts,
)
from gateway_sessions.detection.canonical import digest_parts
from gateway_sessions.testing import assistant, tool_call, user

CALL = ToolCall("c", "f", {"a": 1})
APART = "e\u0301"


def raw(message: Any, *, escaped: bool = False) -> Raw:
    return Raw(json.dumps(message, ensure_ascii=escaped).encode())


def test_where_a_history_is_cut_moves_in_steps() -> None:
    raws = [Raw(b"%d" % n) for n in range(5 * PRECISE_STEP)]
    cuts = set()
    for length in range(2 * PRECISE_STEP, 3 * PRECISE_STEP):
        oldest, others = apart(raws[:length], PRECISE_STEP)
        assert [*oldest, *others] == raws[:length]
        assert PRECISE_STEP <= len(others) < 2 * PRECISE_STEP
        cuts.add(len(oldest))
    assert cuts == {PRECISE_STEP}
    assert apart(raws[:PRECISE_STEP], PRECISE_STEP)[0] == []


RAWS = [Raw(b"x" * (n * 7919 % 3000)) for n in range(3 * AT_ONCE)]


class TestPieces:
    def test_they_are_all_messages_from_the_newest(self) -> None:
        found = list(pieces(RAWS))
        assert found[0][1] == len(RAWS)
        assert found[-1][0] == 0
        assert all(newer[0] == older[1] for newer, older in pairwise(found))
        assert all(0 < end - start <= AT_ONCE for start, end in found)
        assert max(sum(map(len, RAWS[start : end - 1])) for start, end in found) < 1 << 15

    def test_they_stay_where_they_are_when_a_history_grows(self) -> None:
        whole = {start for start, _ in pieces(RAWS)}
        for length in range(1, len(RAWS)):
            some = {start for start, _ in pieces(RAWS[:length])}
            assert some == {start for start in whole if start < length}

    def test_small_messages_are_read_many_at_a_time(self) -> None:
        assert list(pieces([Raw(b"1")] * AT_ONCE)) == [(0, AT_ONCE)]
        assert list(pieces([])) == []


class TestComposing:
    @pytest.mark.parametrize("escaped", [False, True])
    @pytest.mark.parametrize(
        "text", ["words", "één woord", "Tiếng Việt", "한국어", "नमस्ते", "“x” →"]
    )
    def test_what_is_composed_takes_nothing(self, text: str, escaped: bool) -> None:
        assert composing(raw(user(text * 1000), escaped=escaped)) == 0

    @pytest.mark.parametrize("escaped", [False, True])
    @pytest.mark.parametrize(
        "text",
        [APART, unicodedata.normalize("NFD", "한국어"), "क\u093c", "\u212b", "\u0316\u0301"],
    )
    def test_what_is_not_counts_by_its_length(self, text: str, escaped: bool) -> None:
        for said in (text * 1000, "x" * 5000 + text * 1000):
            found = composing(raw(user(said), escaped=escaped))
            assert len(said) <= found < len(said) + 100

    def test_arguments_may_be_escaped_twice(self) -> None:
        assert composing(raw(tool_call("c", "f", {"x": APART * 100}), escaped=True)) >= 100

    def test_what_can_not_be_read_takes_its_length(self) -> None:
        assert composing(Raw(b'"\\ud800 \\u00"')) == 13


class TestBudget:
    def test_it_ends_with_composing(self) -> None:
        budget, said = Budget(), raw(user(APART * 1000))
        read = 0
        while budget.compose([said]):
            read += 2000
        assert COMPOSED - 4000 < read <= COMPOSED
        assert not budget.is_left
        assert not budget.compose([raw(user("hi"))])

    def test_what_is_composed_is_not_counted(self) -> None:
        budget = Budget()
        assert all(budget.compose([raw(user("한국어" * 1000))]) for _ in range(100))

    def test_it_ends_with_parts(self) -> None:
        budget = Budget()
        budget.read(PRECISE)
        assert budget.is_left
        budget.read(PRECISE_STEP)
        assert not budget.is_left


def test_parts_that_are_no_text_count_more() -> None:
    text = Text("hi")
    cases: list[tuple[tuple[Part, ...], int]]
    cases = [((), 1), ((text,), 1), ((CALL,), PART), ((text, CALL, CALL), 1 + 2 * PART)]
    for parts, work in cases:
        assert plain_parts([digest_parts(ASSISTANT, parts)]) == work
        assert parts_of([Message(ASSISTANT, parts)]) == max(1, PART * parts.count(CALL))
    assert plain_parts([digest_parts(USER, (text,))] * 3) == 3


def test_messages_are_large_by_their_bytes() -> None:
    few = raw(assistant("x" * (SMALL // 4)))
    assert not is_large([few] * 3)
    assert is_large([few] * 4)
