"""Rows of the tables as values: which columns to select, and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from gateway_sessions.storage.results import Result

Row = TypeVar("Row", bound=Result)


def columns(kind: type[Result], table: str, **others: str) -> str:
    """Return what follows SELECT to read values of a kind: columns of its fields' names.

    ``others`` are expressions of fields that are no column.
    """
    return ", ".join(
        f"{others.get(name, f'{table}.{name}')} AS {name}" for name in kind.__struct_fields__
    )


def values(kind: type[Row], row: Sequence[Any]) -> Row:
    """Return a row as a value: flags as such, and times in RFC 3339."""
    named = dict(zip(kind.__struct_fields__, row, strict=True))
    for name in named.keys() & _FLAGS:
        named[name] = None if named[name] is None else bool(named[name])
    for name in named.keys() & _TIMES:
        named[name] = rfc3339(named[name])
    return kind(**named)


_FLAGS = frozenset({"success", "is_streaming", "has_tools", "has_refusal"})
_TIMES = frozenset({"started_at", "last_active_at", "completed_at", "created_at"})


def rfc3339(time: str | None) -> str | None:
    """Return a time of the tables as in events: ``2026-01-31T10:30:00.000000Z``."""
    return None if time is None else f"{time[:10]}T{time[11:]}Z"


def unix_time(time: str) -> float:
    """Return a time of the tables in unix seconds."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()
