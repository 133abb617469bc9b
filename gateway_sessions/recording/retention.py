"""Keeping a folder of files within an age and a size, oldest first, beside the traffic."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 3600.0
"""How often files are checked for their age."""

LOW_WATER = 0.9
"""A folder that is too large is emptied to this share, so that it is looked through rarely:
once per tenth of its size written, not once per file."""

_HOUR = 3600


class Retention:
    """Deletes the oldest of the files it is told it owns, and nothing else.

    ``owns`` tells by a file's name.  Ages go by the time of last change.  The work is done on a
    thread of its own; memory stays small however many files there are, because the folder is
    looked through twice instead of being listed.
    """

    def __init__(
        self,
        directory: Path,
        owns: Callable[[str], bool],
        *,
        max_age_seconds: float | None,
        max_total_bytes: int | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._owns = owns
        self._max_age = max_age_seconds
        self._max_total = max_total_bytes
        self._clock = clock
        self._added = 0  # bytes; written by the thread that adds files
        self._swept = self._mark = 0  # bytes found by the last sweep, `_added` when it began
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Sweep now and from then on, on a thread; does nothing where there is no limit."""
        if self._max_age is None and self._max_total is None:
            return
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, in the middle of a sweep if need be."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def added(self, size: int) -> None:
        """Take note of a new file of ``size`` bytes."""
        self._added += size
        if self._max_total is not None and self._swept + self._added - self._mark > self._max_total:
            self._wake.set()

    def sweep(self) -> int:
        """Delete what is too old, then the oldest of what is too much; return the count."""
        self._swept, self._mark = 0, self._added
        before = 0.0 if self._max_age is None else self._clock() - self._max_age
        by_hour: Counter[int] = Counter()
        deleted = 0
        for path, changed, size in self._files():
            if changed < before:
                deleted += _delete(path)
            else:
                by_hour[int(changed // _HOUR)] += size
        total = by_hour.total()
        if self._max_total is not None and total > self._max_total:
            deleted += self._shrink(by_hour, total - int(self._max_total * LOW_WATER))
            total = int(self._max_total * LOW_WATER)
        self._swept = total
        return deleted

    def _shrink(self, by_hour: Counter[int], excess: int) -> int:
        """Delete the oldest files, at least ``excess`` bytes of them."""
        deleted, last_hour, before_it = 0, 0, 0
        for hour in sorted(by_hour):
            last_hour = hour
            if before_it + by_hour[hour] >= excess:
                break
            before_it += by_hour[hour]
        in_last_hour: list[tuple[float, str, int]] = []
        for path, changed, size in self._files():
            hour = int(changed // _HOUR)
            if hour < last_hour:
                deleted += _delete(path)
            elif hour == last_hour:
                in_last_hour.append((changed, path, size))
        for _, path, size in sorted(in_last_hour):
            if before_it >= excess:
                break
            deleted += _delete(path)
            before_it += size
        return deleted

    def _files(self) -> Iterator[tuple[str, float, int]]:
        """Yield path, time of last change and size of each of our files."""
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if self._stopping:
                    return
                if not self._owns(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield entry.path, status.st_mtime, status.st_size

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                if deleted := self.sweep():
                    logger.info("%s: deleted %d files past their keeping", self._directory, deleted)
            except OSError as exc:
                logger.warning("%s: can not delete old files: %s", self._directory, exc)
            if not self._stopping:
                self._wake.wait(INTERVAL_SECONDS)


def _delete(path: str) -> int:
    try:
        os.unlink(path)  # noqa: PTH108 - a Path per file would triple the cost
    except FileNotFoundError:
        return 0
    return 1
