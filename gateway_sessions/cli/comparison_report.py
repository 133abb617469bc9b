"""A comparison of two configurations, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway_sessions.cli.comparison import Case, Comparison, Part, Said, Side
from gateway_sessions.logs import escaped

_PARTS = 6
"""Parts of a case that are shown to people."""
_NAMES = "AB"


def as_text(comparison: Comparison, names: Sequence[str], limit: int) -> Iterator[str]:
    """Yield the lines of a report; ``names`` are those of the two configurations."""
    merged, split = comparison.merged, comparison.split
    yield f"{comparison.exchanges:,} exchanges with a session."
    for side, name in enumerate(names):
        yield f"  {_NAMES[side]}  {comparison.sessions(side):,} sessions  {escaped(name)}"
    if not merged and not split:
        yield "Both find the same sessions."
        return
    share = comparison.moved / comparison.exchanges
    yield (
        f"{comparison.moved:,} exchanges ({share:.1%}) are in a session with others than before:"
        f" B merges {_counted(merged, 'time')} and splits {_counted(split, 'session')} of A."
    )
    yield from _section(f"Merged by B{_of(merged, limit)}:", merged[:limit], 0)
    yield from _section(f"Split by B{_of(split, limit)}:", split[:limit], 1)


def _counted(cases: Sequence[Case], unit: str) -> str:
    return f"{len(cases):,} {unit}{'' if len(cases) == 1 else 's'}"


def _of(cases: Sequence[Case], limit: int) -> str:
    return f", the largest {limit:,} of {len(cases):,}" if len(cases) > limit else ""


def _section(title: str, cases: Sequence[Case], side: Side) -> Iterator[str]:
    """Yield cases with their parts, which are sessions of ``side``."""
    if cases:
        yield ""
        yield title
    for case in cases:
        yield ""
        whole = _NAMES[1 - side]
        yield (
            f"  {case.session_id} in {whole}, {case.exchanges:,} exchanges, is"
            f" {len(case.parts):,} sessions in {_NAMES[side]}:"
        )
        for number, part in enumerate(case.parts[:_PARTS]):
            yield from _part(part, side, first=number == 0)
        if len(case.parts) > _PARTS:
            yield f"    … and {len(case.parts) - _PARTS:,} more"


def _part(part: Part, side: Side, *, first: bool) -> Iterator[str]:
    words = f"  “{escaped(part.words)}”" if part.words else ""
    yield (
        f"    {part.sessions[side]}  {part.exchanges:,}x"
        f"  {_time(part.began)} to {_time(part.ended)}{words}"
    )
    if not first:
        yield f"      from {escaped(part.request_id)} on"
        for name, said in zip(_NAMES, part.said, strict=True):
            yield f"        {name}: {said.relation} (by {said.source}), {escaped(said.reason)}"


def _time(moment: datetime) -> str:
    return _utc(moment).strftime("%Y-%m-%d %H:%M:%S")


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def as_json(comparison: Comparison, names: Sequence[str], limit: int) -> dict[str, Any]:
    """Return a report as JSON values."""
    merged, split = comparison.merged, comparison.split
    return {
        "exchanges": comparison.exchanges,
        "without_session": comparison.without_session,
        "moved": comparison.moved,
        "a": {"config": names[0], "sessions": comparison.sessions(0)},
        "b": {"config": names[1], "sessions": comparison.sessions(1)},
        "merged": {"count": len(merged), "cases": [_case(case, 0) for case in merged[:limit]]},
        "split": {"count": len(split), "cases": [_case(case, 1) for case in split[:limit]]},
    }


def _case(case: Case, side: Side) -> dict[str, Any]:
    return {
        "session_id": case.session_id,
        "exchanges": case.exchanges,
        "parts": [
            {
                "session_id": part.sessions[side],
                "exchanges": part.exchanges,
                "began": _utc(part.began).isoformat(),
                "ended": _utc(part.ended).isoformat(),
                "first_words": part.words,
                "request_id": part.request_id,
                "a": _said(part.said[0]),
                "b": _said(part.said[1]),
            }
            for part in case.parts
        ],
    }


def _said(said: Said) -> dict[str, str]:
    return {"relation": said.relation, "source": said.source, "reason": said.reason}
