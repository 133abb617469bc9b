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
from gateway_sessions.index.mapped_file import ENTRY, SLOT, WORDS, MappedFile, kind_for
from gateway_sessions.index.mapped_keys import NUMBER
from gateway_sessions.index.mapped_order import SCOPE, MappedOrder
from gateway_sessions.index.store import Change, StoredSession, StoreFailed

WAIT_SECONDS = 0.04
"""How long a call tries again where another process holds the lock and does not run."""
PAUSE_SECONDS = 0.0005
"""Between two tries."""

_BLOCK = 1
"""The word of a session that leads to its block."""
_VERSION, _USED, _NAME_SIZE, _STATE_SIZE, _KIND = range(5)
"""Words of a block: the version, when it was used, the bytes of name and state, and its kind."""
_TEXT_BYTES = 40
"""Where in a block the name begins, and then the state."""
_BEGIN_WORDS = 3 * WORDS[SLOT] + 2 * WORDS[ENTRY]
"""Of a new session in a new scope, beside its block and keys."""
_HEADS = (2**12, 2**22)
"""Chains of keys, at least and at most: 32 for each session of one scope that is full."""

T_ = TypeVar("T_")


class MappedStore:
    """A `Store` in memory that the workers of one gateway share."""

    name = "the memory that workers share"
    """For messages."""
    is_prompt = True
    """See `PromptStore`."""
    wants_batches = False
    """A change costs what it costs, alone or with others."""

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
        self._order = MappedOrder(
            self._file,
            partial(_used, self._file),
            partial(_remove, self._file),
            self._max_sessions,
        )

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
                    live = [each for each in leads if _is_live(file, each, scope, since)]
                    places.update(dict.fromkeys(live[:CANDIDATES]))
            return [_stored(file, place, known) for place in places]
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
                name = change.id.encode()
                place = _place(file, scope, name)
                if not place:
                    self._begin(file, scope, name, change)
                elif file.words[file.words[place + _BLOCK] + _VERSION] == change.version:
                    _replace(file, place, scope, name, change)
                else:
                    newer.append(_stored(file, place, {}))
            return newer
        finally:
            file.unlock()

    async def close(self) -> None:
        """Let go of the file; idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begin(self, file: MappedFile, scope: int, name: bytes, change: Change) -> None:
        """Store a session that is not there."""
        block = _written(file, name, change, _BEGIN_WORDS)
        words, place = file.words, file.take(SLOT)
        words[place + _BLOCK], words[place + SCOPE] = block, scope
        words[place + NUMBER] = self._order.number()
        self._order.add(place, change.used, self._clock() - self._gone_after)
        keys = [key ^ scope for key in change.added]
        mapped_keys.add(file, (_name_key(scope, name), *keys), place)

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


def _place(file: MappedFile, scope: int, name: bytes) -> int:
    """Return the place of a session; 0 where there is none."""
    words = file.words
    for place in mapped_keys.found(file, _name_key(scope, name)):
        if words[place + SCOPE] == scope and _name(file, place) == name:
            return place
    return 0


def _replace(file: MappedFile, place: int, scope: int, name: bytes, change: Change) -> None:
    """Store another version of a session.

    Keys come before it and go after it, so that it is found whenever this process ends.
    """
    block = _written(file, name, change, 0)
    words = file.words
    before = words[place + _BLOCK]
    mapped_keys.add(file, [key ^ scope for key in change.added], place)
    words[place + _BLOCK] = block
    file.give(before, words[before + _KIND])
    if change.outdated:
        outdated = [key ^ scope for key in change.outdated if key not in change.added]
        mapped_keys.discard(file, outdated, words[place + NUMBER])


def _written(file: MappedFile, name: bytes, change: Change, more: int) -> int:
    """Return a block with a change; there is room for its keys then, and for more words."""
    text = name + change.state
    kind = kind_for((_TEXT_BYTES + len(text) + 7) // 8)
    file.reserve(WORDS[kind] + len(change.added) * WORDS[ENTRY] + more)
    block, words = file.take(kind), file.words
    words[block + _VERSION] = change.version + 1
    file.times[block + _USED] = change.used
    words[block + _NAME_SIZE], words[block + _STATE_SIZE] = len(name), len(change.state)
    words[block + _KIND] = kind
    start = block * 8 + _TEXT_BYTES
    file.content[start : start + len(text)] = text
    return block


def _stored(file: MappedFile, place: int, known: Mapping[str, int]) -> StoredSession:
    """Return a session, with its state where that is not known."""
    words, name, state = file.words, _name(file, place).decode(), None
    block = words[place + _BLOCK]
    version = words[block + _VERSION]
    if known.get(name) != version:
        start = block * 8 + _TEXT_BYTES + words[block + _NAME_SIZE]
        state = file.content[start : start + words[block + _STATE_SIZE]]
    return StoredSession(name, version, file.times[block + _USED], state)


def _is_live(file: MappedFile, place: int, scope: int, since: float) -> bool:
    """Whether a place is that of a session of a scope that can still be found."""
    words = file.words
    block = words[place + _BLOCK]
    return block > 0 and words[place + SCOPE] == scope and file.times[block + _USED] >= since


def _name(file: MappedFile, place: int) -> bytes:
    block = file.words[place + _BLOCK]
    start = block * 8 + _TEXT_BYTES
    return file.content[start : start + file.words[block + _NAME_SIZE]]


def _used(file: MappedFile, place: int) -> float:
    """Return when a session was used last."""
    return file.times[file.words[place + _BLOCK] + _USED]


def _remove(file: MappedFile, place: int) -> None:
    """Remove a session and its name; its keys lead nowhere then."""
    words = file.words
    block, number = words[place + _BLOCK], words[place + NUMBER]
    key = _name_key(words[place + SCOPE], _name(file, place))
    words[place + NUMBER] = 0
    mapped_keys.discard(file, (key,), number)
    file.give(block, words[block + _KIND])
    mapped_keys.sweep(file)


def _name_key(scope: int, name: bytes) -> int:
    return xxh3_64_intdigest(name, scope)
