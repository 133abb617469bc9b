"""Trees grow of a log as they do of live traffic."""

from __future__ import annotations

from pathlib import Path

from bench.tree_grown import Grown, grow
from bench.tree_truth import Transcripts, read_truths
from gateway_sessions.prices import Prices, Rates
from tests.bench import tree_logs


def grown(folder: Path) -> Grown:
    tree_logs.write(folder)
    transcripts = Transcripts(read_truths(folder / "small.truth.jsonl"))
    prices = Prices({"m": Rates(input=1.0, output=2.0)})
    return grow(folder / "small.exchanges.jsonl", prices, transcripts)


def test_everything_that_is_recorded_of_trees_is_gathered(tmp_path: Path) -> None:
    found = grown(tmp_path)
    assert set(found.places().values()) == {1}
    assert set(found.openings()) == {"r0", "r1", "r2", "r5"}
    assert len(found.loops) == 4
    assert len(found.microseconds) == 6
    ((root, used),) = found.used.items()
    assert found.rolled_up[root].total_tokens == used.total_tokens == 5 * 15
    assert used.cost_usd is not None
    assert abs(used.cost_usd - 5 * 20e-6) < 1e-9
