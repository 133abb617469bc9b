"""A comparison of two configurations, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway_sessions.cli.comparison import Case, Comparison, Part, Said, Side
from gateway_sessions.logs import escaped

_PARTS = 6
"""Parts of a case that are shown to people."""
_PARTINGS = 5
"""Kinds of partings that are shown to people, the most frequent ones."""
_NAMES = "AB"


def as_text(comparison: Comparison, names: Sequence[str], limit: int) -> Iterator[str]:
    """Yield the lines of a report; ``names`` are those of the two configurations."""
    merged, split = comparison.merged, comparison.split
    yield f"{_exchanges(comparison.exchanges)} with a session."
    for side, name in enumerate(names):
        yield f"  {_NAMES[side]}  {_counted(comparison.sessions(side), 'session')}  {escaped(name)}"
    if not merged and not split:
        yield "Both find the same sessions."
        return
    share = comparison.moved / comparison.exchanges
    yield (
        f"{_exchanges(comparison.moved)} ({share:.1%}) are with others in B than in A:"
        f" {_counted(len(merged), 'session')} of B from several of A,"
        f" {_counted(len(split), 'session')} of A in several of B."
    )
    yield ""
    yield "Where they part:"
    for said, times in comparison.partings[:_PARTINGS]:
        yield f"  {times:,}x"
        yield from _both(said, "    ")
    yield from _section(f"Merged in B{_of(merged, limit)}:", merged[:limit], 0)
    yield from _section(f"Split in B{_of(split, limit)}:", split[:limit], 1)


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _exchanges(number: int) -> str:
    return _counted(number, "exchange")


def _of(cases: Sequence[Case], limit: int) -> str:
    return f", the largest {limit:,} of {len(cases):,}" if len(cases) > limit else ""


def _section(title: str, cases: Sequence[Case], side: Side) -> Iterator[str]:
    """Yield cases with their parts, which are sessions of ``side``."""
    if cases:
        yield ""
        yield title
    for case in cases:
        yield ""
        yield (
            f"  {case.session_id} of {_NAMES[1 - side]}, {_exchanges(case.exchanges)},"
            f" is {len(case.parts):,} sessions in {_NAMES[side]}:"
        )
        for number, part in enumerate(case.parts[:_PARTS]):
            yield from _part(part, side, first=number == 0)
        if len(case.parts) > _PARTS:
            yield f"    … and {len(case.parts) - _PARTS:,} more"


def _part(part: Part, side: Side, *, first: bool) -> Iterator[str]:
    words = f"  “{escaped(part.words)}”" if part.words else ""
    yield (
        f"    {part.sessions[side]}  {_exchanges(part.exchanges)},"
        f" {_time(part.began)} to {_time(part.ended)}{words}"
    )
    if not first:
        yield f"      from {escaped(part.request_id)} on"
        yield from _both(part.said, "        ")


def _both(said: tuple[Said, Said], indent: str) -> Iterator[str]:
    for name, one in zip(_NAMES, said, strict=True):
        yield f"{indent}{name}: {one.relation} (by {one.source}), {escaped(one.reason)}"


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
        "partings": [
            {"times": times, "a": _said(a), "b": _said(b)} for (a, b), times in comparison.partings
        ],
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
