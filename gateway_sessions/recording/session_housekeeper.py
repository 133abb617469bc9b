"""The thread that looks after session files, beside the one that writes them.

It begins with mending what a process that was killed may have left.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from gateway_sessions.recording.session_files import SessionFolder
from gateway_sessions.recording.session_keeping import (
    LOW_WATER,
    KeepLimits,
    SessionKeeper,
    Swept,
)
from gateway_sessions.recording.unsynced import Unsynced

logger = logging.getLogger(__name__)

_NICENESS = 10
"""Added to the thread's: compressing can wait, requests can not."""
_STOP_SECONDS = 30.0
"""How long the end waits for the file at hand; no file is harmed where that is too short."""


class Housekeeper:
    """Sweeps the folder once per interval, and earlier where much was written.

    `added`, `tick` and `stop` belong to the writer's thread.

    Args:
        folder: What to look after.
        limits: How long files are kept.
        interval_seconds: Time between two sweeps.
        unsynced: Files that were written; those that were not for a while are synced.
    """

    def __init__(
        self,
        folder: SessionFolder,
        limits: KeepLimits,
        interval_seconds: float,
        unsynced: Unsynced,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._interval = interval_seconds
        self._unsynced = unsynced
        self._keeper = SessionKeeper(folder, limits, lambda: not self._stopping)
        self._added = 0  # bytes, since the last sweep began
        self._kept = 0  # bytes, when it had ended
        self._swept_at: float | None = None
        self._now = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="session-files", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def added(self, size: int) -> None:
        """Note that so many bytes were written."""
        self._added += size

    def tick(self, now: float) -> None:
        """Let the thread do what is due; ``now`` is unix time in seconds."""
        self._now = now
        self._wake.set()

    def stop(self) -> None:
        """End the thread after the file at hand."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def work(self, now: float) -> Swept | None:
        """Sweep if that is due; return what was done, None where nothing was due.

        Raises `OSError` where the folder itself can not be read.
        """
        if not self._due(now):
            return None
        self._swept_at = now
        self._added = 0
        swept = self._keeper.sweep(now)
        self._kept = swept.kept_bytes
        self._tell(swept)
        return swept

    def _due(self, now: float) -> bool:
        # The clock may have been set back.
        if self._swept_at is None or abs(now - self._swept_at) >= self._interval:
            return True
        limit = self._limits.max_total_bytes
        if limit is None or self._added < limit * (1 - LOW_WATER):
            return False  # too little to look again, also where live sessions alone are too much
        return self._kept + self._added > limit

    def _run(self) -> None:
        _step_back()
        self._attempt(self._keeper.mend)
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            self._attempt(self._unsynced.sync_old)
            self._attempt(lambda: self.work(self._now))

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the next time it may work
            logger.warning("%s: upkeep failed: %s", self._folder.directory, error)

    def _tell(self, swept: Swept) -> None:
        directory = self._folder.directory
        if swept.compressed or swept.deleted:
            logger.info(
                "%s: compressed %d files (%d bytes to %d), deleted %d files past their keeping"
                " (%d bytes)",
                directory,
                swept.compressed,
                swept.before,
                swept.after,
                swept.deleted,
                swept.freed,
            )
        for problem in swept.problems:
            logger.warning("%s", problem)
        if more := swept.failed - len(swept.problems):
            logger.warning("%s: %d more files failed", directory, more)
        limit = self._limits.max_total_bytes
        if limit is not None and swept.kept_bytes > limit and not self._stopping:
            logger.warning(
                "%s: %d bytes, above max_total_size_gb, belong to live sessions or are not ours",
                directory,
                swept.kept_bytes,
            )


def _step_back() -> None:
    """Give this thread a lower priority than the others."""
    if sys.platform == "linux":  # elsewhere priorities belong to processes
        with suppress(OSError):
            thread = threading.get_native_id()
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
