"""Reading session files, plain or compressed, also while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gateway_sessions.coding import zstd
from gateway_sessions.errors import UnreadableLog
from gateway_sessions.events import AnyEvent
from gateway_sessions.recording.files import open_private
from gateway_sessions.recording.session_lines import BadLine, is_whole, parsed

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Longer lines are none of ours: bodies are recorded up to 16 MiB, of which escaping in a string
makes six times as much, and an event has two."""


def read_events(path: Path) -> Iterator[AnyEvent | BadLine]:
    """Yield the events of a ``.jsonl`` or ``.jsonl.zst`` file, and what is wrong with other lines.

    An unfinished last line is left out: it is still being written, or was when the power failed.

    Raises:
        UnreadableLog: the file can not be read at all, or its format is newer than this
            program; the text names file and cure.
    """
    try:
        with opened(path) as stream:
            yield from _events(stream, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnreadableLog(f"{path} can not be read: {reason}.") from None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its lines; raises `OSError`, or `UnreadableLog` without zstd."""
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as stream:
        if path.suffix != ".zst":
            yield stream
            return
        if zstd is None:
            raise UnreadableLog(
                f"{path} can not be read: zstd is not installed; pip install backports.zstd."
            )
        with zstd.ZstdFile(stream) as decompressed:
            yield decompressed


def _events(stream: BinaryIO, path: Path) -> Iterator[AnyEvent | BadLine]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(MAX_LINE_BYTES)
        except EOFError:
            yield BadLine(path, number, f"{path}, line {number}: the compressed file breaks off.")
            return
        except _ZSTD_ERRORS as error:
            yield BadLine(path, number, f"{path}, line {number}: not zstd: {error}.")
            return
        if not line:
            return
        if not line.endswith(b"\n"):
            if len(line) == MAX_LINE_BYTES:
                yield BadLine(path, number, f"{path}, line {number}: too long to be an event.")
                return
            if not is_whole(line):
                return
        yield parsed(line, path, number)


_ZSTD_ERRORS: tuple[type[Exception], ...] = () if zstd is None else (zstd.ZstdError,)
