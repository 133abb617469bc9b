"""Whatever a flush has acknowledged outlives a power cut, in session files and in the database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CUTS = 30
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.needs("mkfs.ext4", "apt-get install e2fsprogs")


def cut(mounting: tuple[str, ...], folder: Path, cuts: int, *mutants: str) -> dict[str, Any]:
    """Return what became of exchanges when the power was cut under gateways."""
    command = [*mounting, sys.executable, "-m", "tests.faults.recording_cuts"]
    done = subprocess.run(
        [*command, str(folder), str(cuts), "7", *mutants],
        cwd=ROOT,
        capture_output=True,
        timeout=150,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_nothing_that_was_acknowledged_is_lost(mounting: tuple[str, ...], tmp_path: Path) -> None:
    told = cut(mounting, tmp_path, CUTS)
    assert told["cuts"] == CUTS
    assert told["acknowledged"] > CUTS
    assert told["lost"] == {"jsonl": [], "sqlite": []}
    assert told["lost_in_order"] == {"jsonl": [], "sqlite": []}
    assert told["torn"] > 0
    assert told["broken"] == 0
    assert told["apart"] == 0


@pytest.mark.parametrize(
    ("mutant", "writer", "other"),
    [("no-files", "jsonl", "sqlite"), ("no-journal", "sqlite", "jsonl")],
)
def test_it_sees_what_is_not_synced_and_the_other_writer_makes_up_for_it(
    mounting: tuple[str, ...], tmp_path: Path, mutant: str, writer: str, other: str
) -> None:
    told = cut(mounting, tmp_path, 5, mutant)
    assert told["lost"][writer] != []
    assert told["lost"][other] == []
    assert told["lost_in_order"] == {"jsonl": [], "sqlite": []}


def test_it_sees_what_neither_syncs(mounting: tuple[str, ...], tmp_path: Path) -> None:
    told = cut(mounting, tmp_path, 5, "no-files", "no-journal")
    assert told["lost_in_order"]["jsonl"] != []
    assert told["lost_in_order"]["sqlite"] != []
