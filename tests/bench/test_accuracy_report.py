"""The tables of accuracy."""

from __future__ import annotations

from typing import Any

from bench import accuracy_report
from bench.accuracy_report import Run

ONE, OTHER = Run("1", "1"), Run("2", "5")


def scores(name: str = "plain", *, exact: float | None = 100.0, **changes: Any) -> dict[str, Any]:
    clear = {
        "exact_percent": exact,
        "core_percent": 98.0,
        "false_merges": 0,
        "over_splits": 2,
        "predicted_sessions": 500,
        "link_precision": None,
        "link_recall": None,
    } | changes
    across = changes.get("across", 0)
    everything = {"requests": 7, "sessions": 4, "cross_tenant_merges": across}
    return {"scenario": name, "all": everything, "clear": clear}


def test_baselines_stand_beside_ours() -> None:
    ours = [scores(link_precision=1.0, link_recall=0.995)]
    found = accuracy_report.beside_baselines(ours, {"chain": [scores(exact=12.34)]})
    head, _, row = found.splitlines()
    assert head.endswith("| links % | `chain` |")
    assert row == "| `plain` | 7 | 100.0 | 98.0 | 0 | 0 | 2 | 100.0 / 99.5 | 12.3 / 98.0 |"


def test_every_run_has_a_column() -> None:
    found = accuracy_report.by_run({ONE: [scores()], OTHER: [scores(exact=None)]})
    head, _, row = found.splitlines()
    assert head == "| scenario | seed 1 | seed 2, 5 times the size |"
    assert row == "| `plain` | 100.0 / 98.0 | - / 98.0 |"


def test_every_run_has_a_row_of_totals() -> None:
    ours = {
        ONE: [scores(), scores("reset", exact=99.0, false_merges=2)],
        OTHER: [scores(), scores("reset", exact=None, link_precision=0.98, link_recall=1.0)],
    }
    chain = {ONE: [scores(exact=10.0)], OTHER: [scores(exact=None, core_percent=None)]}
    found = accuracy_report.totals(ours, {"chain": chain}).splitlines()[2:]
    assert found == [
        "| seed 1 | 14 | 8 | 99.5 | 98.0 | 2.00 | 0 | 100.0 | 10.0 / 98.0 |",
        "| seed 2, 5 times the size | 14 | 8 | 100.0 | 98.0 | 0.00 | 0 | 98.0 | - / - |",
    ]


def test_what_reaches_every_goal_is_not_listed() -> None:
    ours = [scores(), scores("reset", exact=99.0), scores("tenants", exact=None)]
    found = accuracy_report.below_goals({ONE: ours})
    assert found == "Every scenario reaches every goal in every run."


def test_whatever_falls_short_is_listed() -> None:
    ours = [
        scores(exact=99.8),
        scores("reset", exact=98.99),
        scores("edit", core_percent=96.9),
        scores("subagents", link_precision=1.0, link_recall=0.98),
        scores("window", link_precision=0.0),
        scores("mixed", link_precision=None, link_recall=0.0),
        scores("tenants", across=1),
        scores("mixed", false_merges=4, predicted_sessions=400),
    ]
    assert accuracy_report.below_goals({ONE: ours}).splitlines() == [
        "- seed 1: `plain` exact 99.80 %, goal 99.9 %",
        "- seed 1: `reset` exact 98.99 %, goal 99 %",
        "- seed 1: `edit` core 96.90 %, goal 97 %",
        "- seed 1: `subagents` parent links 100.0 / 98.0 %, goal 99 %",
        "- seed 1: `window` names parents where there are none",
        "- seed 1: `mixed` parent links 0.0 / 0.0 %, goal 99 %",
        "- seed 1: `tenants` 1 sessions across tenants, goal 0",
        "- seed 1: 1.03 of 1,000 found sessions hold several, goal 1",
    ]


def test_no_session_is_no_merge() -> None:
    assert accuracy_report.merges_in_1000([scores(predicted_sessions=0)]) == 0.0
