"""What has been written and may still be lost by a power cut, and the way out of that."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from gateway_sessions.recording.files import open_private

_CHUNK = 64
"""Files synced between two looks at whether somebody is in more of a hurry."""
_THREADS = 8
"""They let the file system write its journal once for several files: three times as fast."""
_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


class Unsynced:
    """The files and folders of a directory that were changed since they were last synced.

    Paths are relative to the directory.  `changed` and `sync` belong to the writer's thread,
    `sync_old` may run on another one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}  # to the turn of the last change
        self._folders: set[str] = set()
        self._turn = 0
        self._lock = threading.Lock()
        """Guards the above; held for moments only."""
        self._syncing = threading.Lock()
        """Held while files are neither listed above nor on the disk yet."""

    def __len__(self) -> int:
        return len(self._files)

    def changed(self, file: str) -> None:
        """Note that a file was written to."""
        with self._lock:
            self._files[file] = self._turn

    def named_in(self, folder: str) -> None:
        """Note that a folder may have the name of a file that the disk has not."""
        with self._lock:
            self._folders.add(folder)

    def turn(self) -> None:
        """Note that a minute has passed."""
        with self._lock:
            self._turn += 1

    def sync(self) -> None:
        """Return when all that was noted is on the disk; raises `OSError`."""
        with self._syncing:
            with self._lock:
                files, self._files = self._files, {}
            self._sync(files)

    def sync_old(self) -> None:
        """Sync what was not changed for a turn, so that the list stays short; raises `OSError`.

        The system has written most of it already, so it takes little time.
        """
        while True:
            with self._syncing:
                with self._lock:
                    old = (f for f, turn in self._files.items() if turn < self._turn - 1)
                    files = {file: self._files.pop(file) for file in list(islice(old, _CHUNK))}
                if not files:
                    return
                self._sync(files)

    def _sync(self, files: dict[str, int]) -> None:
        """Sync files, then all folders; what fails stays noted, and the first error is raised."""
        with self._lock:
            folders, self._folders = self._folders, set()
        failed: list[tuple[str, OSError]] = []
        for kind, names in ((files, files), (folders, folders)):
            wrong = self._sync_each(names)
            failed += wrong
            with self._lock:
                for name, _ in wrong:
                    if kind is files:
                        self._files.setdefault(name, files[name])
                    else:
                        self._folders.add(name)
        if failed:
            raise failed[0][1]

    def _sync_each(self, names: Iterable[str]) -> list[tuple[str, OSError]]:
        names = list(names)
        if len(names) < _CHUNK:
            return self._sync_all(names)
        # A share for each thread: handing them one file at a time costs as much as syncing it.
        shares = [names[start::_THREADS] for start in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS, "sync") as pool:
            return [wrong for found in pool.map(self._sync_all, shares) for wrong in found]

    def _sync_all(self, names: Iterable[str]) -> list[tuple[str, OSError]]:
        tried = ((name, self._sync_one(name)) for name in names)
        return [(name, error) for name, error in tried if error is not None]

    def _sync_one(self, name: str) -> OSError | None:
        try:
            descriptor = open_private(f"{self._directory}/{name}", os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            # Compressed, which syncs it, or deleted, and perhaps something else in its place.
            return None if error.errno in _GONE else error
        return None
