"""Progress bars, for people only: on a terminal, and only where the wait is worth one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

WORTH_SECONDS = 1.0
"""Shorter waits get no bar: it would flash by."""
_EVERY = 500
"""Items between two looks at the clock."""


def wanted() -> bool:
    """Tell whether somebody watches standard error and nothing else is written to the screen."""
    return sys.stderr.isatty() and not sys.stdout.isatty()


def bar(*, counted: bool) -> Progress:
    """Return a progress bar on standard error that leaves nothing behind.

    ``counted`` shows "3 of 12"; without it only the percentage is shown (of bytes, say).
    """
    amount = MofNCompleteColumn() if counted else TaskProgressColumn()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        amount,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def metered(
    lines: Iterable[bytes],
    total: int | None,
    what: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    make: Callable[[], Progress] = lambda: bar(counted=False),
) -> Iterator[bytes]:
    """Pass lines on, with a bar of the bytes read once it has taken a second.

    ``total`` is the number of bytes to come, None where nobody knows.
    """
    started, done = clock(), 0
    progress, task = None, None
    try:
        for number, line in enumerate(lines, 1):
            yield line
            done += len(line)
            if number % _EVERY == 0 and clock() - started >= WORTH_SECONDS:
                if progress is None:
                    progress = make()
                    progress.start()
                    task = progress.add_task(what, total=total)
                if task is not None:
                    progress.update(task, completed=done)
    finally:
        if progress is not None:
            progress.stop()
