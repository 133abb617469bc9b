"""What rows of foreign logs hold: times in many forms, JSON within JSON, names of all kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway_sessions.dialects.parsing import JSON_ERRORS, Json, parse

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Numbers above the first are times in so many parts of a second; seconds stay below all of
them until the year 5138."""

NOTHING = msgspec.Raw(b"null")
"""The body of a request or response that was not kept."""


def moment(value: Any) -> datetime | None:
    """Return a time, or None where there is none.

    Takes ISO 8601, with or without zone (UTC then), and unix time in seconds, milliseconds,
    microseconds or nanoseconds, as a number or its text.
    """
    if type(value) is str:
        try:
            value = float(value)
        except ValueError:
            return _from_text(value)
    if type(value) not in (int, float):
        return None
    for above, parts in _UNITS:
        if value > above:
            value /= parts
            break
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _from_text(value: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def milliseconds(began: datetime, ended: datetime | None) -> float:
    """Return how long something took, 0 where its end is not known or comes first."""
    return max(0.0, (ended - began).total_seconds() * 1000) if ended else 0.0


def nested(value: Any) -> Any:
    """Return what JSON in a text says (once or twice over); anything else as it is."""
    for _ in range(2):
        if type(value) is not str or value.lstrip()[:1] not in ("{", "[", '"'):
            return value
        try:
            value = parse(value)
        except JSON_ERRORS:
            return value
    return value


def mapping(value: Any) -> Json:
    """Return an object, also one in a text; an empty one for anything else."""
    value = nested(value)
    return value if type(value) is dict else {}


def text(value: Any) -> str:
    """Return a text; an empty one for anything else."""
    return value if type(value) is str else ""


def first(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the first of some fields that is there and not empty; None if none is."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def headers(value: Any) -> dict[str, str | list[str]]:
    """Return headers with lower-case names, given as an object or as a list of pairs."""
    value = nested(value)
    if type(value) is list:
        value = {
            text(pair.get("name")): pair.get("value")
            for pair in reversed(value)  # of repeated ones, the first counts
            if type(pair) is dict
        }
    if type(value) is not dict:
        return {}
    return {name.lower(): sent for name, sent in value.items() if type(sent) is str}


def body(value: Any) -> msgspec.Raw:
    """Return a value as JSON."""
    return msgspec.Raw(msgspec.json.encode(value)) if value is not None else NOTHING
