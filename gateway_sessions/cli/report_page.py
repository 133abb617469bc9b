"""The report as one page that stands alone: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway_sessions.pages import amounts
from gateway_sessions.pages.environment import look, page_environment
from gateway_sessions.pages.plots import latency_plot, slot_plots
from gateway_sessions.storage.reports import Report
from gateway_sessions.storage.results import Sums

_FOLDER = Path(__file__).parent / "templates"


def page(report: Report, filters: Mapping[str, str]) -> str:
    """Return a report as HTML; ``filters`` are the conditions that the user gave."""
    style = "\n" + look()
    cost, requests, tokens = slot_plots(report)
    template = page_environment(_FOLDER).get_template("report.html")
    made = template.render(
        report=report,
        filters=filters,
        figures=_figures(report.total),
        slot=report.slot,
        plots={"cost": cost, "requests": requests, "tokens": tokens},
        latency=latency_plot(report.latencies, report.total.latency),
        spans=_spans([(group.key, group.sums) for group in report.models]),
        shares=_shares,
        style=style,
        policy=_policy(style),
    )
    return made.lstrip()


def _policy(style: str) -> str:
    """Return a policy that lets the browser use our one style sheet and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _figures(sums: Sums) -> list[tuple[str, str, str]]:
    """Return the key figures: what, how much, and what it is made of."""
    latency = sums.latency
    each = sums.cost_usd / sums.sessions if sums.cost_usd is not None and sums.sessions else None
    cost = f"{amounts.dollars(each)} per session"
    if sums.unpriced_requests:
        cost += f", {amounts.plural(sums.unpriced_requests, 'request')} without a price"
    cached = amounts.share(sums.cache_read_tokens, sums.input_tokens)
    tokens = f"{amounts.short(sums.input_tokens)} in, {amounts.short(sums.output_tokens)} out"
    failed = f"{sums.errors:,} failed ({amounts.share(sums.errors, sums.requests)})"
    p95, p99 = amounts.milliseconds(latency.p95_ms), amounts.milliseconds(latency.p99_ms)
    return [
        ("Cost", amounts.dollars(sums.cost_usd), cost),
        ("Sessions", amounts.counted(sums.sessions), _each(sums.requests, sums.sessions)),
        ("Requests", amounts.counted(sums.requests), failed),
        ("Tokens", amounts.short(sums.total_tokens), f"{tokens}, {cached} of input cached"),
        ("Latency, median", amounts.milliseconds(latency.p50_ms), f"p95 {p95}, p99 {p99}"),
    ]


def _each(requests: int, sessions: int) -> str:
    return f"{requests / sessions:.1f} requests each" if sessions else "no requests"


def _shares(values: Sequence[float | None]) -> list[float]:
    """Return each value in percent of the largest one."""
    top = max((value or 0 for value in values), default=0) or 1
    return [100 * (value or 0) / top for value in values]


def _spans(rows: Sequence[tuple[str, Sums]]) -> list[dict[str, Any]]:
    """Return where the percentiles of each model's latency stand, in percent of the longest."""
    known = [(key, sums.latency) for key, sums in rows if sums.latency.p99_ms is not None]
    top = max((latency.p99_ms or 0 for _, latency in known), default=0) or 1
    return [
        {
            "key": key,
            "latency": latency,
            "p50": 100 * (latency.p50_ms or 0) / top,
            "p95": 100 * (latency.p95_ms or 0) / top,
            "p99": 100 * (latency.p99_ms or 0) / top,
        }
        for key, latency in known
    ]
