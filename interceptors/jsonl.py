"""Session files: one line of JSON per event, one file per session, made for jq and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from gateway_sessions import KeepLimits, SessionFiles, session_events

Positive = Annotated[float, Meta(gt=0)]


class JsonlWriter:
    """Writes events to ``DIR/YYYY-MM-DD/<session_id>.jsonl``.

    The day is the one (UTC) on which the session started, also of what comes on later days.  A
    file that can not be written fails only the events of its session.  What was half written
    when a disk became full is taken back.

    Args:
        directory: Folder of the days' folders; made with mode 0700 if it is missing.
        max_age_days: Days after a session's last event at which its files are deleted; null
            keeps them.
        max_total_size_gb: Gigabytes (10^9) of files above which those of the oldest sessions
            are deleted; null sets no limit.
        compress_after_days: Days after which the files of a day become ``.jsonl.zst``; null
            leaves them as they are.
        cleanup_interval_minutes: Minutes between two looks at what is to be deleted or
            compressed.
        max_open_files: Files held open, those that were written last; null for a quarter of what
            the system allows, 4,096 at most.
    """

    def __init__(
        self,
        directory: Path,
        max_age_days: Positive | None = 30,
        max_total_size_gb: Positive | None = 10,
        compress_after_days: Annotated[int, Meta(ge=0)] | None = 7,
        cleanup_interval_minutes: Positive = 60,
        max_open_files: Annotated[int, Meta(ge=1)] | None = None,
    ) -> None:
        limits = KeepLimits(
            max_age_days=max_age_days,
            max_total_bytes=None if max_total_size_gb is None else int(max_total_size_gb * 1e9),
            compress_after_days=compress_after_days,
        )
        self._files = SessionFiles(
            Path(directory),
            limits,
            interval_seconds=cleanup_interval_minutes * 60,
            max_open=max_open_files,
        )

    def open(self) -> None:
        """Make the folder; raises `StartError` if files can not be made in it."""
        self._files.open()

    def write(self, batch: Sequence[session_events.SessionEvent]) -> None:
        """Write a batch, each file's share of it at once.

        Raises `PartlyWritten` that names the events which could not be written; all others are.
        """
        self._files.write(batch)

    def write_json(self, batch: bytes) -> None:
        """Write a batch that is a JSON array of events; they become lines as they are.

        Raises `PartlyWritten` with the places of those that could not be written.
        """
        self._files.write_json(batch)

    def flush(self) -> None:
        """Return when all that was written would outlive a power cut; raises `OSError`."""
        self._files.sync()

    def tick(self, now: float) -> None:
        """Close files that are not written any more, and have old ones compressed and deleted."""
        self._files.tick(now)

    def close(self) -> None:
        """Close all files; raises `OSError` as `flush` does."""
        self._files.close()
