"""A command's peak of memory is told by the command itself."""

from __future__ import annotations

import subprocess
import sys

from bench.peak import peak_bytes


def test_memory_that_was_held_counts_even_when_it_is_gone() -> None:
    before = peak_bytes()
    held = bytearray(b"x" * (before + 50_000_000))
    del held
    assert peak_bytes() > before + 20_000_000


def test_the_command_runs_and_its_peak_follows() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.peak", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("gateway-sessions")
    assert 10_000_000 < int(done.stderr) < 500_000_000
