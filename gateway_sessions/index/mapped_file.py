"""A file that several processes of one machine have mapped into their memory, and its blocks.

The file is an array of 64-bit words.  At its beginning are the words named below, then room that
is given away in blocks, of some kinds that differ in size.  A block that is given back goes to the
others of its kind, which are a chain.

A process may be killed at any moment, also in the midst of a change.  Its lock is then released by
the system, and everything has to hold as it stands: so whatever leads to a block is written last
and as one word, which the processor does in one go, and what leads to it no more is written before
the block is given back.  At worst a block is lost.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

from gateway_sessions.index.store import StoreFailed

_MAGIC = 0x6773_6D61_7070_6501
"""The first word of a file that has been made ready; the last byte is the version."""
_WORD = 8

_READY, _SIZE, _TOP = 0, 1, 2
"""Places of the magic, the words of the file, and the words that were given away."""
NUMBERS, SCOPES, SCOPE_HAND, SWEEP_HAND = 3, 4, 5, 6
"""Places of words for the store, see `gateway_sessions.index.mapped`."""
_FREE = 8
"""Where the first free block of each kind stands."""

_CHAIN = 1
"""The word of a free block that leads to the next one; its first word stays as it was left."""

ENTRY, SLOT = 0, 1
"""Kinds of blocks for one use each.  They are never used for anything else, so that what leads to
one that was given back finds another one, or its remains, but never text of a client."""
WORDS = (4, 8, *(part * 2**power for power in range(4, 20) for part in (2, 3)))
"""Words of the blocks of each kind; those for any use have 256 bytes to 12 MB."""
TABLES = 64
"""Where the heads of the chains of keys begin."""

_STEP_BYTES = 2**20
"""By so much a file grows at least."""
TRIES = 16
"""How often a call tries to get the lock before it is left to one that can wait: others hold it for
some microseconds, unless the system has stopped them."""


class MappedFile:
    """The words of a file, its lock and its blocks.

    All else belongs between `lock` and `unlock`.
    """

    def __init__(self, path: Path, heads: int) -> None:
        """Open a file, or make it, with so many heads of chains.

        Raises:
            OSError: it can not be opened, or there is no room for it.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.heads = heads
        self._mapped = 0
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                self._make_ready()
            finally:
                self.unlock()
        except BaseException:
            os.close(self._descriptor)
            raise

    def lock(self, *, shared: bool = False) -> bool:
        """Keep other processes out, or only those that write; return whether that went well."""
        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        for _ in range(TRIES):
            try:
                fcntl.flock(self._descriptor, how)
            except BlockingIOError:
                os.sched_yield()
                continue
            if self.words[_SIZE] != self._mapped:
                self._map()  # Another process has made it larger.
                if not shared:  # It may have been killed before it could say so.
                    self.words[_SIZE] = self._mapped
            return True
        return False

    def unlock(self) -> None:
        """Let others in."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def reserve(self, words: int) -> None:
        """Make sure that new blocks of so many words find room, so that nothing fails half-way.

        Raises:
            StoreFailed: there is no room.
        """
        least = self.words[_TOP] + words
        if least > self._mapped:
            self._grow(max(least, self._mapped * 5 // 4) * _WORD)

    def take(self, kind: int) -> int:
        """Return the place of a block of a kind, for which there is room."""
        words = self.words
        block = words[_FREE + kind]
        if block:
            words[_FREE + kind] = words[block + _CHAIN]
            return block
        block = words[_TOP]
        words[_TOP] = block + WORDS[kind]
        return block

    def give(self, block: int, kind: int) -> None:
        """Take a block of a kind back."""
        words = self.words
        words[block + _CHAIN] = words[_FREE + kind]
        words[_FREE + kind] = block

    def close(self) -> None:
        """Let go of it; idempotent."""
        if self._descriptor >= 0:
            self._unmap()
            os.close(self._descriptor)
            self._descriptor = -1

    def _make_ready(self) -> None:
        """Write the words at the beginning, unless another process has."""
        if os.fstat(self._descriptor).st_size >= _WORD:
            self._map()
            if self.words[_READY] == _MAGIC:
                return
            self._unmap()
        top = TABLES + self.heads
        _allocate(self._descriptor, top * _WORD + _STEP_BYTES)
        self._map()
        self.words[_TOP] = top
        self.words[_SIZE] = self._mapped
        self.words[_READY] = _MAGIC

    def _grow(self, least_bytes: int) -> None:
        size = -(-least_bytes // _STEP_BYTES) * _STEP_BYTES
        try:
            _allocate(self._descriptor, size)
        except OSError as error:
            raise StoreFailed(f"the memory that workers share: {error.strerror}") from None
        self._map()
        self.words[_SIZE] = self._mapped

    def _map(self) -> None:
        self._unmap()
        self.content = mmap.mmap(self._descriptor, 0)
        whole = memoryview(self.content)
        self.words = whole[: len(whole) // _WORD * _WORD].cast("Q")
        self.times = whole[: len(whole) // _WORD * _WORD].cast("d")
        self._mapped = len(self.words)

    def _unmap(self) -> None:
        if self._mapped:
            self.words.release()
            self.times.release()
            self._mapped = 0
            # It goes with the last view of it.
            del self.content


def kind_for(words: int) -> int:
    """Return the kind of block for any use that has so many words; raises `StoreFailed`."""
    kind = bisect_left(WORDS, words, SLOT + 1)
    if kind == len(WORDS):
        raise StoreFailed("the memory that workers share: a session is too large")
    return kind


def _allocate(descriptor: int, size: int) -> None:
    """Make a file longer, so that no process is killed because there is no room in the end."""
    allocate: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
    if allocate is not None:
        allocate(descriptor, 0, size)
        return
    written = os.fstat(descriptor).st_size
    while written < size:
        part = os.pwrite(descriptor, bytes(min(_STEP_BYTES, size - written)), written)
        if not part:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += part
