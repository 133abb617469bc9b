"""Sessions in the memory that the workers of one gateway share.

It is a file that each of them has mapped (`gateway_sessions.index.mapped_file`), for as long as
the gateway runs: nothing in it outlives that.  A look-up and a commit are some dozen words read
and written under a lock, a few microseconds, so nobody waits for another process, unless the
system has stopped that while it held the lock.  Then the call sleeps on the event loop and tries
again, as with `gateway_sessions.index.file`.

A session is a place with a number, and a block with its name and state.  A commit writes another
block and then, as one word, which one it is: a worker that is killed in between leaves the session
as it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from xxhash import xxh3_64_intdigest

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.errors import StartError
from gateway_sessions.index import mapped_keys
from gateway_sessions.index.mapped_file import SLOT, MappedFile, block_bytes
from gateway_sessions.index.mapped_keys import NUMBER
from gateway_sessions.index.mapped_order import SCOPE, MappedOrder
from gateway_sessions.index.store import Change, StoredSession, StoreFailed

WAIT_SECONDS = 0.04
"""How long a call tries again where another process holds the lock and does not run."""
PAUSE_SECONDS = 0.0005
"""Between two tries."""

_BLOCK = 1
"""The word of a session that leads to its block."""
_VERSION, _USED, _NAME_SIZE, _STATE_SIZE, _TEXT = range(5)
"""Words of a block: the version, when it was used, and the sizes of name and state, which follow."""
_ENTRY_WORDS, _SLOT_WORDS = 4, 8
_WORD = 8
_HEADS = (2**12, 2**22)
"""Chains of keys, at least and at most: 32 for each session of one scope that is full."""

T_ = TypeVar("T_")


class MappedStore:
    """A `Store` in memory that the workers of one gateway share."""

    name = "the memory that workers share"
    """For messages."""
    is_prompt = True
    """See `PromptStore`."""

    def __init__(
        self,
        path: Path,
        *,
        max_sessions: int,
        ttl_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            path: the file, made if it is missing.
            max_sessions: kept of each scope.
            ttl_seconds: how long a session lives after its last use; for as long again it can
                be found.
            clock: unix seconds.
        """
        self._path = path
        self._max_sessions = max_sessions
        self._gone_after = 2 * ttl_seconds
        self._clock = clock
        self._file: MappedFile | None = None

    async def open(self) -> None:
        """Open the file, or make it.

        Raises:
            StartError: it can not be used.
        """
        if self._file is not None:
            return
        least, most = _HEADS
        heads = min(max(32 * self._max_sessions, least), most)
        try:
            self._file = await asyncio.to_thread(MappedFile, self._path, heads)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartError(
                f"{self._path}: workers can not share sessions there ({reason});"
                " make room, or set server.workers to 1."
            ) from None
        self._order = MappedOrder(self._file, self._used, self._remove, self._max_sessions)

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions of a scope to which any of some keys leads; see `Store`."""
        return await self._call(partial(self.fetch_now, scope, keys, known))

    def fetch_now(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession] | None:
        """As `fetch`, unless another process is in the way; see `PromptStore`."""
        file = self._file
        if file is None or not file.lock(shared=True):
            return None
        try:
            since = self._clock() - self._gone_after
            places: dict[int, None] = {}
            for key in keys:
                leads = mapped_keys.found(file, key ^ scope)
                if leads:
                    live = [place for place in leads if self._is_live(place, scope, since)]
                    places.update(dict.fromkeys(live[:CANDIDATES]))
            return [self._stored(place, known) for place in places]
        finally:
            file.unlock()

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return what others have changed meanwhile; see `Store`."""
        return await self._call(partial(self.commit_now, scope, changes))

    def commit_now(self, scope: int, changes: Sequence[Change]) -> list[StoredSession] | None:
        """As `commit`, unless another process is in the way; see `PromptStore`."""
        file = self._file
        if file is None or not file.lock():
            return None
        try:
            newer = []
            for change in changes:
                place = self._place(scope, change.id)
                if not place:
                    self._begin(scope, change)
                elif file.words[file.words[place + _BLOCK] + _VERSION] == change.version:
                    self._replace(place, scope, change)
                else:
                    newer.append(self._stored(place, {}))
            return newer
        finally:
            file.unlock()

    async def close(self) -> None:
        """Let go of the file; idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _place(self, scope: int, name: str) -> int:
        """Return the place of a session; 0 where there is none."""
        file = self._opened()
        for place in mapped_keys.found(file, _name_key(scope, name)):
            if file.words[place + SCOPE] == scope and self._name(place) == name:
                return place
        return 0

    def _begin(self, scope: int, change: Change) -> None:
        """Store a session that is not there."""
        file = self._opened()
        block = self._written(change, 3 * _SLOT_WORDS + 2 * _ENTRY_WORDS)
        words, place = file.words, file.take(SLOT)
        words[place + _BLOCK], words[place + SCOPE] = block, scope
        words[place + NUMBER] = self._order.number()
        self._order.add(place, change.used, self._clock() - self._gone_after)
        mapped_keys.add(file, _name_key(scope, change.id), place)
        for key in change.added:
            mapped_keys.add(file, key ^ scope, place)

    def _replace(self, place: int, scope: int, change: Change) -> None:
        """Store another version of a session.

        Keys come before it and go after it, so that it is found whenever this process ends.
        """
        file = self._opened()
        before = file.words[place + _BLOCK]
        block = self._written(change, 0)
        for key in change.added:
            mapped_keys.add(file, key ^ scope, place)
        file.words[place + _BLOCK] = block
        file.give_words(before, self._size(before))
        if change.outdated:
            number = file.words[place + NUMBER]
            for key in set(change.outdated).difference(change.added):
                mapped_keys.discard(file, key ^ scope, number)

    def _written(self, change: Change, more: int) -> int:
        """Return a block with a change; there is room for its keys then, and for more words."""
        file, name = self._opened(), change.id.encode()
        size = len(name) + len(change.state)
        count = _TEXT + -(-size // _WORD)
        file.reserve(block_bytes(count) // _WORD + len(change.added) * _ENTRY_WORDS + more)
        block, words = file.take_words(count), file.words
        words[block + _VERSION] = change.version + 1
        file.times[block + _USED] = change.used
        words[block + _NAME_SIZE], words[block + _STATE_SIZE] = len(name), len(change.state)
        start = (block + _TEXT) * _WORD
        file.content[start : start + size] = name + change.state
        return block

    def _remove(self, place: int) -> None:
        """Remove a session and its name; its keys lead nowhere then."""
        file = self._opened()
        block, number = file.words[place + _BLOCK], file.words[place + NUMBER]
        key = _name_key(file.words[place + SCOPE], self._name(place))
        file.words[place + NUMBER] = 0
        mapped_keys.discard(file, key, number)
        file.give_words(block, self._size(block))
        mapped_keys.sweep(file)

    def _stored(self, place: int, known: Mapping[str, int]) -> StoredSession:
        """Return a session, with its state where that is not known."""
        file, name, state = self._opened(), self._name(place), None
        block = file.words[place + _BLOCK]
        version = file.words[block + _VERSION]
        if known.get(name) != version:
            start = (block + _TEXT) * _WORD + file.words[block + _NAME_SIZE]
            state = file.content[start : start + file.words[block + _STATE_SIZE]]
        return StoredSession(name, version, file.times[block + _USED], state)

    def _is_live(self, place: int, scope: int, since: float) -> bool:
        words = self._opened().words
        return words[place + SCOPE] == scope and self._used(place) >= since

    def _name(self, place: int) -> str:
        file = self._opened()
        block = file.words[place + _BLOCK]
        start = (block + _TEXT) * _WORD
        return file.content[start : start + file.words[block + _NAME_SIZE]].decode()

    def _used(self, place: int) -> float:
        file = self._opened()
        return file.times[file.words[place + _BLOCK] + _USED]

    def _size(self, block: int) -> int:
        words = self._opened().words
        return _TEXT + -(-(words[block + _NAME_SIZE] + words[block + _STATE_SIZE]) // _WORD)

    def _opened(self) -> MappedFile:
        assert self._file is not None
        return self._file

    async def _call(self, work: Callable[[], T_ | None]) -> T_:
        """Wait for other processes on the event loop, for a while."""
        until = time.monotonic() + WAIT_SECONDS
        while (answer := work()) is None:
            if self._file is None:
                raise StoreFailed(f"{self.name} is not open")
            if time.monotonic() >= until:
                raise StoreFailed(f"{self.name}: another process holds it")
            await asyncio.sleep(PAUSE_SECONDS)
        return answer


def _name_key(scope: int, name: str) -> int:
    return xxh3_64_intdigest(name.encode(), scope)
