"""Where session files are: ``DIR/2026-01-31/sess_….jsonl``, a folder for each day in UTC.

The day is the one on which the session started, so that all of a session is in one place.  What
is old is compressed to ``.jsonl.zst``.  A session that goes on after that gets a ``.jsonl``
beside it, which belongs behind it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import msgspec

PLAIN = ".jsonl"
COMPRESSED = ".jsonl.zst"

MAX_STEM = 128
"""Characters of an id that is used as it is; file systems allow 255 bytes."""
_SLUG = 48
"""Characters of another id that are kept, for people who look for it."""

_SAFE = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_HASHED = re.compile(r".*--[0-9a-f]{32}")
"""What the name of an id that can not be used looks like.  An id of that form is not used either,
so that two ids never share a file."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FILE = re.compile(r"([A-Za-z0-9_-]{1,128})(\.jsonl|\.jsonl\.zst)")


def file_stem(session_id: str) -> str:
    """Return the name of a session's file without its ending.

    It is the id, if that is 1 to 128 letters, digits, ``_`` and ``-``; else a part of it and a
    hash.

    >>> file_stem("sess_4711"), file_stem("../../etc/passwd")
    ('sess_4711', 'etc_passwd--03d915744132df301bb7f67f4e92a4e9')
    """
    usable = len(session_id) <= MAX_STEM and _SAFE.fullmatch(session_id)
    if usable and not _HASHED.fullmatch(session_id):
        return session_id
    slug = _UNSAFE.sub("_", session_id[:_SLUG]).strip("_-") or "session"
    digest = blake2b(session_id.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{slug}--{digest.hexdigest()}"


@lru_cache(maxsize=64)
def is_day(name: str) -> bool:
    """Tell whether a name is that of a day's folder, ``2026-01-31``."""
    if _DAY.fullmatch(name) is None:
        return False
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True


def day_of(timestamp: str) -> str:
    """Return the UTC day of an RFC 3339 timestamp in UTC, as folders write it.

    Raises `ValueError` for anything else.

    >>> day_of("2026-01-31T23:59:59.999999Z")
    '2026-01-31'
    """
    day = timestamp[:10]
    if timestamp[10:11] != "T" or not is_day(day):
        raise ValueError(f"{timestamp[:40]!r} is no time such as 2026-01-31T12:00:00.000000Z")
    return day


class SessionFile(msgspec.Struct, frozen=True):
    """A file of a session's events."""

    path: Path
    day: str
    """On which the session started, as ``2026-01-31``."""
    stem: str
    """The session's id, or what stands for it in file names."""
    compressed: bool
    size: int
    """Bytes on the disk."""
    changed: float
    """When it was written last, in unix time; compressing does not count."""


class SessionFolder:
    """A folder of session files.  What is not named as they are, or is a link, is not there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def days(self) -> list[str]:
        """Return the days that have a folder, oldest first; raises `OSError`."""
        with os.scandir(self.directory) as entries:
            return sorted(
                entry.name
                for entry in entries
                if is_day(entry.name) and entry.is_dir(follow_symlinks=False)
            )

    def files(self, day: str) -> list[SessionFile]:
        """Return the files of a day by name; the compressed part of a session comes first."""
        found: list[SessionFile] = []
        try:
            with os.scandir(self.directory / day) as entries:
                for entry in entries:
                    name = _FILE.fullmatch(entry.name)
                    if name is None or not entry.is_file(follow_symlinks=False):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # deleted or compressed meanwhile
                    found.append(
                        SessionFile(
                            path=Path(entry.path),
                            day=day,
                            stem=name[1],
                            compressed=name[2] == COMPRESSED,
                            size=status.st_size,
                            changed=status.st_mtime,
                        )
                    )
        except (FileNotFoundError, NotADirectoryError):
            return []  # the whole day is gone
        found.sort(key=lambda file: (file.stem, not file.compressed))
        return found

    def all_files(self) -> Iterator[SessionFile]:
        """Yield all files, the oldest day first; raises `OSError`."""
        for day in self.days():
            yield from self.files(day)
