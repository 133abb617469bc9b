"""How long session files are kept, and in which form.

Days are dealt with one after the other, the oldest first, so that memory stays small however
many files there are.  Sessions that are live, and files that are not ours, are left alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from gateway_sessions.recording.locked_files import claimed
from gateway_sessions.recording.session_compressing import TEMPORARY, compress, is_live, is_ours
from gateway_sessions.recording.session_files import PLAIN, SessionFile, SessionFolder
from gateway_sessions.recording.session_lines import begins_file
from gateway_sessions.recording.session_mending import ends_whole, mend

logger = logging.getLogger(__name__)

LOW_WATER = 0.9
"""A folder that is too large is emptied to this share, so that files are looked through once per
tenth of it that is written, and not all the time."""
PROBLEMS = 20
"""Failures that are told one by one: a disk that can only be read makes all fail."""
_DAY_SECONDS = 86_400.0


class KeepLimits(msgspec.Struct, frozen=True):
    """What is kept; None sets no limit."""

    max_age_days: float | None = None
    """Days after a session's last event at which its files are deleted."""
    max_total_bytes: int | None = None
    """Size of all files above which those of the oldest sessions are deleted."""
    compress_after_days: int | None = None
    """Days after which the files of a day are compressed."""


class Swept(msgspec.Struct):
    """What a sweep did."""

    compressed: int = 0
    before: int = 0
    """Bytes of the compressed files, before."""
    after: int = 0
    deleted: int = 0
    freed: int = 0
    """Bytes of the deleted files."""
    left: int = 0
    """Files that were due and left alone: their session is live, or they are not ours."""
    failed: int = 0
    """Files that could not be compressed or deleted."""
    problems: list[str] = msgspec.field(default_factory=list)
    """A sentence for each of the first `PROBLEMS` of them."""
    kept_bytes: int = 0
    """Size of all files afterwards."""

    def fail(self, path: Path, what: str, error: Exception) -> None:
        """Take down that something could not be done to a file."""
        self.failed += 1
        if len(self.problems) < PROBLEMS:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self.problems.append(f"{path}: can not be {what}: {reason}.")


class SessionKeeper:
    """Compresses, deletes and mends the files of a folder."""

    def __init__(
        self,
        folder: SessionFolder,
        limits: KeepLimits,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """``wanted`` is asked between files whether a sweep is to go on."""
        self._folder = folder
        self._limits = limits
        self._wanted = wanted

    def sweep(self, now: float) -> Swept:
        """Delete what is too old, compress what is old, delete the oldest of what is too much.

        Raises `OSError` where the folder itself can not be read.
        """
        swept = Swept()
        sizes: dict[str, int] = {}
        for day in self._folder.days():
            self._delete_old(day, now, swept)
            for file in self.due(day, now):
                self.compress(file, now, swept)
            sizes[day] = sum(file.size for file in self._folder.files(day))
            self._remove_empty(day, now)
            if not self._wanted():
                return swept
        swept.kept_bytes = sum(sizes.values())
        limit = self._limits.max_total_bytes
        if limit is not None and swept.kept_bytes > limit:
            self._shrink(sizes, int(limit * LOW_WATER), now, swept)
        return swept

    def due(self, day: str, now: float) -> list[SessionFile]:
        """Return the files of a day that are old enough to be compressed."""
        after = self._limits.compress_after_days
        today = datetime.fromtimestamp(now, UTC).date()
        if after is None or (today - date.fromisoformat(day)).days < after:
            return []
        return [file for file in self._folder.files(day) if not file.compressed]

    def compress(self, file: SessionFile, now: float, swept: Swept) -> None:
        """Compress a file if that is possible, and take down what came of it."""
        if not self._wanted():
            return
        try:
            saved = compress(file, now)
        except FileNotFoundError:
            return  # somebody else was faster
        except Exception as error:  # noqa: BLE001 - zstd has errors of its own; the others go on
            swept.fail(file.path, "compressed", error)
            return
        if saved is None:
            swept.left += 1
            return
        swept.compressed += 1
        swept.before += saved.before
        swept.after += saved.after

    def mend(self) -> int:
        """Mend half lines at the ends of files that nobody writes to; return how many there were.

        Raises `OSError` where the folder itself can not be read.
        """
        mended = 0
        for file in self._folder.all_files():
            if file.compressed or not file.size:
                continue
            try:
                lost = _mended(file)
            except FileNotFoundError:
                continue
            except OSError as error:
                logger.warning("%s: can not be checked for a half line: %s", file.path, error)
                continue
            if lost:
                mended += 1
                logger.warning("%s: cut half a line of %d bytes at its end", file.path, lost)
        return mended

    def _delete_old(self, day: str, now: float, swept: Swept) -> None:
        limit = self._limits.max_age_days
        started = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        if limit is None or now - started < limit * _DAY_SECONDS:
            return
        for file in self._folder.files(day):
            if now - file.changed >= limit * _DAY_SECONDS:
                self._delete(file, now, swept)

    def _shrink(self, sizes: dict[str, int], enough: int, now: float, swept: Swept) -> None:
        for day in sizes:  # oldest first
            for file in sorted(self._folder.files(day), key=lambda f: (f.changed, f.stem)):
                if swept.kept_bytes <= enough or not self._wanted():
                    return
                if self._delete(file, now, swept):
                    swept.kept_bytes -= file.size
            self._remove_empty(day, now)

    def _delete(self, file: SessionFile, now: float, swept: Swept) -> bool:
        """Delete a file unless its session is live or it is not ours; tell if it is gone."""
        try:
            with free(file, now) as is_free:
                if not (is_free and is_ours(file.path)):
                    swept.left += 1
                    return False
                file.path.unlink()
        except FileNotFoundError:
            return True
        except Exception as error:  # noqa: BLE001 - as in compress
            swept.fail(file.path, "deleted", error)
            return False
        swept.deleted += 1
        swept.freed += file.size
        return True

    def _remove_empty(self, day: str, now: float) -> None:
        """Remove the folder of a day that has passed, if nothing of a session is left in it."""
        if day >= datetime.fromtimestamp(now, UTC).date().isoformat() or self._folder.files(day):
            return
        folder = self._folder.directory / day
        with suppress(OSError):
            for left_over in folder.glob(f".*{TEMPORARY}"):
                left_over.unlink()
            folder.rmdir()


@contextmanager
def free(file: SessionFile, now: float) -> Iterator[bool]:
    """Tell whether nothing more is expected of a file's session, and keep it so for the while.

    Raises `FileNotFoundError` where the file is gone.
    """
    with ExitStack() as stack:
        try:
            plain = file.path.with_name(file.stem + PLAIN)
            descriptor = stack.enter_context(claimed(plain, os.O_RDONLY))
        except FileNotFoundError:
            if not file.compressed:
                raise
            yield True
            return
        yield descriptor is not None and not is_live(descriptor, now)


def _mended(file: SessionFile) -> int:
    with claimed(file.path, os.O_RDWR | os.O_APPEND) as descriptor:
        if descriptor is None:
            return 0  # its writer may be in the middle of a line
        size = os.fstat(descriptor).st_size
        if ends_whole(descriptor, size) or not begins_file(os.pread(descriptor, 32, 0)):
            return 0
        lost = mend(descriptor, size)
        os.fsync(descriptor)
        return lost
