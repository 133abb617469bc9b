"""Which result belongs to which call, each once, in bounded memory."""

from __future__ import annotations

import pytest

from gateway_sessions.analysis.facts import Call, Result
from gateway_sessions.analysis.toolbook import SEEN_LIMIT, WAITING_LIMIT, ToolBook


def call(identity: str = "c1", name: str = "f") -> Call:
    return Call(identity, name, b"{}")


def result(identity: str = "c1", name: str = "") -> Result:
    return Result(identity, name, 2, "42", None)


def test_a_result_finds_its_call_once() -> None:
    book = ToolBook()
    (made,) = book.made([call()], 5.0, "req_1")
    assert (made.id, made.first) == ("c1", True)
    found = book.answered(result())
    assert found is not None
    assert (found.id, found.name, found.size, found.at) == ("c1", "f", 2, 5.0)
    assert book.answered(result()) is None
    assert book.is_known("c1")


def test_ids_that_come_again_are_told_apart() -> None:
    book = ToolBook()
    ids = []
    for number in range(3):
        (made,) = book.made([call("call_0")], 5.0 + number, f"req_{number}")
        found = book.answered(result("call_0"))
        assert found is not None
        ids.append((made.id, found.id, found.at))
    assert ids == [
        ("call_0", "call_0", 5.0),
        ("call_0#req_1", "call_0#req_1", 6.0),
        ("call_0#req_2", "call_0#req_2", 7.0),
    ]


def test_an_id_that_still_waits_goes_to_the_newest_call() -> None:
    book = ToolBook()
    book.made([call("a", "old")], 5.0, "req_1")
    book.made([call("a", "new")], 6.0, "req_2")
    found = book.answered(result("a"))
    assert found is not None
    assert (found.id, found.name) == ("a#req_2", "new")
    assert book.answered(result("a")) is None


def test_results_without_ids_go_by_name_and_order() -> None:
    book = ToolBook()
    made = book.made([call("", "f"), call("", "g"), call("", "f")], 5.0, "req_1")
    assert [each.id for each in made] == ["req_1#0", "req_1#1", "req_1#2"]
    found = [book.answered(result("", name)) for name in ("g", "f", "f", "f")]
    assert [waiting and waiting.id for waiting in found] == ["req_1#1", "req_1#0", "req_1#2", None]


def test_results_without_ids_and_names_go_by_order() -> None:
    book = ToolBook()
    book.made([call("", "f"), call("", "g")], 5.0, "req_1")
    found = [book.answered(result("")) for _ in range(3)]
    assert [waiting and waiting.name for waiting in found] == ["f", "g", None]


def test_calls_without_ids_are_given_up_for_newer_ones() -> None:
    book = ToolBook()
    book.made([call("", "old")], 5.0, "req_1")
    book.made([], 5.5, "req_2")
    book.made([call("", "new")], 6.0, "req_3")
    found = book.answered(result(""))
    assert found is not None
    assert found.name == "new"


def test_a_call_after_its_result_is_the_same_call() -> None:
    book = ToolBook()
    assert book.answered(result()) is None
    book.unseen("c1")
    (made,) = book.made([call()], 5.0, "req_1")
    assert (made.id, made.first) == ("c1", False)
    assert book.answered(result()) is None
    (again,) = book.made([call()], 6.0, "req_2")
    assert (again.id, again.first) == ("c1#req_2", True)


def test_calls_and_ids_are_bounded() -> None:
    book = ToolBook()
    for number in range(3 * WAITING_LIMIT):
        book.made([call(f"c{number}")], 5.0, "req_1")
    assert len(book._waiting) == WAITING_LIMIT
    assert book.answered(result("c0")) is None
    assert book.answered(result(f"c{3 * WAITING_LIMIT - 1}")) is not None
    book.made([call("")] * 3 * WAITING_LIMIT, 5.0, "req_1")
    assert len(book._nameless) == WAITING_LIMIT
    for number in range(3 * SEEN_LIMIT):
        book.unseen(f"s{number}")
    assert len(book._seen) == SEEN_LIMIT


@pytest.mark.parametrize("identity", ["x" * 10_000, "\ud800" * 1000])
def test_long_ids_are_kept_as_digests(identity: str) -> None:
    book = ToolBook()
    book.made([call(identity)], 5.0, "req_1")
    assert max(map(len, book._waiting)) < 128
    found = book.answered(result(identity))
    assert found is not None
    assert found.id == identity
    assert book.is_known(identity)
