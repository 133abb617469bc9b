"""Names of files outlive a power cut, too: every folder is synced that has a new one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway_sessions.recording import files
from gateway_sessions.recording.unsynced import Unsynced
from gateway_sessions.storage import sqlite
from tests.contracts.test_event_writers import KINDS, Desk
from tests.faults.strict_disk import StrictDisk

FLUSHES = 12
Case = Callable[[StrictDisk, Path], None]


def files_of_a_new_folder(disk: StrictDisk, scratch: Path) -> None:
    """Write and flush, and assert after each flush that what was written is on the disk."""
    desk = Desk(KINDS["jsonl"], disk.root / "new" / "sessions")
    with closing(desk.writer):
        for number in range(FLUSHES):
            for session in (f"sess_{number // 4}_{part}" for part in range(number % 3 + 1)):
                desk.writer.write(desk.exchange(number, session))
            desk.writer.flush()
            left = disk.cut(scratch / str(number))
            assert KINDS["jsonl"].read(left / "new" / "sessions") == sorted(desk.offered)


def files_of_somebody_who_was_killed(disk: StrictDisk, scratch: Path) -> None:
    """Go on with a file that was there, but not yet on the disk, and assert the same."""
    folder = disk.root / "sessions"
    killed = Desk(KINDS["jsonl"], folder)
    killed.writer.write(killed.exchange(0))
    disk.asleep = True
    killed.writer.close()
    disk.asleep = False
    desk = Desk(KINDS["jsonl"], folder)
    with closing(desk.writer):
        desk.writer.write(desk.exchange(1))
        desk.writer.flush()
        left = disk.cut(scratch / "cut")
        assert set(KINDS["jsonl"].read(left / "sessions")) == killed.offered | desk.offered


def a_database(disk: StrictDisk, scratch: Path) -> None:
    """Open a database and assert that its name is on the disk."""
    desk = Desk(KINDS["sqlite"], disk.root / "new" / "database")
    desk.writer.close()
    left = disk.cut(scratch / "cut")
    assert (left / "new" / "database" / "sessions.db").is_file()


def no_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Unsynced, "changed", lambda self, file: None)


def no_folders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Unsynced, "named_in", lambda self, folder: None)


def no_folders_of_folders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "sync_directory", lambda directory: None)


def no_folder_of_databases(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite, "_sync_directory", lambda directory: None)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StrictDisk:
    root = tmp_path / "disk"
    root.mkdir()
    (tmp_path / "cuts").mkdir()
    return StrictDisk(root, monkeypatch)


@pytest.mark.parametrize(
    "case", [files_of_a_new_folder, files_of_somebody_who_was_killed, a_database]
)
def test_what_was_flushed_has_its_names(case: Case, disk: StrictDisk, tmp_path: Path) -> None:
    case(disk, tmp_path / "cuts")


@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        (no_files, files_of_a_new_folder),
        (no_folders, files_of_a_new_folder),
        (no_folders, files_of_somebody_who_was_killed),
        (no_folders_of_folders, files_of_a_new_folder),
        (no_folders_of_folders, a_database),
        (no_folder_of_databases, a_database),
    ],
)
def test_what_is_not_synced_is_missed(
    mutant: Callable[[pytest.MonkeyPatch], None],
    case: Case,
    disk: StrictDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        case(disk, tmp_path / "cuts")
