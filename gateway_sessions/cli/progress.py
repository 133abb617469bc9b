"""Progress bars, for people only: on a terminal, and only where the wait is worth one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

WORTH_SECONDS = 1.0
"""Shorter waits get no bar: it would flash by."""
_REFRESH_SECONDS = 0.1
"""As often as the bar is drawn anew."""


def wanted(*, speaks: bool = True) -> bool:
    """Tell whether somebody watches standard error and nothing else is written to the screen.

    ``speaks`` is whether the command writes to standard output while it works.
    """
    return sys.stderr.isatty() and not (speaks and sys.stdout.isatty())


def bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar on standard error that leaves nothing behind.

    Without ``columns`` it shows "3 of 12" and the time left.
    """
    shown = columns or (MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *shown,
        console=console,
        transient=True,
    )


def _of_log(total: int | None) -> Progress:
    """Return a bar for a log: how far it is, where its size is known; else, how much it was."""
    rate = TextColumn("{task.fields[exchanges]:,} exchanges, {task.fields[rate]:,.0f}/s")
    if total is None:
        return bar(DownloadColumn(), rate)
    return bar(TaskProgressColumn(), DownloadColumn(), rate, TimeRemainingColumn())


class Meter:
    """Shows how far a log has been read, once that has taken a second."""

    def __init__(
        self,
        total: int | None,
        what: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        make: Callable[[int | None], Progress] = _of_log,
    ) -> None:
        """Measure the way through ``total`` bytes, None where nobody knows how many."""
        self._total = total
        self._what = what
        self._clock = clock
        self._make = make
        self._bytes = 0
        self._exchanges = 0
        self._started = clock()
        self._next = self._started + WORTH_SECONDS
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def read(self, size: int) -> None:
        """Note that so many more bytes have been read."""
        self._bytes += size
        self._look()

    def placed(self) -> None:
        """Note that one more exchange has its session."""
        self._exchanges += 1
        self._look()

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def _look(self) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _REFRESH_SECONDS
        rate = self._exchanges / (now - self._started)
        if self._progress is None:
            self._progress = self._make(self._total)
            self._progress.start()
            self._task = self._progress.add_task(
                self._what, total=self._total, exchanges=0, rate=0.0
            )
        self._progress.update(
            self._task, completed=self._bytes, exchanges=self._exchanges, rate=rate
        )
