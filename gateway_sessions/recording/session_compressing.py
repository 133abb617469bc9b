"""From ``.jsonl`` to ``.jsonl.zst``, so that at every moment one of the two is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions.coding import zstd
from gateway_sessions.errors import StartError
from gateway_sessions.recording.files import open_private, sync_directory, write_all
from gateway_sessions.recording.locked_files import claimed
from gateway_sessions.recording.session_files import COMPRESSED, SessionFile
from gateway_sessions.recording.session_lines import begins_file, kind_of
from gateway_sessions.recording.session_mending import last_line, mend
from gateway_sessions.recording.session_reading import opened

LEVEL = 15
"""Of zstd: 17 MB a second.  The highest, at a quarter of that, saves one byte in 700 more."""

LIVE_SECONDS = 24 * 3600.0
"""A session without an end that was not written for so long was broken off.  It can still go on:
it then gets another file beside the compressed one."""

TEMPORARY = ".jsonl.zst.tmp"
"""The ending of a file that is being made; its name begins with a dot."""
_BLOCK = 1024 * 1024
"""Bytes that are read at a time."""


class Saved(msgspec.Struct, frozen=True):
    """What compressing a file brought, in bytes on the disk."""

    before: int
    after: int


def compress(file: SessionFile, now: float) -> Saved | None:
    """Replace a file by its compressed form; None for one that is live or not ours.

    Where the session has a compressed part already, it gets one more.  Whoever stops in the
    middle leaves the file as it was, or both forms, and the next attempt completes the work.
    Raises `OSError`, `EOFError` or ``ZstdError`` where a file can not be read or made, and
    `StartError` without zstd.
    """
    if zstd is None:
        raise StartError("zstd is not installed; pip install backports.zstd")
    target = file.path.with_name(file.stem + COMPRESSED)
    with claimed(file.path, os.O_RDWR | os.O_APPEND) as descriptor:
        if descriptor is None or is_live(descriptor, now):
            return None
        status = os.fstat(descriptor)
        if status.st_size and not begins_file(os.pread(descriptor, 32, 0)):
            return None
        mend(descriptor, status.st_size)
        size = os.fstat(descriptor).st_size
        before = size + _size(target)
        if size and not (target.exists() and _has(target, descriptor, size)):
            _write(target, descriptor, size, status.st_mtime_ns)
        file.path.unlink()
        return Saved(before, _size(target))


def is_live(descriptor: int, now: float) -> bool:
    """Tell whether more can be expected of the session of an open, uncompressed file."""
    status = os.fstat(descriptor)
    if abs(now - status.st_mtime) >= LIVE_SECONDS:
        return False
    return kind_of(last_line(descriptor, status.st_size)) != "completed"


def is_ours(path: Path) -> bool:
    """Tell by its first bytes whether a file, compressed or not, is one of a session."""
    if path.stat().st_size == 0:
        return True  # of a process that was killed before it wrote
    with opened(path) as stream:
        return begins_file(stream.readline(32))


def _write(target: Path, descriptor: int, size: int, changed_ns: int) -> None:
    """Add the content of a file to what its compressed form holds, whole or not at all."""
    temporary = target.with_name(f".{target.name.removesuffix(COMPRESSED)}{TEMPORARY}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    written = open_private(temporary, flags)
    try:
        for block in _old_blocks(target):
            write_all(written, block)
        for block in _compressed_blocks(descriptor, size):
            write_all(written, block)
        os.utime(written, ns=(changed_ns, changed_ns))
        os.fsync(written)
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(written)
    sync_directory(target.parent)


def _old_blocks(target: Path) -> Iterator[bytes]:
    if not target.exists():
        return
    with os.fdopen(open_private(target, os.O_RDONLY), "rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _compressed_blocks(descriptor: int, size: int) -> Iterator[bytes]:
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: LEVEL, parameter.checksum_flag: 1}
    compressor: Any = zstd.ZstdCompressor(options=options)
    compressor.set_pledged_input_size(size)
    for start in range(0, size, _BLOCK):
        yield compressor.compress(os.pread(descriptor, min(_BLOCK, size - start), start))
    yield compressor.flush()


def _has(target: Path, descriptor: int, size: int) -> bool:
    """Tell whether a compressed file ends with what an uncompressed one holds.

    So it does where somebody was stopped before the latter was removed.
    """
    with opened(target) as stream:
        total = 0
        while block := stream.read(_BLOCK):
            total += len(block)
    if total < size:
        return False
    with opened(target) as stream:
        stream.seek(total - size)
        start = 0
        while block := stream.read(_BLOCK):
            if block != os.pread(descriptor, len(block), start):
                return False
            start += len(block)
    return True


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
