"""Everything that was noted is synced: files first, then the folders that name them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway_sessions.recording.unsynced import Unsynced


class Disk:
    """Notes which inodes are synced; fails for some."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.synced: list[str] = []
        self.broken: set[str] = set()
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        paths = (self.root, *self.root.rglob("*"))
        found = next(path for path in paths if path.lstat().st_ino == inode)
        name = str(found.relative_to(self.root))
        if name in self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.synced.append(name)

    def taken(self) -> list[str]:
        taken, self.synced = self.synced, []
        return taken


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


@pytest.fixture
def unsynced(tmp_path: Path) -> Unsynced:
    (tmp_path / "day").mkdir()
    for name in ("a", "b"):
        (tmp_path / "day" / name).write_text("")
    return Unsynced(tmp_path)


def test_files_come_before_the_folders_that_name_them(unsynced: Unsynced, disk: Disk) -> None:
    unsynced.named_in("day")
    for name in ("day/a", "day/b", "day/a"):
        unsynced.changed(name)
    unsynced.sync()
    assert disk.taken() == ["day/a", "day/b", "day"]
    unsynced.sync()
    assert disk.taken() == []


def test_what_fails_is_tried_again(unsynced: Unsynced, disk: Disk) -> None:
    disk.broken = {"day/a", "day"}
    unsynced.changed("day/a")
    unsynced.changed("day/b")
    unsynced.named_in("day")
    with pytest.raises(OSError, match="Input/output error"):
        unsynced.sync()
    assert disk.taken() == ["day/b"]
    disk.broken = set()
    unsynced.sync()
    assert disk.taken() == ["day/a", "day"]


def test_what_is_gone_needs_no_syncing(unsynced: Unsynced, disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "day" / "link").symlink_to("a")
    for name in ("day/gone", "day/link", "day/a/below"):
        unsynced.changed(name)
    unsynced.sync()
    assert disk.taken() == []
    assert len(unsynced) == 0


def test_only_what_rests_is_synced_beforehand(unsynced: Unsynced, disk: Disk) -> None:
    unsynced.changed("day/a")
    unsynced.turn()
    unsynced.changed("day/b")
    unsynced.sync_old()
    assert disk.taken() == []
    unsynced.turn()
    unsynced.sync_old()
    assert disk.taken() == ["day/a"]
    unsynced.sync()
    assert disk.taken() == ["day/b"]


def test_many_files_are_all_synced(unsynced: Unsynced, disk: Disk, tmp_path: Path) -> None:
    names = [f"day/{number}" for number in range(300)]
    for name in names:
        (tmp_path / name).write_text("")
        unsynced.changed(name)
    unsynced.named_in("day")
    unsynced.sync()
    synced = disk.taken()
    assert sorted(synced[:-1]) == sorted(names)
    assert synced[-1] == "day"
    for name in names:
        unsynced.changed(name)
    unsynced.turn()
    unsynced.turn()
    unsynced.sync_old()
    assert sorted(disk.taken()) == sorted(names)
