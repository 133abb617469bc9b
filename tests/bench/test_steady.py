"""The benchmark of latency at a steady rate compares with the gateway that records nothing."""

from __future__ import annotations

import shutil

import pytest

from bench import bodies, steady
from bench.load import Load
from bench.steady import OFF, TARGETS
from bench.throughput import BARE


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    off = [Load(500, 1, 2, 0), Load(500, 1, 4, 0), Load(500, 1, 10, 0)]
    ours = [Load(500, 2, 3, 1), Load(500, 2, 5, 0), Load(500, 3, 11, 1)]
    rows = list(steady.latency_rows(500, {OFF: off, "ours": ours}))
    assert rows == [
        ["500", OFF, "1.00", "4.00", "1.00", "0"],
        ["500", "ours", "2.00", "5.00", "1.25", "2"],
    ]


def test_a_run_measures_every_target_without_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "RATES", (50,))
    monkeypatch.setattr(steady, "ROUNDS", {True: (1, 0.5)})
    monkeypatch.setattr(steady, "TARGETS", TARGETS[:2])
    monkeypatch.setattr(bodies, "GENERATION", 20)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)  # neither wrk nor nginx
    lines = [line.strip("| ").split(" | ") for line in steady.run(quick=True).splitlines()]
    rows = [cells for cells in lines if cells[0] == "50"]
    assert [row[1] for row in rows] == [BARE, *TARGETS[:2]]
    assert all(0 < float(row[2]) <= float(row[3]) for row in rows)
    assert [row[5] for row in rows] == ["0"] * 3
