"""Files that only their owner can read, and no links followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.recording import files
from gateway_sessions.recording.files import (
    make_private_directory,
    open_private,
    private_directory,
    write_all,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_private(tmp_path / "f", os.O_WRONLY | os.O_CREAT))
        make_private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert mode(tmp_path / "f") == 0o600
    assert mode(tmp_path / "a") == 0o700
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        open_private(tmp_path / "link", os.O_WRONLY | os.O_TRUNC)
    assert target.read_text() == "precious"


def test_write_all_goes_on_after_short_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = bytearray()

    def short_write(descriptor: int, data: bytes) -> int:
        written.extend(data[:3])
        return min(3, len(data))

    monkeypatch.setattr(os, "write", short_write)
    write_all(99, b"0123456789")
    assert written == b"0123456789"


def test_an_existing_folder_keeps_its_mode_and_no_probe_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir(mode=0o755)
    private_directory(folder)
    assert mode(folder) == 0o755
    assert list(folder.iterdir()) == []


def test_the_names_of_new_folders_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    make_private_directory(tmp_path / "a" / "b")
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    make_private_directory(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_a_folder_is_made_where_nobody_may_list_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Path) -> None:
        raise PermissionError(f"{directory}: permission denied")

    monkeypatch.setattr(files, "sync_directory", refuse)
    make_private_directory(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


def test_a_folder_that_can_not_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"can not write there \(.*\); choose another") as error:
        private_directory(tmp_path / "file" / "d")
    assert "\n" not in str(error.value)


def test_a_folder_without_room_for_a_file_is_refused(tmp_path: Path) -> None:
    # A link at the probe's place stands for what permissions would do to anybody but root.
    (tmp_path / f".probe-{os.getpid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="can not write there"):
        private_directory(tmp_path)
