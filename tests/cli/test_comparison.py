"""Merges and splits are found whatever the ids; equal sessions that are over take no memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway_sessions.cli import comparison
from gateway_sessions.cli.comparison import WORDS, Case, Comparison, Said, first_words
from gateway_sessions.exchange import SessionTag
from gateway_sessions.exchange_log import LoggedExchange, LoggedRequest

START = datetime(2026, 1, 1, tzinfo=UTC)


def exchange(second: int, *messages: Any, path: str = "/v1/chat/completions") -> LoggedExchange:
    said = messages or ({"role": "user", "content": f"question {second}"},)
    body = msgspec.Raw(msgspec.json.encode({"messages": said}))
    request = LoggedRequest(path, body=body)
    return LoggedExchange(START + timedelta(seconds=second), request, request_id=f"r{second}")


def tag(name: str, **more: Any) -> SessionTag:
    fields: dict[str, Any] = {
        "session_id": name,
        "relation": "continue",
        "source": "prefix",
        "confidence": 1.0,
        "root_session_id": name,
        "reason": f"because of {name}",
    }
    return SessionTag(**(fields | more))


def compared(a: str, b: str, known: Comparison | None = None, start: int = 0) -> Comparison:
    """Compare two ways to put exchanges into sessions, a letter an exchange."""
    found = known or Comparison()
    for second, (one, other) in enumerate(zip(a, b, strict=True), start):
        found.add(exchange(second), tag(one), tag(other))
    return found


def shape(cases: list[Case]) -> list[tuple[str, int, list[tuple[tuple[str, str], int]]]]:
    return [
        (case.session_id, case.exchanges, [(p.sessions, p.exchanges) for p in case.parts])
        for case in cases
    ]


def test_equal_sessions_may_have_any_ids() -> None:
    found = compared("aabab", "xxyxy")
    assert (found.merged, found.split, found.moved, found.partings) == ([], [], 0, [])
    assert (found.sessions(0), found.sessions(1), found.exchanges) == (2, 2, 5)


def test_a_merge() -> None:
    found = compared("aabbbc", "xxxxxz")
    assert shape(found.merged) == [("x", 5, [(("a", "x"), 2), (("b", "x"), 3)])]
    assert (found.split, found.moved) == ([], 5)
    assert (found.sessions(0), found.sessions(1)) == (3, 2)
    assert found.partings == [
        ((_said("because of b"), _said("because of x")), 1),
    ]


def _said(reason: str) -> Said:
    return Said("continue", "prefix", reason)


def test_a_split() -> None:
    found = compared("aaaab", "xxyyz")
    assert shape(found.split) == [("a", 4, [(("a", "x"), 2), (("a", "y"), 2)])]
    assert (found.merged, found.moved) == ([], 4)


def test_one_exchange_that_changes_its_session_merges_and_splits() -> None:
    found = compared("aaabb", "xxyyy")
    assert [case.session_id for case in found.merged] == ["y"]
    assert [case.session_id for case in found.split] == ["a"]
    assert found.moved == 5
    assert sum(times for _, times in found.partings) == 2


def test_the_largest_come_first_then_the_earliest() -> None:
    found = compared("abcdefg" + "ac" + "g", "xxyyzzz" + "xy" + "w")
    assert [case.session_id for case in found.merged] == ["x", "y", "z"]
    assert [case.session_id for case in found.split] == ["g"]


def test_a_part_knows_its_time_and_its_beginning() -> None:
    part = compared("abaa", "xxxx").merged[0].parts[0]
    assert (part.began, part.ended) == (START, START + timedelta(seconds=3))
    assert (part.request_id, part.words) == ("r0", "question 0")


def test_exchanges_without_a_session_are_counted() -> None:
    found = Comparison()
    found.add(exchange(1), None, None)
    found.add(exchange(2), tag("a"), None)
    assert (found.without_session, found.exchanges, found.sessions(0)) == (2, 0, 0)


class TestMemory:
    def test_equal_sessions_that_are_over_are_only_counted(self) -> None:
        found = compared("aab", "xxy")
        found.ended(0, "a")
        assert len(found._parts) == 2
        found.ended(1, "x")
        assert len(found._parts) == 1
        assert (found.sessions(0), found.sessions(1), found.moved) == (2, 2, 0)

    def test_what_differs_is_kept(self) -> None:
        found = compared("abcc", "xxyz")
        for side, names in enumerate(("abc", "xyz")):
            for name in names:
                found.ended(side, name)
        assert [case.session_id for case in (*found.merged, *found.split)] == ["x", "c"]

    def test_a_session_that_is_over_on_one_side_can_still_be_split(self) -> None:
        found = compared("aa", "xx")
        found.ended(1, "x")
        compared("a", "y", found, start=2)
        found.ended(0, "a")
        found.ended(1, "y")
        assert [case.session_id for case in found.split] == ["a"]

    def test_sessions_that_clients_name_can_come_back(self) -> None:
        found = Comparison()
        found.add(exchange(1), tag("a", external_id="ticket"), tag("x"))
        found.ended(0, "a")
        found.ended(1, "x")
        found.add(exchange(2), tag("a"), tag("x"))
        assert (found.sessions(0), found.sessions(1), found.moved) == (1, 1, 0)

    def test_ends_of_unknown_sessions_do_not_matter(self) -> None:
        Comparison().ended(0, "never seen")

    def test_reasons_are_kept_once_and_not_without_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(comparison, "_REASONS", 10)
        found = compared("abcdefghijklmnop", "x" * 16)
        assert len(found._reasons) <= 10
        assert len(found.partings) == 15

    def test_a_long_log_leaves_little(self) -> None:
        found = Comparison()
        for number in range(3000):
            found.add(exchange(number), tag(f"a{number}"), tag(f"x{number}"))
            found.ended(0, f"a{number - 10}")
            found.ended(1, f"x{number - 20}")
        assert len(found._parts) <= 21
        assert (found.sessions(0), found.exchanges) == (3000, 3000)


class TestWords:
    def test_the_first_user_message_tells_a_conversation(self) -> None:
        said = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How  long\ndo I boil an egg?"},
            {"role": "user", "content": "Please."},
        ]
        assert first_words(exchange(1, *said)) == "How long do I boil an egg?"

    def test_long_messages_are_cut(self) -> None:
        words = first_words(exchange(1, {"role": "user", "content": "word " * 100}))
        assert len(words) == WORDS
        assert words.endswith("…")

    @pytest.mark.parametrize(
        "given",
        [
            exchange(1, {"role": "assistant", "content": "Hello!"}),
            exchange(1, path="/v1/embeddings"),
            exchange(1, {"role": "robot", "content": "x"}),
            exchange(1, {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}),
        ],
    )
    def test_there_may_be_none(self, given: LoggedExchange) -> None:
        assert first_words(given) == ""
