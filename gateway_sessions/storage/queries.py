"""A filter as SQL: conditions with parameters, never a word of the user's in the statement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway_sessions.storage.filters import SessionFilter, SortKey

Value = str | int | float
"""What a parameter of a statement can be."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a statement, and the values of its parameters in order."""

    sql: str
    values: tuple[Value, ...] = ()


EVERYTHING = "1"
"""The condition that always holds."""

_SORT: dict[SortKey, str] = {  # beside started, which all are sorted by
    "duration": "s.total_duration_ms",
    "tokens": "s.total_tokens",
    "cost": "s.cost_usd",
    "requests": "s.request_count",
}

WAITING = "temp.waiting_search"
"""Table of the texts that the search index does not have yet, as `search.asked` makes it."""

_WITH_TEXT = (
    "s.session_id IN (SELECT t.session_id FROM session_texts t WHERE t.id IN ("
    "SELECT rowid FROM session_search WHERE session_search MATCH ?"
    f" UNION ALL SELECT rowid FROM {WAITING} WHERE waiting_search MATCH ?))"
)
_OF_PARENT = (
    # All of a tree share their root, on which there is an index.
    "s.parent_session_id = ? AND s.root_session_id ="
    " COALESCE((SELECT root_session_id FROM sessions WHERE session_id = ?), ?)"
)
_WITH_REQUEST = "s.session_id IN (SELECT session_id FROM session_stats WHERE request_id IN ({}))"


def conditions(wanted: SessionFilter) -> Clause:
    """Return the condition on ``sessions s`` that a filter is."""
    parts = [
        *_range("s.created_at", _time(wanted.since), None),
        *_before("s.created_at", _time(wanted.until)),
        *_names("s.provider", wanted.providers),
        *_models(wanted.models),
        *_among("s.session_id IN ({})", wanted.session_ids),
        *_among(_WITH_REQUEST, wanted.request_ids),
        *_flag("s.success", wanted.success),
        *_flag("s.is_streaming", wanted.streaming),
        *_range("s.total_tokens", wanted.min_tokens, wanted.max_tokens),
        *_range("s.total_duration_ms", wanted.min_duration_ms, wanted.max_duration_ms),
        *_range("s.cost_usd", wanted.min_cost_usd, wanted.max_cost_usd),
        *_among("s.client_ip IN ({})", wanted.client_ips),
        *_among("s.finish_reason IN ({})", wanted.finish_reasons),
    ]
    if wanted.text:
        parts.append(Clause(_WITH_TEXT, (text_query(wanted.text),) * 2))
    if wanted.parent is not None:
        parts.append(Clause(_OF_PARENT, (wanted.parent,) * 3))
    if wanted.root is not None:
        parts.append(Clause("s.root_session_id = ?", (wanted.root,)))
    if not parts:
        return Clause(EVERYTHING)
    sql = " AND ".join(f"({part.sql})" for part in parts)
    return Clause(sql, tuple(value for part in parts for value in part.values))


def order(wanted: SessionFilter) -> str:
    """Return what follows ORDER BY: unknown values last, and ties always in the same order."""
    # Ties as in the indexes, which then need no sorting in either direction.
    if wanted.descending:
        way, ties = "DESC", "s.created_at DESC, s.rowid ASC"
    else:
        way, ties = "ASC", "s.created_at ASC, s.rowid DESC"
    if wanted.sort == "started":
        return ties
    return f"{_SORT[wanted.sort]} {way} NULLS LAST, {ties}"


def text_query(text: str) -> str:
    """Return a text as a query of FTS5 that holds nothing but words and phrases.

    Each is quoted, so that nothing in it is an operator.  All of them have to occur; a text
    without any is found nowhere.
    """
    found = []
    for phrase, word in re.findall(r'"([^"]*)"|([^\s"]+)', text):
        quoted = (phrase or word).replace('"', '""')
        if any(character.isalnum() for character in quoted):
            found.append(f'"{quoted}"')
    return " ".join(found) or '""'


def sql_time(moment: datetime) -> str:
    """Return a moment as the tables write it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else sql_time(moment)


def _range(column: str, least: Value | None, most: Value | None) -> list[Clause]:
    bounds = ((">=", least), ("<=", most))
    return [Clause(f"{column} {sign} ?", (bound,)) for sign, bound in bounds if bound is not None]


def _before(column: str, end: Value | None) -> list[Clause]:
    return [] if end is None else [Clause(f"{column} < ?", (end,))]


def _flag(column: str, wanted: bool | None) -> list[Clause]:
    return [] if wanted is None else [Clause(f"{column} = ?", (int(wanted),))]


def _among(sql: str, values: Sequence[str]) -> list[Clause]:
    if not values:
        return []
    return [Clause(sql.format(", ".join("?" * len(values))), tuple(values))]


def _names(column: str, names: Sequence[str]) -> list[Clause]:
    """Return the condition that a column holds one of some names, in which * is anything."""
    exact = [name for name in names if "*" not in name]
    patterns = [name for name in names if "*" in name]
    parts = [
        *_among(f"{column} IN ({{}})", exact),
        *(Clause(f"{column} GLOB ?", (_glob(pattern),)) for pattern in patterns),
    ]
    return [_any(parts)] if parts else []


def _models(models: Sequence[str]) -> list[Clause]:
    """Return the condition on the model that answered; where none did, on that asked for."""
    answered = _names("s.model_used", models)
    if not answered:
        return []
    (asked,) = _names("s.model_requested", models)
    without = Clause(f"s.model_used IS NULL AND ({asked.sql})", asked.values)
    return [_any([*answered, without])]


def _any(parts: Sequence[Clause]) -> Clause:
    values = tuple(value for part in parts for value in part.values)
    return Clause(" OR ".join(f"({part.sql})" for part in parts), values)


def _glob(pattern: str) -> str:
    """Return a pattern in which only * is special."""
    return re.sub(r"[?\[]", r"[\g<0>]", pattern)
