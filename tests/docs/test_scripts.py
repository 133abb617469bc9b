"""The scripts are well formed, and say what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

SCRIPTS = [*sorted(p for p in (ROOT / "scripts").glob("*") if p.is_file()), ROOT / ".ci/run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_executable_strict_bash(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def _project(folder: Path, *programs: str) -> dict[str, str]:
    """Make a project with scripts only; return an environment with these programs only."""
    (folder / "scripts" / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "_venv", folder / "scripts")
    for name in ("runtime", "dev"):
        (folder / "scripts" / "requirements" / f"{name}.txt").write_text("")
    (folder / "pyproject.toml").write_text("")
    path = folder / "bin"
    path.mkdir()
    for program in ("bash", "env", "cat", "cksum", "dirname", *programs):
        found = shutil.which(program)
        assert found is not None
        (path / program).symlink_to(found)
    return {"PATH": str(path)}


def test_without_a_recent_python_the_set_up_says_so(tmp_path: Path) -> None:
    environment = _project(tmp_path)
    old = tmp_path / "bin" / "python3"
    old.write_text("#!/usr/bin/env bash\nexit 1\n")  # what it says of its version: too old
    old.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "scripts" / "_venv", "runtime"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "gateway-sessions needs Python 3.11 or newer, and none is on the PATH.\n"
    )


def test_a_set_up_that_is_up_to_date_does_nothing(tmp_path: Path) -> None:
    environment = _project(tmp_path)
    stamp = subprocess.run(
        ["bash", "-c", "{ pwd; cat scripts/requirements/dev.txt pyproject.toml; } | cksum"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".made-dev").write_text(stamp)
    for kind in ("runtime", "dev"):
        done = subprocess.run(
            [tmp_path / "scripts" / "_venv", kind],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
