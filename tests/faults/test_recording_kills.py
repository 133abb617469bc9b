"""Whatever a flush has acknowledged outlives the death of the gateway and of its recorder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

KILLS = 100
ROOT = Path(__file__).parents[2]


def killed(folder: Path, kills: int, *writers: str) -> dict[str, Any]:
    """Return what became of exchanges when gateways were killed."""
    command = [sys.executable, "-m", "tests.faults.recording_kills"]
    done = subprocess.run(
        [*command, str(folder), str(kills), "7", *writers],
        cwd=ROOT,
        capture_output=True,
        timeout=150,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    told = killed(tmp_path, KILLS, "jsonl", "sqlite")
    assert told["kills"] == KILLS
    assert told["acknowledged"] > 5 * KILLS
    assert told["missing"] == {"jsonl": [], "sqlite": []}
    assert told["torn"] == KILLS // 10
    assert told["broken"] == 0
    assert told["apart"] == 0


def test_the_test_sees_a_flush_that_does_not_wait(tmp_path: Path) -> None:
    told = killed(tmp_path, 10, "jsonl", "liar")
    assert told["acknowledged"] > 0
    assert told["missing"]["jsonl"] != []
