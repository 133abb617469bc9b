"""Recorded sessions for people, in tables and lines.

Everything that was recorded comes from clients and models, so it is shown with control
characters escaped: nobody can drive the reader's terminal by what they say to a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway_sessions.logs import escaped
from gateway_sessions.pages import amounts
from gateway_sessions.storage.results import (
    Group,
    Page,
    SessionRow,
    Sums,
    ToolGroup,
)

_ROOMY = 120
"""Columns from which on tables have room for texts."""


def moment(time: str | None) -> str:
    """Return a time to the second: ``2026-01-31 10:30:00``."""
    return amounts.UNKNOWN if time is None else f"{time[:10]} {time[11:19]}"


def sessions_table(page: Page, width: int) -> Table:
    """Return a page of sessions; what they are about is shown from `_ROOMY` columns on."""
    names = ("Session", "Started", "Model", *_NUMBERS, "Time", "Ok")
    roomy = width >= _ROOMY
    table = _table(*names, *(("About",) if roomy else ()))
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    if roomy:
        _widen_last(table)
    for session in page.sessions:
        row: list[str | Text] = [
            escaped(session.session_id),
            moment(session.started_at)[:16],
            model(session),
            amounts.counted(session.request_count),
            amounts.short(session.total_tokens),
            amounts.dollars(session.cost_usd),
            amounts.milliseconds(session.total_duration_ms),
            _mark(session),
        ]
        table.add_row(*row, *([about(session)] if roomy else []))
    return table


def found_texts(page: Page, snippets: Mapping[str, str]) -> Iterator[RenderableType]:
    """Yield the sessions of a page, each with the part of its text that was searched for."""
    for session in page.sessions:
        words = [
            moment(session.started_at)[:16],
            model(session),
            amounts.plural(session.request_count, "request"),
            amounts.dollars(session.cost_usd),
        ]
        yield Text.assemble((escaped(session.session_id), "bold"), "  ", "  ".join(words))
        text = snippets.get(session.session_id) or about(session)
        yield Padding(Text(escaped(" ".join(text.split()))), (0, 0, 0, 2), expand=False)


def about(session: SessionRow) -> str:
    """Return what a session is about, on one line."""
    return escaped(" ".join((session.title or session.excerpt or "").split()))


_NUMBERS = ("Requests", "Tokens", "Cost")
_RIGHT = frozenset({*_NUMBERS, "Time", "Failed", "Sessions", "In", "Cached", "Out"})
_RIGHT |= {"p50", "p95", "p99", "Calls", "Answered", "Time, mean", "Sent", "Returned"}


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for name in names:
        right = name in _RIGHT
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    return table


def _widen_last(table: Table) -> None:
    """Give the last column what the others leave, and cut what it can not hold."""
    table.expand = True
    table.columns[-1].ratio = 1
    table.columns[-1].no_wrap, table.columns[-1].overflow = True, "ellipsis"


def model(session: SessionRow) -> str:
    """Return the model that answered, or else that asked for."""
    return escaped(session.model_used or session.model_requested or amounts.UNKNOWN)


def _mark(session: SessionRow) -> Text:
    """Return whether the last exchange went well."""
    if session.success is None:
        return Text("…")
    return Text("✓", style="green") if session.success else Text("✗", style="red")


def page_line(page: Page) -> str:
    """Return where a page stands among all."""
    found = amounts.plural(page.total, "session")
    if page.pages == 1:
        return f"{found}."
    line = f"{found}, page {page.page:,} of {page.pages:,}"
    return f"{line}; --page {page.page + 1} shows more." if page.page < page.pages else f"{line}."


def sums_line(sums: Sums) -> str:
    """Return the sums over all sessions that were found."""
    unpriced = f" ({sums.unpriced_requests:,} without a price)" if sums.unpriced_requests else ""
    latency = sums.latency
    return (
        f"{amounts.plural(sums.sessions, 'session')}, {amounts.plural(sums.requests, 'request')}"
        f" ({sums.errors:,} failed), {amounts.short(sums.total_tokens)} tokens,"
        f" {amounts.dollars(sums.cost_usd)}{unpriced};"
        f" latency p50 {amounts.milliseconds(latency.p50_ms)},"
        f" p95 {amounts.milliseconds(latency.p95_ms)},"
        f" p99 {amounts.milliseconds(latency.p99_ms)}."
    )


def groups_table(first: str, groups: Sequence[Group], width: int) -> Table:
    """Return the sums of sessions, models, providers or days."""
    labelled = width >= _ROOMY and any(group.label for group in groups)
    latencies = ("p50", "p95", "p99")
    names = (first, "Cost", "Sessions", "Requests", "Failed", "Tokens", "In", "Cached", "Out")
    table = _table(*names, *latencies, *(("Title",) if labelled else ()))
    if labelled:
        _widen_last(table)
    for group in groups:
        sums = group.sums
        row = [
            escaped(group.key),
            amounts.dollars(sums.cost_usd),
            amounts.counted(sums.sessions),
            amounts.counted(sums.requests),
            amounts.counted(sums.errors),
            amounts.short(sums.total_tokens),
            amounts.short(sums.input_tokens),
            amounts.share(sums.cache_read_tokens, sums.input_tokens),
            amounts.short(sums.output_tokens),
            amounts.milliseconds(sums.latency.p50_ms),
            amounts.milliseconds(sums.latency.p95_ms),
            amounts.milliseconds(sums.latency.p99_ms),
        ]
        table.add_row(*row, *([escaped(group.label or "")] if labelled else []))
    return table


def tools_table(tools: Sequence[ToolGroup]) -> Table:
    """Return the sums of tools."""
    names = ("Tool", "Calls", "Failed", "Answered", "Sessions", "Time, mean", "p95")
    table = _table(*names, "Sent", "Returned")
    for tool in tools:
        table.add_row(
            escaped(tool.key),
            amounts.counted(tool.calls),
            amounts.counted(tool.errors),
            amounts.counted(tool.answered),
            amounts.counted(tool.sessions),
            amounts.milliseconds(tool.avg_execution_time_ms),
            amounts.milliseconds(tool.p95_execution_time_ms),
            amounts.size(tool.input_size_bytes),
            amounts.size(tool.output_size_bytes),
        )
    return table
