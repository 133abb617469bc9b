"""Tables of accuracy: each scenario beside the baselines, and every run beside the goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench import report

Scores = Mapping[str, Any]
"""One scenario's record as sessionbench writes it: ``scenario``, ``all`` and ``clear``."""

GOAL_EXACT, GOAL_CORE = 99.0, 97.0
"""Percent of sessions that every scenario shall reach."""
STRICT_EXACT = 99.9
"""Percent of exact sessions where nothing is hard about the traffic, or the client helps."""
STRICT = frozenset(
    {"plain", "retry", "edit", "window", "reserialised", "streaming", "explicit", "responses_api"}
)
GOAL_LINKS = 0.99
"""Precision and recall of the links from sub-agents to their parents."""
GOAL_MERGES = 1.0
"""Found sessions, of 1,000, that may hold several real ones."""


class Run(NamedTuple):
    """One way of generating the traffic: random seed, and how many conversations."""

    seed: str
    scale: str

    @property
    def title(self) -> str:
        """Return what stands above its column."""
        return f"seed {self.seed}" + ("" if self.scale == "1" else f", {self.scale} times the size")


Measured = Mapping[Run, Sequence[Scores]]
"""Our scores in each run."""


def beside_baselines(ours: Sequence[Scores], others: Mapping[str, Sequence[Scores]]) -> str:
    """Return a Markdown table: our scores by scenario, and exact / core of each baseline."""
    heads = ["scenario", "requests", "exact %", "core %", "merges", "across tenants", "splits",
             "links %"]  # fmt: skip
    rows = [list(_row(scores)) for scores in ours]
    for name, baseline in others.items():
        heads.append(f"`{name}`")
        for row, scores in zip(rows, baseline, strict=True):
            row.append(_pair(scores))
    return report.table(heads, rows)


def by_run(measured: Measured) -> str:
    """Return a Markdown table with exact / core of every scenario in every run."""
    heads = ["scenario", *(run.title for run in measured)]
    rows = [
        [f"`{records[0]['scenario']}`", *map(_pair, records)]
        for records in zip(*measured.values(), strict=True)
    ]
    return report.table(heads, rows)


def totals(measured: Measured, others: Mapping[str, Measured]) -> str:
    """Return a Markdown table with one row a run: all scenarios together."""
    heads = ["run", "requests", "sessions", "mean exact %", "mean core %",
             "merges in 1,000", "across tenants", "lowest links %",
             *(f"`{name}`" for name in others)]  # fmt: skip
    rows = [
        [
            run.title,
            str(sum(scores["all"]["requests"] for scores in ours)),
            str(sum(scores["all"]["sessions"] for scores in ours)),
            _percent(_mean(ours, "exact")),
            _percent(_mean(ours, "core")),
            f"{merges_in_1000(ours):.2f}",
            str(sum(scores["all"]["cross_tenant_merges"] for scores in ours)),
            _percent(min(map(_lowest_link, ours), default=1.0) * 100),
            *(
                f"{_percent(_mean(baseline[run], 'exact'))} / "
                f"{_percent(_mean(baseline[run], 'core'))}"
                for baseline in others.values()
            ),
        ]
        for run, ours in measured.items()
    ]
    return report.table(heads, rows)


def below_goals(measured: Measured) -> str:
    """Return a Markdown list of all that falls short of a goal, in any run."""
    found = [f"- {run.title}: {line}" for run, ours in measured.items() for line in _below(ours)]
    return "\n".join(found) or "Every scenario reaches every goal in every run."


def merges_in_1000(ours: Sequence[Scores]) -> float:
    """Return how many of 1,000 found sessions hold unambiguous requests of several real ones."""
    found = sum(scores["clear"]["predicted_sessions"] for scores in ours)
    return 1000 * sum(scores["clear"]["false_merges"] for scores in ours) / found if found else 0.0


def _below(ours: Sequence[Scores]) -> Iterator[str]:
    for scores in ours:
        name = scores["scenario"]
        exact, core = (scores["clear"][f"{view}_percent"] for view in ("exact", "core"))
        goal = STRICT_EXACT if name in STRICT else GOAL_EXACT
        if exact is not None and exact < goal:
            yield f"`{name}` exact {exact:.2f} %, goal {goal:g} %"
        if core is not None and core < GOAL_CORE:
            yield f"`{name}` core {core:.2f} %, goal {GOAL_CORE:g} %"
        if _lowest_link(scores) < GOAL_LINKS:
            yield f"`{name}` parent links {_links(scores)} %, goal {100 * GOAL_LINKS:g} %"
        if _invents_links(scores):
            yield f"`{name}` names parents where there are none"
        if scores["all"]["cross_tenant_merges"]:
            yield f"`{name}` {scores['all']['cross_tenant_merges']} sessions across tenants, goal 0"
    merges = merges_in_1000(ours)
    if merges > GOAL_MERGES:
        yield f"{merges:.2f} of 1,000 found sessions hold several, goal {GOAL_MERGES:g}"


def _row(scores: Scores) -> Iterator[str]:
    clear = scores["clear"]
    yield f"`{scores['scenario']}`"
    yield f"{scores['all']['requests']}"
    yield _percent(clear["exact_percent"])
    yield _percent(clear["core_percent"])
    yield str(clear["false_merges"])
    yield str(scores["all"]["cross_tenant_merges"])
    yield str(clear["over_splits"])
    yield _links(scores)


def _pair(scores: Scores) -> str:
    clear = scores["clear"]
    return f"{_percent(clear['exact_percent'])} / {_percent(clear['core_percent'])}"


def _link_scores(scores: Scores) -> list[float]:
    """Return precision and recall of the parent links; nothing where there are none to find."""
    clear = scores["clear"]
    if clear.get("link_recall") is None:
        return []
    return [clear["link_precision"] or 0.0, clear["link_recall"]]


def _invents_links(scores: Scores) -> bool:
    """Whether parents were named in a scenario without sub-agents."""
    clear = scores["clear"]
    return clear.get("link_recall") is None and clear.get("link_precision") is not None


def _lowest_link(scores: Scores) -> float:
    return min(_link_scores(scores), default=1.0)


def _links(scores: Scores) -> str:
    return " / ".join(_percent(100 * value) for value in _link_scores(scores)) or "-"


def _mean(ours: Sequence[Scores], view: str) -> float | None:
    values = [scores["clear"][f"{view}_percent"] for scores in ours]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
