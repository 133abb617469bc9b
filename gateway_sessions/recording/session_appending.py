"""Writing session files: lines go to the ends of many files, few of which are open at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gateway_sessions.errors import GatewaySessionsError, StartError
from gateway_sessions.recording.files import private_directory
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.locked_files import append_lines, open_to_append
from gateway_sessions.recording.session_days import DayFolders, exists_in
from gateway_sessions.recording.session_files import COMPRESSED, PLAIN, file_stem
from gateway_sessions.recording.session_lines import first_line
from gateway_sessions.recording.unsynced import Unsynced

MAX_OPEN = 4096
"""Files open at a time where the system allows four times as many descriptors, else a quarter of
those: with more live sessions than that, a file is opened and locked for every batch."""
_ATTEMPTS = 8
"""At making a file in a folder that others remove at the same time."""

_FILES_FAULT = frozenset(
    {errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENXIO}
)
"""Errors at opening that say something of this file and nothing of the disk."""


class UnwritableFile(GatewaySessionsError):
    """One file can not be written, and that will not change by itself."""


class _Open:
    """A file that is open for appending."""

    __slots__ = ("day", "descriptor", "empty", "place", "turn")

    def __init__(self, descriptor: int, size: int, day: str, name: str) -> None:
        self.descriptor = descriptor
        self.day = day
        self.place = f"{day}/{name}"
        self.empty = size == 0
        self.turn = 0


class SessionAppender:
    """Appends lines to the files of sessions.  It belongs to one thread.

    Several processes may do so in the same folder, each for sessions of its own.

    Args:
        directory: Where the days' folders are; made with mode 0700 if it is missing.
        max_open: Files that are held open, those written last; None for as many as `MAX_OPEN`
            says.
    """

    def __init__(self, directory: Path, max_open: int | None = None) -> None:
        self.unsynced = Unsynced(directory)
        self._directory = directory
        self._max_open = max_open
        self.max_open = max_open or 1
        """Files that are held open, from `open` on."""
        self._open: OrderedDict[str, _Open] = OrderedDict()  # by session id
        self._days = DayFolders(directory)
        self._turn = 0

    def open(self) -> None:
        """Make the folder; raises `StartError` if files can not be made or locked in it."""
        # Now and not when it was made: a process of its own may have more descriptors since.
        self.max_open = self._max_open or _quarter_of_descriptors()
        private_directory(self._directory)
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as exc:
            raise StartError(
                f"{self._directory}: files can not be locked there ({exc.strerror}); choose a"
                " folder on a local disk"
            ) from exc
        finally:
            os.close(descriptor)
        self._days.refresh()

    def append(
        self,
        session_id: str,
        day: str,
        lines: Sequence[bytes],
        *,
        starts: bool = False,
        ends: bool = False,
    ) -> None:
        """Append lines to the file of a session; nothing is left of a line that fails.

        Args:
            session_id: Whose file.
            day: Of the first line's event, as ``2026-01-31``.  The file is in this day's folder,
                or in that of another day where the session has one already.
            lines: Each with its end.
            starts: The session starts with the first line, so that the day is its own.
            ends: With the last line the session is over.

        Raises:
            PartlyWritten: from an `OSError`; it tells how many lines are there.
            UnwritableFile: there is something else in the file's place.
            OSError: the file can not be opened for another reason.
        """
        file = self._open.get(session_id)
        if file is None or (starts and file.day != day):
            file = self._opened(session_id, day, starts)
        else:
            self._open.move_to_end(session_id)
        file.turn = self._turn
        if file.empty:
            lines = [first_line(lines[0]), *lines[1:]]
        self.unsynced.changed(file.place)
        try:
            append_lines(file.descriptor, lines[0] if len(lines) == 1 else b"".join(lines))
        except PartlyWritten:
            # What the file looks like now is found out when it is opened again.
            self._close(session_id)
            raise
        file.empty = False
        if ends:
            self._close(session_id)

    def turn(self) -> None:
        """Note that a minute has passed: close what was not written since the one before."""
        self._turn += 1
        self.unsynced.turn()
        for session_id in [s for s, file in self._open.items() if file.turn < self._turn - 1]:
            self._close(session_id)
        self._days.refresh()

    def close(self) -> None:
        """Close all files; raises `OSError` if what was written can not be made durable."""
        for session_id in list(self._open):
            self._close(session_id)
        self._days.forget()
        self.unsynced.sync()

    def _opened(self, session_id: str, day: str, starts: bool) -> _Open:
        self._close(session_id)
        while len(self._open) >= self.max_open:
            self._close(next(iter(self._open)))
        stem = file_stem(session_id)
        try:
            file = None if starts else self._found(stem, day)
            file = file or self._made(stem, day)
        except OSError as error:
            if error.errno not in _FILES_FAULT:
                raise
            raise UnwritableFile(
                f"{self._directory / day / stem}{PLAIN}: can not be written ({error.strerror});"
                " remove what is in its place"
            ) from error
        # Also where it was there: whoever made it may have been killed before its name was synced.
        self.unsynced.named_in(file.day)
        self._open[session_id] = file
        return file

    def _found(self, stem: str, day: str) -> _Open | None:
        """Open the file of a session where it has one, beside its compressed part if need be."""
        for found, folder in self._days.recent(day):
            opened = open_to_append(stem + PLAIN, folder, make=False)
            if opened is not None:
                return _Open(*opened, found, stem + PLAIN)
            if exists_in(folder, stem + COMPRESSED):
                return self._made(stem, found)
        return None

    def _made(self, stem: str, day: str) -> _Open:
        for _ in range(_ATTEMPTS):
            opened = open_to_append(stem + PLAIN, self._days.made(day), make=True)
            if opened is not None:
                return _Open(*opened, day, stem + PLAIN)
            self._days.forget()  # its folder has been removed
        raise OSError(errno.EAGAIN, "its folder is removed again and again")

    def _close(self, session_id: str) -> None:
        file = self._open.pop(session_id, None)
        if file is not None:
            with suppress(OSError):  # what it could tell of lost data, syncing tells
                os.close(file.descriptor)


def _quarter_of_descriptors() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN if limit == resource.RLIM_INFINITY else max(1, min(MAX_OPEN, limit // 4))
