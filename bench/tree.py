"""Agent trees of sessionbench's logs, compared with what the transcripts themselves say.

Logs go through detection and through what records, as live traffic does.  sessionbench lies
beside the project, in ../shared/sessionbench, or where the environment variable SESSIONBENCH
says.  Exit codes: 0 all figures reach 99 %, 1 one does not, 2 nothing was measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import report
from bench.accuracy import ROOT, NotMeasuredError, sessionbench_folder
from bench.tree_grown import Grown, grow
from bench.tree_truth import Transcripts, Truth, openings, read_truths
from gateway_sessions.prices import Prices

PAGE = ROOT / "docs" / "agent-tree.md"
SCENARIOS = ("subagents", "compaction", "edit", "parallel", "mixed")
WANTED = 99.0
"""Percent."""
CENT = 0.005
HEADS = (
    "scenario",
    "exchanges",
    "in one place %",
    "prompts",
    "opened %",
    "loops",
    "rightly %",
    "sub-agents",
    "precision %",
    "recall %",
    "calls known",
    "calls %",
    "fan-outs",
    "right %",
    "roots",
    "rolled up %",
    "µs",
)


class Share(NamedTuple):
    """How many of how many."""

    part: int
    whole: int

    @property
    def percent(self) -> float:
        """Of nothing, all is right."""
        return 100 * self.part / self.whole if self.whole else 100.0

    def __str__(self) -> str:
        return f"{self.percent:.2f}" if self.whole else "-"


class Figures(NamedTuple):
    """What is measured of one scenario."""

    placed: Share
    opened: Share
    rightly: Share
    precise: Share
    recalled: Share
    calls: Share
    fans: Share
    rolled_up: Share
    microseconds: float

    def row(self, scenario: str) -> list[str]:
        """Return the figures as a row of the table."""
        return [
            scenario,
            f"{self.placed.whole:,}",
            str(self.placed),
            f"{self.opened.whole:,}",
            str(self.opened),
            f"{self.rightly.whole:,}",
            str(self.rightly),
            f"{self.recalled.whole:,}",
            str(self.precise),
            str(self.recalled),
            f"{self.calls.whole:,}",
            str(self.calls),
            f"{self.fans.whole:,}",
            str(self.fans),
            f"{self.rolled_up.whole:,}",
            str(self.rolled_up),
            f"{self.microseconds:.0f}",
        ]

    def shortfalls(self, scenario: str) -> list[str]:
        """Return one sentence for each figure that is not as it should be."""
        found = []
        for name, value in self._asdict().items():
            wanted = 100.0 if name in ("placed", "rolled_up") else WANTED
            if isinstance(value, Share) and value.percent < wanted:
                found.append(f"{scenario}: {name} {value} % is below {wanted:g} %")
        return found


def figures(grown: Grown, truths: Mapping[str, Truth], transcripts: Transcripts) -> Figures:
    """Compare trees with the truth."""
    talks = _talks(grown, truths)
    made = {
        talks[loop.session_id]: (talks.get(loop.spawn_ref.parent_session_id), loop.spawn_ref)
        for loop in grown.loops.values()
        if loop.spawn_ref is not None
    }
    true = transcripts.spawns()
    right = [name for name, (parent, _) in made.items() if name in true and true[name][0] == parent]
    known = [name for name, (_, call_id) in true.items() if call_id is not None]
    called = [
        name for name in known if name in made and made[name][1].tool_call_id == true[name][1]
    ]
    unknown = {name for name, (_, call_id) in true.items() if call_id is None}
    fans = {fan for fan in _fans(grown, talks) if fan.isdisjoint(unknown)}
    true_fans = transcripts.fans()
    places = grown.places()
    once = sum(places[request_id] == 1 for request_id in grown.session_of)
    opened, rightly = _boundaries(grown, truths)
    return Figures(
        placed=Share(once, len(truths)),
        opened=opened,
        rightly=rightly,
        precise=Share(len(right), len(made)),
        recalled=Share(len(right), len(true)),
        calls=Share(len(called), len(known)),
        fans=Share(len(fans & true_fans), len(fans | true_fans)),
        rolled_up=_rolled_up(grown),
        microseconds=statistics.median(grown.microseconds),
    )


def _talks(grown: Grown, truths: Mapping[str, Truth]) -> dict[str, str]:
    """Return the true session that most requests of a found one belong to."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for request_id, session_id in grown.session_of.items():
        votes[session_id][truths[request_id].session] += 1
    return {session_id: found.most_common(1)[0][0] for session_id, found in votes.items()}


def _fans(grown: Grown, talks: Mapping[str, str]) -> set[frozenset[str]]:
    groups = (loop.parallel_group for loop in grown.loops.values())
    return {
        frozenset(talks[grown.loops[name].session_id] for name in group.all_loop_ids)
        for group in groups
        if group is not None and group.kind == "fanout"
    }


def _boundaries(grown: Grown, truths: Mapping[str, Truth]) -> tuple[Share, Share]:
    """Return how many prompts open a loop, and how many loops open where one should.

    Requests that repeat one under way, and what is ambiguous by itself, are left out.
    """
    prompts, others = openings(grown.bodies, truths)
    unclear = {name for name, truth in truths.items() if truth.ambiguous}
    loops = grown.openings()
    reruns = {
        name
        for name, loop in loops.items()
        if loop.parallel_group is not None and loop.parallel_group.kind == "evaluation"
    }
    opened = loops.keys() - unclear
    judged = prompts - unclear - reruns
    candidates = opened - reruns
    return (
        Share(len(judged & opened), len(judged)),
        Share(len(candidates & (prompts | others)), len(candidates)),
    )


def _rolled_up(grown: Grown) -> Share:
    """Return for how many roots the tree's sums are those of the exchanges."""
    right = 0
    for root, used in grown.used.items():
        total = grown.rolled_up.get(root)
        if total is None or total.total_tokens != used.total_tokens:
            continue
        right += abs((total.cost_usd or 0.0) - (used.cost_usd or 0.0)) < CENT
    return Share(right, len(grown.used))


def _build(folder: Path, scenarios: Sequence[str], options: Sequence[str]) -> None:
    """Let sessionbench write logs and truths."""
    place = sessionbench_folder()
    arguments = ["--out", str(folder), "--scenario", ",".join(scenarios), *options]
    done = subprocess.run(
        [sys.executable, "-m", "sessionbench", "build", *arguments],
        env=os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise NotMeasuredError("sessionbench could not build its logs; see above.")


def measure(folder: Path, scenario: str, prices: Prices) -> Figures:
    """Return the figures of one scenario, whose log and truths lie in a folder."""
    truths = read_truths(folder / f"{scenario}.truth.jsonl")
    transcripts = Transcripts(truths)
    grown = grow(folder / f"{scenario}.exchanges.jsonl", prices, transcripts)
    return figures(grown, truths, transcripts)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/tree", description=__doc__)
    parser.add_argument("--scenario", default=",".join(SCENARIOS), help="with commas between")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--scale", default="1", help="number of conversations, 1 being usual")
    parser.add_argument("--logs", type=Path, help="folder of logs that sessionbench has built")
    parser.add_argument(
        "--table", action="store_true", help="write the table into docs/agent-tree.md"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, say what falls short; return the exit code."""
    options = _options(arguments)
    scenarios = options.scenario.split(",")
    prices = Prices()
    prices.load()
    with tempfile.TemporaryDirectory() as made:
        folder = options.logs or Path(made)
        try:
            if options.logs is None:
                _build(folder, scenarios, ["--seed", options.seed, "--scale", options.scale])
        except NotMeasuredError as error:
            print(error, file=sys.stderr)
            return 2
        measured = {name: measure(folder, name, prices) for name in scenarios}
    rows = [found.row(name) for name, found in measured.items()]
    block = f"{report.machine()}\n\n{report.table(HEADS, rows)}"
    print(block)
    if options.table:
        report.publish("agent-tree", block, PAGE)
    missed = [line for name, found in measured.items() for line in found.shortfalls(name)]
    print("\n".join(missed) or "all figures are as they should be")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
