"""The process beside the gateway that makes many small files.

A thread can not do it: each of the four system calls per file gives up Python's global lock,
and beside a busy event loop it takes milliseconds to get that back, which leaves some 200 files
a second.  A process has a lock of its own.  It reads files from standard input, writes each
under a temporary name, renames it, and says on standard output how many it wrote; it also
deletes what is past its keeping.

It imports nothing but the standard library and the light modules beside it, so that it starts
in 30 ms and stays small (see `gateway_sessions.recording.filing`).  It ends when its standard
input does, so that what a killed gateway had sent is still written.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import struct
import sys
from pathlib import Path
from typing import BinaryIO

from gateway_sessions.recording.files import make_private_directory, open_private, write_all
from gateway_sessions.recording.retention import Retention

FRAME = struct.Struct("!HI")
"""Before each file: bytes of its name and of its content; both 0 end a batch."""
ANSWER = struct.Struct("!II")
"""After each batch: files written, and the error number that stopped it, or 0."""
READY = ANSWER.pack(0, 0)
"""Sent once, when the process has started."""


class Folder:
    """A folder of files named ``PREFIX-<timestamp>-<id>.json``."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self._directory = directory
        self._temporary = str(directory / f".{prefix}-{os.getpid()}.tmp")
        stamp = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z"
        self._own = re.compile(rf"{re.escape(prefix)}-{stamp}-[A-Za-z0-9_-]+\.json")

    def owns(self, name: str) -> bool:
        """Tell whether a file of this name can be one of ours."""
        return self._own.fullmatch(name) is not None

    def add(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; raises `OSError`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            descriptor = open_private(self._temporary, flags)
        except FileNotFoundError:
            # Somebody removed the folder to start afresh.
            make_private_directory(self._directory)
            descriptor = open_private(self._temporary, flags)
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)
        os.rename(self._temporary, f"{self._directory}/{name}")  # noqa: PTH104 - once per file

    def close(self) -> None:
        """Remove what a failed write may have left."""
        Path(self._temporary).unlink(missing_ok=True)


def serve(incoming: BinaryIO, outgoing: BinaryIO, folder: Folder, retention: Retention) -> None:
    """Write files until ``incoming`` ends."""
    outgoing.write(READY)
    outgoing.flush()
    written = error = 0
    while len(header := incoming.read(FRAME.size)) == FRAME.size:
        name_size, size = FRAME.unpack(header)
        if not name_size:
            outgoing.write(ANSWER.pack(written, error))
            outgoing.flush()
            written = error = 0
            continue
        name = incoming.read(name_size)
        content = incoming.read(size)
        if error or len(content) < size:
            continue  # the rest of a batch that has failed, or of a gateway that was killed
        try:
            folder.add(name.decode(), content)
        except OSError as exc:
            error = exc.errno or errno.EIO
        else:
            written += 1
            retention.added(size)


def main(arguments: list[str]) -> None:
    """Run with one argument: a JSON object with directory, prefix and the limits."""
    for name in (signal.SIGINT, signal.SIGTERM):
        # Sent to the whole process group, or service; the gateway still has things to write.
        signal.signal(name, signal.SIG_IGN)
    settings = json.loads(arguments[0])
    directory = Path(settings["directory"])
    folder = Folder(directory, settings["prefix"])
    retention = Retention(
        directory,
        folder.owns,
        max_age_seconds=settings["max_age_seconds"],
        max_total_bytes=settings["max_total_bytes"],
    )
    retention.start()
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer, folder, retention)
    except BrokenPipeError:
        pass  # the gateway is gone
    finally:
        retention.stop()
        folder.close()
