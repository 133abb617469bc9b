"""What is declared, what is locked, what is used and what is explained are the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.blocks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
EXTRAS = [
    Requirement(line)
    for lines in PROJECT["project"]["optional-dependencies"].values()
    for line in lines
]
DEV = [
    Requirement(line)
    for group in PROJECT["dependency-groups"].values()
    for line in group
    if isinstance(line, str)
]


def _locked(kind: str) -> dict[str, str]:
    text = (ROOT / "scripts" / "requirements" / f"{kind}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", text, re.MULTILINE))


@pytest.mark.parametrize(("kind", "wanted"), [("runtime", RUNTIME), ("dev", [*RUNTIME, *DEV])])
def test_the_lock_meets_every_requirement(kind: str, wanted: list[Requirement]) -> None:
    locked = _locked(kind)
    for requirement in wanted:
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("kind", ["runtime", "dev"])
def test_the_lock_has_a_hash_for_everything_and_no_address(kind: str) -> None:
    text = (ROOT / "scripts" / "requirements" / f"{kind}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)
    unhashed = [e.split("\n")[0] for e in entries if "==" in e and "--hash=sha256:" not in e]
    assert unhashed == []
    assert "://" not in text
    assert "--index-url" not in text


def _imported(*folders: str) -> set[str]:
    """Return the modules that the code in some folders imports."""
    found: set[str] = set()
    for package in folders:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    found.add(node.module)
                elif isinstance(node, ast.Constant) and node.value == "backports.zstd":
                    found.add(node.value)  # imported by name, where Python does not bring it
    return found


def _distributions(*folders: str) -> set[str]:
    """Return the distributions whose modules the code in some folders imports."""
    owners = packages_distributions()
    used: set[str] = set()
    for name in _imported(*folders):
        top = name.partition(".")[0]
        if top == "backports":  # a namespace shared by several distributions
            used.add(name.replace(".", "-"))
        elif top not in sys.stdlib_module_names and not (ROOT / top).is_dir():
            used.add(canonicalize_name(owners[top][0]))
    # They are aiohttp's own vocabulary and part of its interface.
    return used - {"multidict", "yarl"}


def test_every_dependency_is_used_and_everything_used_is_declared() -> None:
    declared = {canonicalize_name(r.name) for r in RUNTIME}
    extras = {canonicalize_name(r.name) for r in EXTRAS}
    assert declared == _distributions("gateway_sessions", "interceptors") - extras


def test_every_extra_is_installed_where_tests_run() -> None:
    assert {(r.name, str(r.specifier)) for r in EXTRAS} <= {(r.name, str(r.specifier)) for r in DEV}


def test_everything_that_tests_and_benchmarks_use_is_declared() -> None:
    declared = {canonicalize_name(r.name) for r in (*RUNTIME, *DEV)}
    assert _distributions("tests", "bench") <= declared


def test_every_dependency_is_explained() -> None:
    page = Path(ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    runtime, dev = page.split("## To work on the project")
    assert _named(runtime) == {r.name for r in RUNTIME}
    assert _named(dev) == {r.name for r in DEV}


def _named(text: str) -> set[str]:
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
