"""Writing, mending and removing the same file from several sides."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.locked_files import append_lines, claimed, open_to_append


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def opened(folder: int, name: str = "f", make: bool = True) -> tuple[int, int]:
    found = open_to_append(name, folder, make=make)
    assert found is not None
    return found


def test_a_new_file_is_private_and_empty(folder: int, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        descriptor, size = opened(folder)
    finally:
        os.umask(before)
    os.close(descriptor)
    assert size == 0
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_a_missing_file_is_only_made_where_that_is_wanted(folder: int, tmp_path: Path) -> None:
    assert open_to_append("f", folder, make=False) is None
    assert list(tmp_path.iterdir()) == []


def test_in_a_folder_that_was_removed_nothing_can_be_made(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    folder = os.open(gone, os.O_RDONLY)
    gone.rmdir()
    assert open_to_append("f", folder, make=True) is None
    os.close(folder)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), errno.ELOOP),
        (lambda path: path.symlink_to("nowhere"), errno.ELOOP),
        (lambda path: path.mkdir(), errno.EISDIR),
        (os.mkfifo, errno.EISDIR),
    ],
    ids=["link", "dangling", "folder", "pipe"],
)
def test_what_is_no_file_is_refused(
    folder: int, tmp_path: Path, place: Callable[[Path], None], code: int
) -> None:
    place(tmp_path / "f")
    with pytest.raises(OSError, match=rf"\[Errno {code}\]"):
        open_to_append("f", folder, make=True)


def test_a_half_line_is_cut_when_a_file_is_opened(folder: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{}\n{"a":')
    descriptor, size = opened(folder, make=False)
    assert size == 3
    append_lines(descriptor, b"{}\n")
    os.close(descriptor)
    assert (tmp_path / "f").read_bytes() == b"{}\n{}\n"


def test_a_line_that_another_process_is_writing_is_left_to_it(folder: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"a":')
    other = os.open(tmp_path / "f", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH)
    descriptor, size = opened(folder)
    assert size == 5
    os.close(other)
    with claimed(tmp_path / "f", os.O_RDONLY) as claim:
        assert claim is None, "the lock is lost"
    os.close(descriptor)


def test_after_mending_others_may_append_too(folder: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"a":')
    first, _ = opened(folder)
    second, _ = opened(folder)  # would wait for ever
    os.close(first)
    os.close(second)


def test_a_file_that_is_removed_before_it_is_locked_is_made_anew(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"{}\n")
    really_lock = fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        if path.exists() and path.stat().st_size:
            path.unlink()
        really_lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    descriptor, size = opened(folder)
    append_lines(descriptor, b"[]\n")
    os.close(descriptor)
    assert size == 0
    assert path.read_bytes() == b"[]\n"


def test_a_file_that_is_always_removed_is_an_error(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: (tmp_path / "f").unlink(missing_ok=True))
    with pytest.raises(OSError, match="again and again"):
        open_to_append("f", folder, make=True)


def test_an_open_file_can_not_be_claimed(folder: int, tmp_path: Path) -> None:
    descriptor, _ = opened(folder)
    with claimed(tmp_path / "f", os.O_RDWR) as claim:
        assert claim is None
    os.close(descriptor)
    with claimed(tmp_path / "f", os.O_RDWR) as claim:
        assert claim is not None


def test_only_files_can_be_claimed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "f", os.O_RDONLY):
        pass
    (tmp_path / "d").mkdir()
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "d", os.O_RDONLY):
        pass


class FullDisk:
    """Takes ``room`` bytes, seven at a time, and then says that it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(descriptor, data[: min(7, self.room)])
        self.room -= count
        return count


@pytest.mark.parametrize("room", range(21))
def test_on_a_full_disk_whole_lines_stay(
    folder: int, tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"[0]\n")
    descriptor, _ = opened(folder)
    FullDisk(monkeypatch, room)
    with pytest.raises(PartlyWritten) as error:
        append_lines(descriptor, b"[1,1]\n[2,2]\n[3,3,3,3]\n")
    os.close(descriptor)
    assert isinstance(error.value.__cause__, OSError)
    assert error.value.written == min(2, room // 6)
    assert (tmp_path / "f").read_bytes() == b"[0]\n[1,1]\n[2,2]\n"[: 4 + 6 * error.value.written]


def test_what_another_process_has_written_since_is_not_taken_back(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, _ = opened(folder)
    disk = FullDisk(monkeypatch, 7)
    written = disk.write

    def write(descriptor: int, data: bytes) -> int:
        count = written(descriptor, data)
        if not disk.room:
            with (tmp_path / "f").open("ab") as other:
                other.write(b"\n[9]\n")
        return count

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(PartlyWritten):
        append_lines(descriptor, b"[1,1,1,1,1]\n")
    os.close(descriptor)
    assert (tmp_path / "f").read_bytes() == b"[1,1,1,\n[9]\n"


_LIMITED = """
import os, resource, signal, sys
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.locked_files import append_lines, open_to_append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
descriptor, _ = open_to_append("f", os.open(sys.argv[1], os.O_RDONLY), make=True)
for _ in range(100):
    try:
        append_lines(descriptor, b"[" + b"1" * 60 + b"]\\n" + b"[" + b"2" * 60 + b"]\\n")
    except PartlyWritten as partly:
        print(partly.written, partly.__cause__.errno)
        break
"""


def test_a_limit_of_the_system_is_met_between_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", str(errno.EFBIG)]
    assert (tmp_path / "f").stat().st_size == 1000 // 63 * 63
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
