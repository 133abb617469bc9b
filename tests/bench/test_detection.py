"""The benchmark of detection measures every combination it promises."""

from __future__ import annotations

import itertools

import pytest

from bench import detection
from bench.core import Core


def test_a_quick_run_gives_a_row_per_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "LIVE", (3, 5, 7))
    monkeypatch.setattr(detection, "MESSAGES", (2, 10))
    lines = detection.run(quick=True).splitlines()
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| ")][2:]
    assert rows == [["| 2", "3"], ["| 10", "3"], ["| 2", "5"], ["| 10", "5"]]


def test_what_is_timed_is_one_new_turn_on_a_known_history() -> None:
    core = Core(max_sessions=100)
    relations = []
    request = core.request

    def noted(body: bytes) -> object:
        tracked = request(body)
        relations.append(tracked.tag().relation)
        return tracked

    core.request = noted  # type: ignore[method-assign,assignment]
    ours, theirs = detection.measured(core, 10, 4, itertools.count())
    assert len(ours) == len(theirs) == 4
    assert relations == ["first"] * 4 + ["continue"] * 4
