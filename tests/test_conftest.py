"""A test that lacks its outside program is skipped with the cure, and fails in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

@pytest.mark.needs("no-such-program", "apt-get install no-such-program")
def test_without(): raise AssertionError("must not run")

@pytest.mark.needs("sh", "it is always there")
def test_with(): pass

def test_of_disks(mounting): raise AssertionError("must not run")
"""
NO_MOUNTS = "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n"


def _run(folder: Path, ci: str) -> str:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_cases.py").write_text(CASES)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = needs(tool, install): what\n")
    tool = folder / ("unshare" if os.geteuid() == 0 else "sudo")
    tool.write_text(NO_MOUNTS)
    tool.chmod(0o700)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"CI": ci, "PATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("ci", ["", "false"])
def test_at_home_it_is_skipped_with_the_cure(ci: str, tmp_path: Path) -> None:
    out = _run(tmp_path, ci)
    assert "no-such-program is not installed: apt-get install no-such-program" in out
    assert "can not be mounted (unshare failed: Operation not permitted): run the tests as" in out
    assert "1 passed, 2 skipped" in out


def test_in_ci_it_fails(tmp_path: Path) -> None:
    out = _run(tmp_path, "true")
    assert "no-such-program is not installed: apt-get install no-such-program" in out
    assert "can not be mounted (unshare failed: Operation not permitted): run the tests as" in out
    assert "1 passed, 2 errors" in out
