"""Tasks and the calls that ask for them."""

from __future__ import annotations

import json

import pytest

from gateway_sessions.analysis.facts import Call
from gateway_sessions.analysis.spawns import DEEPEST, EQUAL, LEAST, MOST, Match, confirms, matches

TASK = "Find all callers of the function load."


def pending(*arguments: object) -> list[tuple[str, Call]]:
    calls = [Call(f"c{n}", "task", json.dumps(value).encode()) for n, value in enumerate(arguments)]
    return [(call.id, call) for call in calls]


def test_the_argument_word_for_word() -> None:
    assert matches(TASK, pending({"prompt": "other"}, {"prompt": TASK})) == [
        Match("c1", "task", EQUAL)
    ]


def test_white_space_does_not_count() -> None:
    spaced = "  " + TASK.replace(" ", "\n ")
    assert matches(spaced, pending({"prompt": TASK}))[0].confidence == EQUAL


@pytest.mark.parametrize(
    "task", [f"You are a helper.\n{TASK}", TASK[:30]], ids=["longer", "shorter"]
)
def test_one_within_the_other_counts_by_how_much_it_is_of_it(task: str) -> None:
    (match,) = matches(task, pending({"prompt": TASK}))
    assert LEAST < match.confidence < MOST


def test_short_arguments_say_nothing() -> None:
    assert matches("Read main.py and fix it.", pending({"path": "main.py"})) == []
    assert matches("main.py", pending({"path": "main.py"}))[0].confidence == EQUAL


def test_equal_fits_are_all_returned_and_worse_ones_are_not() -> None:
    found = matches(TASK, pending({"a": TASK}, {"b": TASK}, {"c": f"{TASK} Quickly."}))
    assert [match.call_id for match in found] == ["c0", "c1"]


@pytest.mark.parametrize("value", [[TASK], {"tasks": [{"prompt": TASK}]}, TASK])
def test_strings_are_found_at_any_place(value: object) -> None:
    assert matches(TASK, pending(value))


def test_but_not_too_deep() -> None:
    value: object = TASK
    for _ in range(DEEPEST + 1):
        value = [value]
    assert matches(TASK, pending(value)) == []


@pytest.mark.parametrize("arguments", [b"", b"{", b"\xff", b"3", b"[" * 100_000])
def test_arguments_of_any_kind(arguments: bytes) -> None:
    assert matches(TASK, [("c", Call("c", "task", arguments))]) == []


def test_no_task_fits_nothing() -> None:
    assert matches(" \n", pending({"prompt": ""}, {"prompt": TASK})) == []


def test_a_result_that_holds_the_last_words_confirms() -> None:
    assert confirms("Result:\nThere  are three.\n", "There are\nthree.")
    assert not confirms("There are two.", "There are three.")
    assert not confirms("anything", " ")
