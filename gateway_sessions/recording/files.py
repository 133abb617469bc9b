"""Folders and files that only their owner can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway_sessions.errors import StartError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
"""What people say to models is private."""

PIPE_BYTES = 4096
"""What a pipe takes from one process without mixing it with what others write; Linux's number."""

_SAFE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
"""Without following links: nobody who can write into the folder can aim us at another file."""


def open_private(path: str | Path, flags: int, dir_fd: int | None = None) -> int:
    """Open a file, mode 0600 if it is made, and return its descriptor.

    ``path`` may be relative to an open folder, ``dir_fd``.  Raises `OSError`, also where the
    last part of ``path`` is a symbolic link.
    """
    return os.open(path, flags | _SAFE_FLAGS, FILE_MODE, dir_fd=dir_fd)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``; raises `OSError` (a full disk may take a part of it)."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def line_pieces(text: str) -> Iterator[str]:
    """Yield whole lines in pieces that a pipe takes in one go, if each is written at once.

    What several processes write to one pipe then never mixes within a line, unless that line
    alone is longer.
    """
    piece: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        length = len(line.encode("utf-8", "surrogatepass"))
        if piece and size + length > PIPE_BYTES:
            yield "".join(piece)
            piece.clear()
            size = 0
        piece.append(line)
        size += length
    if piece:
        yield "".join(piece)


def make_private_directory(directory: Path) -> None:
    """Make a folder, with its parents, mode 0700; one that exists keeps its mode.

    When it returns, what it made outlives a power cut.  Raises `OSError`.
    """
    if directory.is_dir():
        return
    missing = [directory]
    while not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        # Else all that is synced inside of it may have no name after a power cut.
        with suppress(PermissionError):  # a place to put things that nobody may list
            sync_directory(folder.parent)


def sync_directory(directory: Path) -> None:
    """Return when the names in a folder are on the disk; raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_directory(directory: Path) -> None:
    """Make sure at start that a folder exists and files can be made in it.

    Raises `StartError`.  It tries with a file, since permissions do not tell of read-only
    disks.
    """
    probe = directory / f".probe-{os.getpid()}"
    try:
        make_private_directory(directory)
        os.close(open_private(probe, os.O_WRONLY | os.O_CREAT))
        probe.unlink()
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StartError(
            f"{directory}: can not write there ({reason}); choose another folder or mend its"
            " permissions"
        ) from exc
