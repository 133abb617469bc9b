"""Logging that does not bury its reader: once in a while, and without our own frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

INTERVAL_SECONDS = 10.0
"""A line every ten seconds is seen by whoever looks and fills no disk."""


LONGEST = 300
"""Characters of an error's text in a log line, an event or a health report."""


class Quiet:
    """Lets one log line through per interval and counts the others.

    Not locked: one instance belongs to one thread.
    """

    def __init__(
        self,
        interval_seconds: float = INTERVAL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = interval_seconds
        self._monotonic = monotonic
        self._next = float("-inf")
        self._count = 0

    def count(self, events: int = 1) -> int:
        """Take note of ``events``; return how many to report now, 0 to stay silent."""
        self._count += events
        now = self._monotonic()
        if now < self._next:
            return 0
        self._next = now + self._interval
        counted, self._count = self._count, 0
        return counted


def summary(error: BaseException) -> str:
    """Return an error's kind and text; a text longer than `LONGEST` characters is cut.

    Plug-ins put whole requests into their errors.
    """
    text = str(error)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def trimmed(
    error: BaseException,
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """Return what ``logging``'s ``exc_info`` takes, starting at the plug-in's own code.

    The outermost frames are those of the module that called the plug-in, which tell its author
    nothing.
    """
    traceback = error.__traceback__
    if traceback is not None:
        caller = traceback.tb_frame.f_code.co_filename
        while traceback is not None and traceback.tb_frame.f_code.co_filename == caller:
            traceback = traceback.tb_next
    return type(error), error, traceback
