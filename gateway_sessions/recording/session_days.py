"""The open folders of days: files are opened relative to them, which no link can lead astray."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway_sessions.recording.files import make_private_directory, open_private
from gateway_sessions.recording.session_files import SessionFolder

LOOK_BACK_DAYS = 31
"""Folders in which the file of a session is looked for that this process has not begun."""


class DayFolders:
    """Descriptors of the days' folders in ``directory``; at most `LOOK_BACK_DAYS` and a few."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._days: list[str] = []
        self._descriptors: dict[str, int] = {}

    def refresh(self) -> None:
        """Look which folders there are."""
        with suppress(OSError):  # what is wrong will show when a file is written
            self._days = SessionFolder(self._directory).days()[: -LOOK_BACK_DAYS - 1 : -1]
        for day in self._descriptors.keys() - set(self._days):
            os.close(self._descriptors.pop(day))

    def recent(self, first: str) -> Iterator[tuple[str, int]]:
        """Yield days and their folders: ``first``, where it has one, and then the newest."""
        for day in (first, *(d for d in self._days if d != first)):
            descriptor = self._existing(day)
            if descriptor is not None:
                yield day, descriptor

    def made(self, day: str) -> int:
        """Return the folder of a day, made with mode 0700 if it is missing; raises `OSError`."""
        descriptor = self._existing(day)
        if descriptor is not None:
            return descriptor
        make_private_directory(self._directory / day)
        self.refresh()
        descriptor = self._existing(day)
        if descriptor is None:
            raise OSError(errno.EAGAIN, "its folder was removed at once")
        return descriptor

    def forget(self) -> None:
        """Close all folders; they are opened again when they are asked for."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _existing(self, day: str) -> int | None:
        descriptor = self._descriptors.get(day)
        if descriptor is None:
            flags = os.O_RDONLY | os.O_DIRECTORY
            try:
                descriptor = open_private(self._directory / day, flags)
            except FileNotFoundError:
                return None
            self._descriptors[day] = descriptor
        return descriptor


def exists_in(folder: int, name: str) -> bool:
    """Tell whether there is something of that name in an open folder."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
