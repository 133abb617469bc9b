"""Accuracy of ``gateway-sessions detect`` on sessionbench, held to thresholds.

sessionbench lies beside the project, in ../shared/sessionbench, or where the environment
variable SESSIONBENCH says.  Exit codes: 0 all thresholds are met, 1 one is not, 2 it could
not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import report

ROOT = Path(__file__).parent.parent
THRESHOLDS = ROOT / "tests" / "accuracy-thresholds.toml"
PAGE = ROOT / "docs" / "accuracy.md"
BASELINES = ("opener", "prefix", "chain")
OURS = "gateway-sessions"

Scores = Mapping[str, Any]
"""One scenario's record as sessionbench writes it: ``scenario``, ``all`` and ``clear``."""


class NotMeasuredError(Exception):
    """sessionbench is missing or failed; the text says which."""


def measure(command: str, scenarios: Sequence[str], options: Sequence[str]) -> list[Scores]:
    """Run sessionbench offline with that command and return its record of each scenario."""
    place = Path(os.environ.get("SESSIONBENCH", ROOT.parent / "shared" / "sessionbench"))
    if not (place / "sessionbench").is_dir():
        raise NotMeasuredError(f"{place} holds no sessionbench; set SESSIONBENCH to its folder.")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        arguments = ["--command", command, "--scenario", ",".join(scenarios)]
        arguments += ["--json", str(results), *options]
        done = subprocess.run(
            [sys.executable, "-m", "sessionbench", "offline", *arguments],
            env=os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise NotMeasuredError(f"sessionbench failed with {command!r}; see above.")
        scores: list[Scores] = json.loads(results.read_text(encoding="utf-8"))["scenarios"]
    return scores


def shortfalls(scores: Scores, wanted: Mapping[str, float]) -> list[str]:
    """Return one sentence for each threshold that a scenario does not meet.

    A score of None (no session to judge) does not meet a threshold.
    """
    name = scores["scenario"]
    found = []
    for view in ("exact", "core"):
        value = scores["clear"][f"{view}_percent"]
        if view in wanted and (value is None or value < wanted[view]):
            shown = "-" if value is None else f"{value:.2f}"
            found.append(f"{name}: {view} {shown} % is below {wanted[view]} %")
    merges = scores["all"]["cross_tenant_merges"]
    if merges > wanted.get("cross_tenant_merges", 0):
        found.append(f"{name}: {merges} sessions merged across tenants")
    return found


def summary(ours: Sequence[Scores], others: Mapping[str, Sequence[Scores]]) -> str:
    """Return a Markdown table: our scores by scenario, and exact / core of each baseline."""
    heads = ["scenario", "requests", "exact %", "core %", "merges", "across tenants", "splits"]
    rows = [list(_row(scores)) for scores in ours]
    for name, baseline in others.items():
        heads.append(f"`{name}`")
        for row, scores in zip(rows, baseline, strict=True):
            clear = scores["clear"]
            row.append(f"{_percent(clear['exact_percent'])} / {_percent(clear['core_percent'])}")
    return report.table(heads, rows)


def _row(scores: Scores) -> Iterator[str]:
    clear = scores["clear"]
    yield f"`{scores['scenario']}`"
    yield f"{scores['all']['requests']}"
    yield _percent(clear["exact_percent"])
    yield _percent(clear["core_percent"])
    yield str(clear["false_merges"])
    yield str(scores["all"]["cross_tenant_merges"])
    yield str(clear["over_splits"])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/accuracy", description=__doc__)
    parser.add_argument("--scenario", help="these scenarios only, with commas between")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--scale", default="1")
    parser.add_argument(
        "--table",
        action="store_true",
        help="measure the baselines too and write the table of docs/accuracy.md",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, say what falls short; return the exit code."""
    options = _options(arguments)
    wanted = tomllib.loads(THRESHOLDS.read_text(encoding="utf-8"))
    scenarios = options.scenario.split(",") if options.scenario else list(wanted)
    passed_on = ["--seed", options.seed, "--scale", options.scale]
    detect = shlex.join([str(Path(sys.executable).with_name(OURS)), "detect"])
    python = shlex.quote(sys.executable)
    try:
        ours = measure(detect, scenarios, passed_on)
        others = {
            name: measure(f"{python} -m sessionbench baseline {name}", scenarios, passed_on)
            for name in (BASELINES if options.table else ())
        }
    except NotMeasuredError as error:
        print(error, file=sys.stderr)
        return 2
    block = summary(ours, others)
    print(block)
    if options.table:
        report.publish("accuracy", block, PAGE)
    missed = [
        line for scores in ours for line in shortfalls(scores, wanted.get(scores["scenario"], {}))
    ]
    print("\n".join(missed) or f"all thresholds met in {len(ours)} scenarios")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
