"""A disk that keeps no more than POSIX promises: what was synced, and names only with their folder.

Real file systems are kinder, each in its own way.  ext4, XFS and btrfs write down a new file's name
together with its content, so that a power cut on them does not tell whether folders are synced.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest


class StrictDisk:
    """Notes what is synced below a folder that was there from the beginning."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.asleep = False
        """Whether it keeps nothing of what is synced now."""
        self._contents: dict[int, bytes] = {}  # of files, by inode
        self._names: dict[int, dict[str, int]] = {}  # in folders, to inodes
        self._folders: set[int] = {root.stat().st_ino}
        monkeypatch.setattr(os, "fsync", self._fsync)

    def cut(self, folder: Path) -> Path:
        """Make a folder of what is left after a power cut; return it."""
        self._put(self.root.stat().st_ino, folder)
        return folder

    def _fsync(self, descriptor: int) -> None:
        if self.asleep:
            return
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            entries = list(os.scandir(descriptor))
            self._names[status.st_ino] = {entry.name: entry.inode() for entry in entries}
            self._folders.update(entry.inode() for entry in entries if entry.is_dir())
        else:
            self._contents[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def _put(self, inode: int, path: Path) -> None:
        if inode not in self._folders:
            path.write_bytes(self._contents.get(inode, b""))
            return
        path.mkdir()
        for name, below in self._names.get(inode, {}).items():
            self._put(below, path / name)
