"""Where a session stands, and where its branches hang."""

from __future__ import annotations

import pytest

from gateway_sessions.analysis import agent_tree as t
from gateway_sessions.analysis import threads
from gateway_sessions.analysis.facts import Call
from gateway_sessions.analysis.threads import Thread, Try, ending


def thread(*histories: int) -> Thread:
    """Return a session whose loops began after so many messages, each after the one before."""
    made = Thread("s", agent_id="main")
    for history in histories:
        made.open(history, made.loop_id or None)
    return made


@pytest.mark.parametrize(
    ("relation", "kind", "trigger"),
    [
        ("continue", t.Default(), "user"),
        ("reset", t.Default(), "user"),
        ("regenerate", t.Rerun(tag="2"), "branch"),
        ("retry", t.Rerun(tag="2"), "branch"),
        ("compaction", t.Compaction(), "continuation"),
    ],
)
def test_how_a_loop_goes_on(relation: str, kind: t.ContinuationKind, trigger: str) -> None:
    made = thread(0, 2)
    assert made.continuation(relation, 4) == (kind, "s.main.1", trigger)


def test_the_first_loop_is_initial_whatever_the_relation() -> None:
    assert Thread("s").continuation("compaction", 0) == (t.Initial(), None, "user")


@pytest.mark.parametrize(("history", "loop"), [(0, 0), (2, 0), (3, 1), (5, 2), (9, 2)])
def test_a_branch_hangs_on_the_loop_in_which_its_history_ends(history: int, loop: int) -> None:
    made = thread(0, 2, 4)
    assert made.continuation("fork", history)[1] == f"s.main.{loop}"


def test_a_branch_of_a_branch_does_not_hang_on_what_it_left() -> None:
    made = thread(0, 2, 4)
    made.open(2, "s.main.0")  # it branches off before the loop of index 1
    assert made.continuation("fork", 2)[1] == "s.main.0"
    assert made.parent_of("s.main.3") == "s.main.0"


def rivals() -> Thread:
    made = thread(0)
    made.beside(Try("s.main.0", 0))
    made.beside(Try("s.main.0", 0), turn_index=-1)
    made.said("s.main.0", "one", {})
    made.said("s.main.1", "two", {"c1": Call("c1", "read", b"{}")})
    made.said("s.main.2", "three", {"c2": Call("c2", "read", b"{}")})
    made.said("s.main.3", "two", {})
    return made


def test_the_rival_that_gave_the_answer_is_gone_on_with() -> None:
    made = rivals()
    assert made.loop_id == "s.main.0", "beside it, nothing becomes the current one"
    assert made.chosen("two", ()) == "s.main.1"
    assert (made.loop_id, made.is_open, list(made.pending)) == ("s.main.1", True, ["c1"])
    assert made.chosen("two", ()) is None, "it was asked"


def test_a_rival_is_known_by_the_results_of_its_calls() -> None:
    made = rivals()
    assert made.chosen("one", {"c2"}) == "s.main.2"
    assert made.next_turn() == Try("s.main.2", 0)


def test_an_answer_that_no_rival_gave_chooses_none() -> None:
    made = rivals()
    assert made.chosen("four", ()) is None
    assert made.chosen("", ()) is None
    assert (made.loop_id, made.rivals) == ("s.main.0", {})


def test_a_new_comparison_forgets_the_one_before() -> None:
    made = rivals()
    made.open(2, "s.main.0")
    made.beside(Try("s.main.3", 0))
    assert list(made.rivals) == ["s.main.3", "s.main.4"]


def test_loops_are_numbered_from_where_they_are_known() -> None:
    assert Thread("s", "main", first_number=7).open(0, None) == Try("s.main.7", 0)


def test_the_end_of_a_loop() -> None:
    end = ending(thread(0), "s.main.0", 3.0, "rejected", "refusal")
    assert (end.session_id, end.loop_id, end.at) == ("s", "s.main.0", 3.0)
    assert (end.outcome, end.reason) == ("rejected", "refusal")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "STARTS_KEPT", 3)
    monkeypatch.setattr(threads, "TRIES_KEPT", 3)
    made = thread(*range(10))
    for number in range(10):
        made.begin(f"r{number}", Try("l", 0))
    assert len(made._starts) == 3
    assert list(made.tries) == ["r7", "r8", "r9"]
