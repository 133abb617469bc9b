"""The sessions of each scope in a mapped file, roughly in the order of their use.

A session stands once in the queue of its scope, with the time of its use when it came there.
Uses do not move it: who comes to the front and was used since goes to the end once more.  So a
use costs nothing, and what goes in the end is about what was used longest ago.

All is removed as sessions come: of the scope where one comes, and of the next two in turn.
"""

from __future__ import annotations

from collections.abc import Callable

from xxhash import xxh3_64_intdigest

from gateway_sessions.index import mapped_keys
from gateway_sessions.index.mapped_file import (
    NUMBERS,
    SCOPE_HAND,
    SCOPES,
    SLOT,
    MappedFile,
)
from gateway_sessions.index.mapped_keys import NUMBER

SCOPE, NEXT = 2, 3
"""Words of sessions and scopes: the scope's seed, and the next in the queue, or of all scopes."""
QUEUED = 4
"""The word of a session that has the time of the use with which it stands in the queue."""
_HELD, _FIRST, _LAST = 4, 5, 6
"""Words of a scope: how many sessions it has, and the ends of its queue."""

TRIED = 64
"""Sessions looked at to find one that was not used since it came into the queue."""
EXPIRED_AT_ONCE = 2
"""Sessions that expire for each that comes, in each scope that is looked at."""
SCOPES_AT_ONCE = 2

Remove = Callable[[int], None]
"""Removes a session, known by its place, but for its place in the queue."""
Used = Callable[[int], float]
"""Tells when a session was used last."""


class MappedOrder:
    """The queues of a file."""

    def __init__(self, file: MappedFile, used: Used, remove: Remove, most: int) -> None:
        """Keep up to ``most`` sessions of each scope."""
        self._file = file
        self._used = used
        self._remove = remove
        self._most = most

    def add(self, session: int, used: float, since: float) -> None:
        """Let a session come into the queue of its scope, and others go.

        Those go that were not used ``since`` a time, or are too many.  There has to be room for
        two blocks of the kind `SLOT` and one entry.
        """
        words = self._file.words
        scope = self._scope(words[session + SCOPE])
        self._append(scope, session, used)
        words[scope + _HELD] += 1
        self._expire(scope, since)
        if words[scope + _HELD] > self._most:
            self._make_room(scope)
        for _ in range(SCOPES_AT_ONCE):
            self._look_after_next(since)

    def number(self) -> int:
        """Return a number that nobody had."""
        words = self._file.words
        words[NUMBERS] += 1
        return words[NUMBERS]

    def _scope(self, seed: int) -> int:
        """Return the place of a scope, a new one where it is not known."""
        words = self._file.words
        key = _scope_key(seed)
        for place in mapped_keys.found(self._file, key):
            if words[place + SCOPE] == seed:
                return place
        place = self._file.take(SLOT)
        words[place + NUMBER] = self.number()
        words[place + 1] = 0  # It has no state.
        words[place + SCOPE] = seed
        words[place + _HELD] = words[place + _FIRST] = words[place + _LAST] = 0
        words[place + NEXT] = words[SCOPES]
        words[SCOPES] = place
        mapped_keys.add(self._file, (key,), place)
        return place

    def _append(self, scope: int, session: int, used: float) -> None:
        words = self._file.words
        self._file.times[session + QUEUED] = used
        words[session + NEXT] = 0
        last = words[scope + _LAST]
        if not words[scope + _FIRST]:
            words[scope + _FIRST] = session
        else:
            words[last + NEXT] = session
        words[scope + _LAST] = session

    def _take_first(self, scope: int) -> int:
        words = self._file.words
        session = words[scope + _FIRST]
        words[scope + _FIRST] = words[session + NEXT]
        return session

    def _expire(self, scope: int, since: float) -> None:
        """Remove those at the front that nobody can find any more."""
        file = self._file
        for _ in range(EXPIRED_AT_ONCE):
            session = file.words[scope + _FIRST]
            if not session or (
                file.words[session + NUMBER] and file.times[session + QUEUED] >= since
            ):
                return
            self._take_first(scope)
            used = self._used(session) if file.words[session + NUMBER] else 0.0
            if used >= since:
                self._append(scope, session, used)
            else:
                self._let_go(scope, session)

    def _make_room(self, scope: int) -> None:
        """Remove the session at the front, or of those that were used since the first."""
        file = self._file
        oldest, since = 0, 0.0
        for _ in range(TRIED):
            session = self._take_first(scope)
            if not file.words[session + NUMBER]:
                file.give(session, SLOT)
                continue
            used = self._used(session)
            if used <= file.times[session + QUEUED]:
                self._let_go(scope, session)
                return
            self._append(scope, session, used)
            if not oldest or used < since:
                oldest, since = session, used
        if oldest:
            # It stands among the others: its place is given back when it comes to the front.
            self._remove(oldest)
            file.words[scope + _HELD] -= 1

    def _let_go(self, scope: int, session: int) -> None:
        """Remove a session that stands in the queue no more."""
        file = self._file
        if file.words[session + NUMBER]:
            self._remove(session)
            file.words[scope + _HELD] -= 1
        file.give(session, SLOT)

    def _look_after_next(self, since: float) -> None:
        """Let go what has expired in the next scope, or the scope itself where it has nothing."""
        words = self._file.words
        link = words[SCOPE_HAND] or SCOPES
        scope = words[link]
        if not scope:
            words[SCOPE_HAND] = SCOPES
            return
        self._expire(scope, since)
        if words[scope + _FIRST]:
            words[SCOPE_HAND] = scope + NEXT
            return
        key = _scope_key(words[scope + SCOPE])
        mapped_keys.discard(self._file, (key,), words[scope + NUMBER])
        words[link] = words[scope + NEXT]
        words[scope + NUMBER] = 0
        self._file.give(scope, SLOT)


def _scope_key(seed: int) -> int:
    return xxh3_64_intdigest(seed.to_bytes(8, "little"))
