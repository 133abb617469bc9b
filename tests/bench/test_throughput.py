"""The benchmark of throughput compares the gateway with the bare proxy, in one run."""

from __future__ import annotations

import shutil

import pytest

from bench import bodies, throughput
from bench.load import Load
from bench.throughput import BARE, VARIANTS, Series


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    bare = Series(
        [Load(100, 1, 2, 0), Load(50, 1, 2, 0), Load(10, 1, 2, 0)],
        [1.0],
        [120, 100, 900],
        [0, 0, 0],
    )
    ours = Series(
        [Load(90, 3, 4, 1), Load(40, 3, 4, 0), Load(5, 3, 4, 1)],
        [1.25],
        [150, 140, 160],
        [70, 90, 80],
    )
    rows = list(throughput.speed_rows("2 KB", {BARE: bare, "ours": ours}))
    assert rows[0] == ["2 KB", BARE, "50", "1.00", "120", "0", "1.0", "2.0", "0"]
    assert rows[1] == ["2 KB", "ours", "40", "0.80", "150", "80", "3.0", "4.0", "2"]
    first = list(throughput._first_byte_rows("2 KB", {BARE: bare, "ours": ours}))
    assert first[1] == ["2 KB", "ours", "1.25", "+0.25"]


def test_a_run_measures_every_target_without_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "SIZES_KB", (2,))
    monkeypatch.setattr(throughput, "ROUNDS", {True: (1, 0.2, 3)})
    monkeypatch.setattr(throughput, "VARIANTS", {"all": VARIANTS["everything"]})
    monkeypatch.setattr(bodies, "GENERATION", 20)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)  # neither wrk nor nginx
    lines = [line.split(" | ") for line in throughput.run(quick=True).splitlines()]
    rows = [cells for cells in lines if len(cells) == 9 and cells[0].startswith("| 2 KB")]
    assert [row[1] for row in rows] == [BARE, "all"] * 2
    assert all(float(row[2].replace(",", "")) > 0 for row in rows)
    assert all(float(row[4]) > 0 for row in rows)
    assert [row[5] == "0" for row in rows] == [True, False] * 2  # who has a recorder beside it
    assert [row[8] for row in rows] == ["0 |"] * 4
    first = [cells for cells in lines if len(cells) == 4 and cells[0].startswith("| 2 KB")]
    assert [row[1] for row in first] == [BARE, "all"]
