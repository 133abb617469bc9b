"""Points in time as text."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from math import floor


# Events of one exchange share their times, and nearly all events of a moment their second; making
# the text anew each time would cost a tenth of all that is done for an event.
@lru_cache(maxsize=1024)
def rfc3339(at: float) -> str:
    """Return Unix time in seconds as RFC 3339 in UTC: ``2026-01-01T00:00:00.000000Z``."""
    second = floor(at)
    micros = round((at - second) * 1e6)
    if micros == 1_000_000:
        second, micros = second + 1, 0
    return f"{_second(second)}.{micros:06d}Z"


@lru_cache(maxsize=256)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")
