"""Files that several processes write, mend, compress and delete, without harm to each other.

Who appends to a file holds a shared lock on it for as long as it is open; who does anything else
to it takes an exclusive one first, or leaves it alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway_sessions.recording.files import open_private
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.session_mending import ends_whole, mend

_APPEND = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK
"""Not blocking: a pipe in a file's place must not hang the writer.  Files never block."""
_ATTEMPTS = 8
"""At opening a file that others remove at the same time."""


def open_to_append(name: str, folder: int, *, make: bool) -> tuple[int, int] | None:
    """Open a file for appending, locked and ending with a whole line.

    Args:
        name: the file's.
        folder: the descriptor of its folder.
        make: whether to make it, mode 0600, where it is missing.

    Returns its descriptor and its size; None where the file is missing and not to be made, or
    its folder has been removed.  Raises `OSError`, also where there is
    something else than a file.
    """
    flags = _APPEND | os.O_CREAT if make else _APPEND
    for _ in range(_ATTEMPTS):
        try:
            descriptor = open_private(name, flags, folder)
        except FileNotFoundError:
            return None
        try:
            size = _prepared(descriptor)
            if size is not None:
                return descriptor, size
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "it is removed again and again")


def append_lines(descriptor: int, data: bytes) -> None:
    """Append whole lines.

    Raises `PartlyWritten` with their number where not all of them fit; nothing is left of the
    one that broke off.
    """
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:] if written else data)
    except OSError as error:
        whole = data.rfind(b"\n", 0, written) + 1
        if whole < written:
            _cut(descriptor, written - whole)
        raise PartlyWritten(data.count(b"\n", 0, whole)) from error


@contextmanager
def claimed(path: Path, flags: int) -> Iterator[int | None]:
    """Open a file and keep everybody else from it; None where somebody has it open to append.

    Raises `OSError`, `FileNotFoundError` also where it was removed just now.
    """
    descriptor = open_private(path, flags | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        status = os.fstat(descriptor)
        if not status.st_nlink or not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def _prepared(descriptor: int) -> int | None:
    """Lock a file and mend its end; return its size, None if it has been removed meanwhile."""
    # Few system calls: with more live sessions than files held open, all this is done per event.
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EISDIR, "it is no file")
    if not ends_whole(descriptor, status.st_size):
        with suppress(BlockingIOError):  # somebody else is in the middle of that line
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mend(descriptor, os.fstat(descriptor).st_size)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        status = os.fstat(descriptor)
    return status.st_size if status.st_nlink else None


def _cut(descriptor: int, size: int) -> None:
    """Take back the last ``size`` bytes that were written."""
    # Where that fails too, the next one to open the file finds the half line and cuts it.
    with suppress(OSError):
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size == end:
            os.ftruncate(descriptor, end - size)
