"""The lines of an agent tree: one for each session, prompt, turn and tool."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from gateway_sessions.analysis.agent_tree import (
    Branch,
    Compaction,
    LoopRecord,
    Rerun,
    SideCall,
    ToolOutcome,
    Turn,
    Usage,
)
from gateway_sessions.conversation import Text as Words
from gateway_sessions.logs import escaped
from gateway_sessions.pages import amounts
from gateway_sessions.storage.trees import Member

PROMPT = 32
"""Characters of a prompt that are shown, so that a nested line keeps its figures in 110 columns."""
TOOLS = 8
"""Tools of a turn that are named on its line."""

Piece = str | tuple[str, str]
_GOOD, _BAD, _OPEN = ("✓ ", "green"), ("✗ ", "red"), ("… ", "yellow")
_MARKS = {"completed": _GOOD, "rejected": _BAD, "aborted": _BAD}


def session(member: Member, called_by: ToolOutcome | None = None) -> Text:
    """Return a session: who works, with which model, what it and its sub-agents took."""
    found = member.session
    span = 1000 * (found.last_active_at - found.created_at)
    words = [
        escaped(found.agent_id) or amounts.UNKNOWN,
        amounts.plural(member.requests, "request"),
        *_used(member.usage),
    ]
    if member.usage_with_sub_agents != member.usage:
        words.append(f"in all {', '.join(_used(member.usage_with_sub_agents))}")
    words += [amounts.milliseconds(span), escaped(member.model or amounts.UNKNOWN)]
    words += ["live"] if member.is_live else []
    caller = [*tool(called_by), " → "] if called_by is not None else []
    name = (escaped(found.session_id), "bold")
    return _line(*caller, name, f"  {' · '.join(words)}", _doubt(member))


def _doubt(member: Member) -> str:
    """Return how sure it is for which call a sub-agent works, where it is not."""
    spawn = member.session.parent_spawn_ref
    if spawn is None or spawn.confirmed or not spawn.tool_call_id:
        return ""
    one_of = f", one of {len(spawn.candidates)} calls" if spawn.candidates else ""
    return f"  (by its task, {spawn.confidence:.2f}{one_of})"


def loop(found: LoopRecord, numbers: Mapping[str, int]) -> Text:
    """Return a prompt; ``numbers`` are those of the session's prompts, by loop."""
    prompt = _prompt(found)
    words = [
        *_kind(found, numbers),
        _clock(found.started_at),
        amounts.milliseconds(_span(found)),
        amounts.plural(found.turn_count, "turn"),
        *_used(found.usage),
    ]
    if found.status in ("rejected", "aborted"):
        words.append(found.status + (f": {escaped(found.rejection)}" if found.rejection else ""))
    return _line(
        _MARKS.get(found.status, _OPEN),
        (f"{numbers[found.loop_id]} {prompt}", "bold"),
        f"  {' · '.join(words)}",
    )


def _prompt(found: LoopRecord) -> str:
    messages = found.turns[0].input_messages if found.turns else ()
    words = (part.text for m in messages for part in m.parts if isinstance(part, Words))
    text = " ".join("".join(words).split())
    if not text:
        return "(not recorded)" if found.turns else "(another answer)"
    return f"“{escaped(text[:PROMPT])}{'…' if len(text) > PROMPT else ''}”"


def _kind(found: LoopRecord, numbers: Mapping[str, int]) -> list[str]:
    """Return how a loop goes on from others, and what runs beside it."""
    words = []
    start = numbers.get(found.parent_loop_id or "")
    after = f" of {start}" if start else ""
    kinds: dict[type, str] = {Rerun: f"rerun{after}", Branch: f"branch{after}"}
    kinds[Compaction] = "after a compaction"
    if name := kinds.get(type(found.continuation_kind)):
        words.append(name)
    group = found.parallel_group
    if group is not None and found.loop_id in group.all_loop_ids:
        place = f"{group.all_loop_ids.index(found.loop_id) + 1} of {len(group.all_loop_ids)}"
        words.append(f"∥ {place}{', chosen' if group.is_selected else ''}")
    return words


def turn(found: Turn, elsewhere: Collection[str] = ()) -> Text:
    """Return a turn with the tools that it called, but for calls that are shown elsewhere."""
    words = [
        f"turn {found.turn_id.turn_index + 1}",
        amounts.milliseconds(None if found.duration is None else 1000 * found.duration),
        *_used(found.usage),
    ]
    if len(found.attempts) > 1:
        words.append(f"{len(found.attempts)} attempts")
    errors = [escaped(attempt.error) for attempt in found.attempts if attempt.error]
    called = [each for each in found.tool_results if each.tool_call_id not in elsewhere]
    tools: list[Piece] = []
    for each in called[:TOOLS]:
        tools += ["  ", *tool(each)]
    if len(called) > TOOLS:
        tools.append(f"  and {len(called) - TOOLS} more")
    return _line(
        _turn_mark(found),
        " · ".join(words),
        (f" · {', '.join(dict.fromkeys(errors))}" if errors else "", "red"),
        *tools,
    )


def _turn_mark(found: Turn) -> Piece:
    if found.ended_at is None or not found.attempts:
        return _OPEN
    return _BAD if found.attempts[-1].error else _GOOD


def tool(found: ToolOutcome) -> list[Piece]:
    """Return a tool: its name, whether it worked, and how long it took at most."""
    mark = _OPEN
    if found.size_bytes is not None:
        mark = _BAD if found.is_error else _GOOD
    pieces: list[Piece] = [mark, (escaped(found.tool_name) or amounts.UNKNOWN, "cyan")]
    if found.duration_ms is not None:
        bound = "≤ " if found.is_upper_bound else ""
        pieces.append(f" {bound}{amounts.milliseconds(found.duration_ms)}")
    return pieces


def folded(count: int, unit: str, usage: Usage) -> Text:
    """Return what stands for parts that are left out."""
    words = " · ".join((f"{amounts.plural(count, 'more ' + unit)}", *_used(usage)))
    return _line((f"⋮ {words} (--all shows them)", "dim"))


def side_calls(calls: Sequence[SideCall]) -> Text:
    """Return the requests about a session that are none of its turns."""
    usage = sum((call.usage for call in calls), Usage())
    return _line(" · ".join((amounts.plural(len(calls), "side call"), *_used(usage))))


def in_flight(count: int) -> Text:
    """Return the requests that have no answer yet."""
    return _line(_OPEN, f"{amounts.plural(count, 'request')} in flight")


def _used(usage: Usage) -> tuple[str, ...]:
    tokens = f"{amounts.short(usage.total_tokens)} tokens"
    return (tokens,) if usage.cost_usd is None else (tokens, amounts.dollars(usage.cost_usd))


def _span(found: LoopRecord) -> float | None:
    return None if found.ended_at is None else 1000 * (found.ended_at - found.started_at)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _line(*pieces: Piece) -> Text:
    line = Text.assemble(*pieces)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
