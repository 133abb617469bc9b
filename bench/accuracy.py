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
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import accuracy_report, report
from bench.accuracy_report import Measured, Run, Scores

ROOT = Path(__file__).parent.parent
THRESHOLDS = ROOT / "tests" / "accuracy-thresholds.toml"
PAGE = ROOT / "docs" / "accuracy.md"
BASELINES = ("opener", "prefix", "chain")
OURS = "gateway-sessions"

RUNS = "1x1,1x5,2x1,3x1,4x1"
"""Seed and scale of the runs of docs/accuracy.md; the first is told scenario by scenario."""


class NotMeasuredError(Exception):
    """sessionbench is missing or failed; the text says which."""


def sessionbench_folder() -> Path:
    """Return where sessionbench lies; raises `NotMeasuredError` if it does not."""
    place = Path(os.environ.get("SESSIONBENCH", ROOT.parent / "shared" / "sessionbench"))
    if not (place / "sessionbench").is_dir():
        raise NotMeasuredError(f"{place} holds no sessionbench; set SESSIONBENCH to its folder.")
    return place


def measure(command: str, scenarios: Sequence[str], options: Sequence[str]) -> list[Scores]:
    """Run sessionbench offline with that command and return its record of each scenario."""
    place = sessionbench_folder()
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


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/accuracy", description=__doc__)
    parser.add_argument("--scenario", help="these scenarios only, with commas between")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--scale", default="1", help="number of conversations, 1 being usual")
    parser.add_argument(
        "--table",
        action="store_true",
        help="measure several runs and the baselines too, and write the tables of"
        " docs/accuracy.md; takes a quarter of an hour",
    )
    parser.add_argument(
        "--runs", default=RUNS, metavar="SEEDxSCALE,…", help=f"runs of --table, as {RUNS}"
    )
    return parser.parse_args(arguments)


def _measured(command: str, runs: Sequence[Run], scenarios: Sequence[str]) -> Measured:
    return {
        run: measure(command, scenarios, ["--seed", run.seed, "--scale", run.scale]) for run in runs
    }


def _tables(ours: Measured, others: Mapping[str, Measured]) -> dict[str, str]:
    """Return the tables of docs/accuracy.md by the names of their places."""
    first = next(iter(ours))
    baselines = {name: measured[first] for name, measured in others.items()}
    return {
        "accuracy": accuracy_report.beside_baselines(ours[first], baselines),
        "accuracy-totals": accuracy_report.totals(ours, others),
        "accuracy-runs": accuracy_report.by_run(ours),
        "accuracy-goals": accuracy_report.below_goals(ours),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, say what falls short; return the exit code."""
    options = _options(arguments)
    wanted = tomllib.loads(THRESHOLDS.read_text(encoding="utf-8"))
    scenarios = options.scenario.split(",") if options.scenario else list(wanted)
    runs = [Run(options.seed, options.scale)]
    if options.table:
        runs = [Run(*run.split("x")) for run in options.runs.split(",")]
    detect = shlex.join([str(Path(sys.executable).with_name(OURS)), "detect"])
    baseline = f"{shlex.quote(sys.executable)} -m sessionbench baseline"
    try:
        ours = _measured(detect, runs, scenarios)
        others = {
            name: _measured(f"{baseline} {name}", runs, scenarios)
            for name in (BASELINES if options.table else ())
        }
    except NotMeasuredError as error:
        print(error, file=sys.stderr)
        return 2
    tables = _tables(ours, others)
    print("\n\n".join(tables.values() if options.table else [tables["accuracy"]]))
    if options.table:
        for name, block in tables.items():
            report.publish(name, block, PAGE)
    first = ours[runs[0]]
    missed = [
        line for scores in first for line in shortfalls(scores, wanted.get(scores["scenario"], {}))
    ]
    print("\n".join(missed) or f"all thresholds met in {len(first)} scenarios")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
