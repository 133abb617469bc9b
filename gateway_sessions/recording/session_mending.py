"""Half lines: a process that was killed, or a disk that was full, may leave one at a file's end.

It was never acknowledged, since that is done after the whole line is on the disk, so it is cut
away.  A last line that only lacks its end, as some editors leave it, is completed.
"""

from __future__ import annotations

import os

from gateway_sessions.recording.files import write_all
from gateway_sessions.recording.session_lines import is_whole

_BLOCK = 64 * 1024
"""Bytes read at a time on the way back from a file's end."""


def ends_whole(descriptor: int, size: int) -> bool:
    """Tell whether a file of ``size`` bytes ends with a line's end, or is empty."""
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def mend(descriptor: int, size: int) -> int:
    """Make a file of ``size`` bytes end with a whole line; return how many bytes were cut.

    The file is open for reading and appending, and locked.  Raises `OSError`.
    """
    if ends_whole(descriptor, size):
        return 0
    start = _last_line_start(descriptor, size)
    if is_whole(os.pread(descriptor, size - start, start)):
        write_all(descriptor, b"\n")
        return 0
    os.ftruncate(descriptor, start)
    return size - start


def last_line(descriptor: int, size: int) -> bytes:
    """Return the last line of a file of ``size`` bytes without its end, b"" of an empty one."""
    end = size - 1 if size and os.pread(descriptor, 1, size - 1) == b"\n" else size
    start = _last_line_start(descriptor, end)
    return os.pread(descriptor, end - start, start)


def _last_line_start(descriptor: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
