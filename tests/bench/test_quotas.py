"""A part of a core for each process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import quotas


@pytest.fixture
def busy() -> Iterator[int]:
    """Run a process that wants all it can get, and yield its pid."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process.pid
        process.kill()


def group(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    return next(line for line in lines if "cpu" in line.split(":")[1].split(","))


def test_a_process_is_limited_for_a_while(busy: int) -> None:
    with quotas.limited([busy], 0.3) as is_limited:
        if not is_limited:
            pytest.skip("no quotas can be set here")
        (made,) = quotas.ROOT.glob(f"gateway-sessions-bench-*-{busy}")
        assert (made / "cgroup.procs").read_text().split() == [str(busy)]
        assert (made / "cpu.cfs_quota_us").read_text() == "3000\n"
        assert made.name in group(busy)
    assert not made.exists()
    assert made.name not in group(busy)


def test_nothing_is_left_where_one_of_them_can_not_be_limited(busy: int) -> None:
    with quotas.limited([busy, 2**30]) as is_limited:
        assert not is_limited
    assert not list(quotas.ROOT.glob(f"gateway-sessions-bench-*-{busy}"))


def test_a_system_without_quotas_says_so(tmp_path: Path) -> None:
    with quotas.limited([1], root=tmp_path / "none") as is_limited:
        assert not is_limited
