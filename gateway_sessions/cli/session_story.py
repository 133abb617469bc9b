"""One recorded session, told from its first request to its last.

As in `session_tables`, everything that was recorded is shown with control characters escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway_sessions.cli.session_tables import about, model, moment
from gateway_sessions.logs import escaped
from gateway_sessions.pages import amounts
from gateway_sessions.storage.results import Detail, Exchange, SessionRow, ToolCall

SHOWN = 2000
"""Characters of a text that are shown unless all of it is wanted."""
_ARGUMENTS = 200
"""Characters of a tool call's arguments that are shown."""


def told(detail: Detail, *, full: bool) -> Iterator[RenderableType]:
    """Yield a session as a person reads it; ``full`` for texts of any length."""
    yield from _head(detail)
    calls: dict[str, list[ToolCall]] = {}
    for call in detail.tool_calls:
        calls.setdefault(call.request_id, []).append(call)
    for number, exchange in enumerate(detail.exchanges, start=1):
        yield Text()
        yield from _exchange(number, exchange, calls.pop(exchange.request_id, []), full=full)
    for rest in calls.values():
        yield from (_call(call) for call in rest)


def _head(detail: Detail) -> Iterator[RenderableType]:
    session = detail.session
    yield Text(f"{escaped(session.session_id)}  {about(session)}".rstrip(), style="bold")
    ended = f"ended {moment(session.completed_at)}" if session.completed_at else "still open"
    yield Text(
        f"  {escaped(session.provider or 'other')} · {model(session)}"
        f" · {moment(session.started_at)} to {moment(session.last_active_at)} UTC, {ended}"
    )
    yield Text(
        f"  {amounts.plural(session.request_count, 'request')}"
        f" · {amounts.counted(session.total_tokens)} tokens"
        f" ({_tokens(session)}) · {amounts.dollars(session.cost_usd)}"
        f" · {amounts.milliseconds(session.provider_latency_ms)} at the provider,"
        f" {amounts.milliseconds(session.proxy_overhead_ms)} here"
    )
    if session.client_ip or session.user_agent:
        agent = f" ({escaped(session.user_agent)})" if session.user_agent else ""
        yield Text(f"  from {escaped(session.client_ip or amounts.UNKNOWN)}{agent}")
    if session.parent_session_id:
        root = escaped(session.root_session_id or amounts.UNKNOWN)
        yield Text(f"  started by {escaped(session.parent_session_id)}, root {root}")
    if detail.children:
        yield Text(f"  started {', '.join(map(escaped, detail.children))}")


def _tokens(row: SessionRow | Exchange) -> str:
    parts = [
        (row.input_tokens, "in"),
        (row.cache_read_tokens, "cached"),
        (row.output_tokens, "out"),
        (row.thinking_tokens, "thinking"),
        (row.reasoning_tokens, "reasoning"),
    ]
    always = {"in", "out"}
    shown = [
        f"{amounts.counted(number)} {name}" for number, name in parts if number or name in always
    ]
    return ", ".join(shown)


def _exchange(
    number: int, exchange: Exchange, calls: Sequence[ToolCall], *, full: bool
) -> Iterator[RenderableType]:
    yield Text.assemble(
        (f"{number}  {moment(exchange.created_at)}  {_decided(exchange)}", "bold"),
        "  ",
        _outcome(exchange),
    )
    yield Text(
        f"   {escaped(exchange.model_name or amounts.UNKNOWN)}"
        f" · {amounts.milliseconds(exchange.provider_latency_ms)}"
        f" · {_tokens(exchange)} · {amounts.dollars(exchange.cost_usd)}"
        f" · {escaped(exchange.request_id)}"
    )
    for mark, text in ((">", exchange.request_text), ("<", exchange.response_text)):
        if text:
            yield _said(mark, text, full=full)
    yield from (_call(call) for call in calls)


def _decided(exchange: Exchange) -> str:
    how = exchange.source or amounts.UNKNOWN
    if exchange.confidence is not None:
        how += f" {exchange.confidence:.2f}"
    return f"{exchange.relation or amounts.UNKNOWN} (by {how})"


def _outcome(exchange: Exchange) -> Text:
    if exchange.success is None and exchange.status is None:
        return Text("in flight")
    words = [str(exchange.status) if exchange.status else ""]
    words += [escaped(exchange.finish_reason or ""), escaped(exchange.error_message or "")]
    words.append("refused by the model" if exchange.has_refusal else "")
    return Text(", ".join(filter(None, words)), style="red" if exchange.success is False else "")


def _said(mark: str, text: str, *, full: bool) -> Padding:
    lines = [escaped(line.expandtabs(4)) for line in text.splitlines()]
    shown = "\n".join(lines)
    if not full and len(shown) > SHOWN:
        shown = f"{shown[:SHOWN]}… ({len(shown) - SHOWN:,} more characters; --full shows them)"
    return _hanging(mark, Text(shown))


def _call(call: ToolCall) -> Padding:
    arguments = escaped(call.tool_arguments or "")
    if len(arguments) > _ARGUMENTS:
        arguments = f"{arguments[:_ARGUMENTS]}…"
    words = [f"{escaped(call.tool_name)}({arguments})"]
    if call.output_size_bytes is None:
        words.append("no result seen")
    else:
        words.append(amounts.milliseconds(call.execution_time_ms))
        words.append(amounts.size(call.output_size_bytes))
    failed = call.success is False
    words += ["failed"] if failed else []
    return _hanging("tool", Text("  ".join(words), style="red" if failed else ""))


def _hanging(mark: str, text: Text) -> Padding:
    """Return a text whose lines all begin to the right of its mark."""
    text.overflow = "fold"  # a word that is longer than a line is cut in pieces, not cut off
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(mark, style="dim"), text)
    return Padding(table, (0, 0, 0, 3), expand=False)
