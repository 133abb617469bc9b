"""Values of a filter read from text: times, lengths of time, numbers, names.

Each takes the text and the present time, and raises `ValueError` for what it can not read, or
`OverflowError` for a time that no calendar has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

MAX_TEXT = 1000
"""Characters of a text that is searched for."""

_UNITS = {"ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "w": 6.048e8}
"""Milliseconds of each unit of time."""
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhdw])", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def milliseconds(text: str, _: datetime | None = None) -> float:
    """Read a length of time: a number with its unit."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2]]


def moment(text: str, now: datetime) -> datetime:
    """Read a time: how long ago, a day (its beginning), or a date with a time, UTC by default."""
    if _SPAN.fullmatch(text):
        return now - timedelta(milliseconds=milliseconds(text))
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match text:
        case "now":
            return now
        case "today":
            return today
        case "yesterday":
            return today - timedelta(days=1)
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def end(text: str, now: datetime) -> datetime:
    """Read a time as `moment` does; of a whole day, its end."""
    if text in {"today", "yesterday"} or _DAY.fullmatch(text):
        return moment(text, now) + timedelta(days=1)
    return moment(text, now)


def yes(text: str, _: datetime) -> bool:
    """Read yes or no, also as true and false or 1 and 0."""
    known = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def whole(least: int, most: int) -> Callable[[str, datetime], int]:
    """Return what reads whole numbers within bounds."""

    def read(text: str, _: datetime) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return read


def dollars(text: str, _: datetime) -> float:
    """Read an amount of money, without a sign."""
    if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?|\.\d{1,12}", text, re.ASCII):
        raise ValueError(text)
    return float(text)


def name(text: str, _: datetime) -> str:
    """Read what is taken as it is."""
    text.encode()  # refuses bytes that are no text, as a command line may have them
    if not text or "\0" in text:
        raise ValueError(text)
    return text


def text(text: str, _: datetime) -> str:
    """Read a text to search for; one without a letter or digit would be found nowhere."""
    text.encode()
    if len(text) > MAX_TEXT or not any(character.isalnum() for character in text):
        raise ValueError(text)
    return text.replace("\0", " ")
