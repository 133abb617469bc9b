"""The benchmark of hostile input measures every case, against half of its size."""

from __future__ import annotations

import pytest

from bench import hostile
from bench.bodies import encode
from bench.core import Core


def test_a_quick_run_gives_a_row_per_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "QUICK_PART", 4096)
    monkeypatch.setattr(hostile, "RUNS", 1)
    small = [case._replace(size=max(case.size, 8192)) for case in hostile.CASES]
    monkeypatch.setattr(hostile, "CASES", small)
    lines = hostile.run(quick=True).splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [row[0].removeprefix("| ") for row in rows] == [case.name for case in hostile.CASES]
    assert all(float(row[2]) > 0 for row in rows)


@pytest.mark.parametrize("case", hostile.CASES, ids=lambda case: case.name)
def test_a_request_has_the_size_that_is_asked_for(case: hostile.Case) -> None:
    small, large = (len(encode({"messages": case.messages(size)})) for size in (20_000, 40_000))
    assert case.before is not None or 1.8 < large / small < 2.2


def test_what_is_remembered_of_a_case_is_not_there_in_its_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relations = []
    request = Core.request

    def noted(core: Core, body: bytes) -> object:
        tracked = request(core, body)
        if b"more" in body:
            relations.append(tracked.tag().relation)
        return tracked

    monkeypatch.setattr(Core, "request", noted)
    cold = next(case for case in hostile.CASES if "taking turns" in case.name)
    hostile.cost(cold, 10)
    assert relations == ["first"] * hostile.RUNS


def test_a_crowd_is_there_before_the_request() -> None:
    crowded = hostile.CASES[0]
    assert crowded.before is not None
    core = Core(100)
    crowded.before(core, 10)
    assert core.live == 10
