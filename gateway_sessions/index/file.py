"""Sessions in a file of this machine: they survive restarts, and several processes share them.

The file is an SQLite database in WAL mode.  Calls run on the event loop's thread: each is a few
statements on pages that are in memory, some tens of microseconds, less than it costs to hand it
to another thread.  They never wait: where another process is writing at that moment, the call
sleeps on the event loop and tries again.

What can take longer, writing pages back into the database and removing what has expired, is done
by `gateway_sessions.index.upkeep` on a thread of its own.

Nothing is synced to the disk by a commit.  What was committed survives the end of the process
however it ends, since the system has it; when the machine loses its power, the last seconds may be
lost, and sessions with them.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.errors import StartError
from gateway_sessions.index.news import News, append
from gateway_sessions.index.sessions_file import BUCKETS, opened
from gateway_sessions.index.store import Change, StoredSession, StoreFailed
from gateway_sessions.index.upkeep import Upkeep
from gateway_sessions.storage.sqlite import CorruptDatabase, translated

logger = logging.getLogger(__name__)

WAIT_SECONDS = 0.04
"""How long a call tries again where other processes are writing."""
PAUSE_SECONDS = 0.0005
"""Between two tries: a commit of another process takes less."""

_SIGNED = 2**63
_KEYS = """
SELECT asked.value, k.n FROM json_each(?1) AS asked JOIN keys AS k ON k.key = asked.value
AND k.n IN (SELECT n FROM keys WHERE key = asked.value ORDER BY n DESC LIMIT ?2)
"""
_FEW = 4
"""So many keys or sessions are asked for one by one, without a list to write and read."""
_ONE_KEY = "SELECT * FROM (SELECT key, n FROM keys WHERE key = ? ORDER BY n DESC LIMIT ?)"
_FEW_KEYS = [" UNION ALL ".join([_ONE_KEY] * count) for count in range(_FEW + 1)]
_FIND_ONE = "SELECT n, id, version, used FROM sessions WHERE n = ? AND scope = ? AND used >= ?"
_FIND = """
SELECT n, id, version, used FROM sessions
WHERE n IN (SELECT value FROM json_each(?1)) AND +scope = ?2 AND used >= ?3
"""
"""The plus keeps SQLite from going through all sessions of the scope instead."""
_KEYS_READ = CANDIDATES + 8
"""Sessions read of each key: some of them may have gone."""
_READ = "SELECT version, used, state FROM sessions WHERE n = ?"
_UPDATE = (
    "UPDATE sessions SET version = ?, used = ?, bucket = ?, state = ?"
    " WHERE scope = ? AND id = ? AND version = ? RETURNING n"
)
_UPDATE_IN_PLACE = (
    "UPDATE sessions SET version = ?, used = ?, state = ? WHERE n = ? AND version = ?"
)
"""Of a session that this process changed last, in the same part of the idle limit: no index is
read or written."""
_NEWER = "SELECT version, used, state FROM sessions WHERE scope = ? AND id = ?"
_INSERT = (
    "INSERT INTO sessions (version, used, bucket, state, scope, id) VALUES (?, ?, ?, ?, ?, ?)"
    " RETURNING n"
)
_COUNT = (
    "INSERT INTO scopes (scope, held) VALUES (?, 1)"
    " ON CONFLICT (scope) DO UPDATE SET held = held + 1 RETURNING held"
)
_OLDEST = "SELECT n, used FROM sessions WHERE scope = ? ORDER BY bucket LIMIT 64"

PLACES_KEPT = 4096
"""Sessions of which it is known where in the file they are: those in use."""

_Key = tuple[int, str]
"""Scope and id of a session."""
_Place = tuple[int, int, int]
"""Number, version and bucket of a session as this process stored it."""
_Row = tuple[int, int, Sequence[int], Sequence[int]]
"""A row of the news: its number, a session's, keys added and outdated."""

T_ = TypeVar("T_")


class FileStore:
    """A `Store` in a file."""

    is_prompt = True
    """See `PromptStore`."""
    wants_batches = True
    """Most of what a change costs is the transaction that it is in."""

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
        self.name = f"the file {path}"
        """For messages."""
        self._path = path
        self._max_sessions = max_sessions
        self._gone_after = 2 * ttl_seconds
        self._bucket_seconds = max(ttl_seconds / BUCKETS, 1.0)
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._upkeep: Upkeep | None = None
        self._news = News()
        self._places: dict[_Key, _Place] = {}

    async def open(self) -> None:
        """Open the file, or make it; one that is damaged is put aside.

        Raises:
            StartError: it can not be used.
        """
        if self._connection is None:
            self._connection, self._news = await asyncio.to_thread(self._opened)
            self._places.clear()
            self._start_upkeep()

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions of a scope to which any of some keys leads; see `Store`."""
        return await self._call(partial(self._find, scope, keys, known))

    def fetch_now(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession] | None:
        """As `fetch`, unless another process is in the way; see `PromptStore`."""
        return self._at_once(partial(self._find, scope, keys, known))

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return what others have changed meanwhile; see `Store`."""
        return await self._call(partial(self._store_all, scope, changes))

    def commit_now(self, scope: int, changes: Sequence[Change]) -> list[StoredSession] | None:
        """As `commit`, unless another process is in the way; see `PromptStore`."""
        return self._at_once(partial(self._store_all, scope, changes))

    async def close(self) -> None:
        """Write everything into the database and close it; idempotent."""
        upkeep, self._upkeep = self._upkeep, None
        connection, self._connection = self._connection, None
        if upkeep is not None:
            await asyncio.to_thread(upkeep.stop)
        if connection is not None:
            connection.close()

    def _opened(self) -> tuple[sqlite3.Connection, News]:
        """Return a connection, and the news that a process left behind which was killed."""
        connection, news = opened(self._path, self._clock()), News()
        try:
            with translated(self._path):
                news.read(connection, 0)
        except BaseException:
            connection.close()
            raise
        return connection, news

    def _start_upkeep(self) -> None:
        self._upkeep = Upkeep(
            self._path, gone_after=self._gone_after, bucket_seconds=self._bucket_seconds
        )
        self._upkeep.start()

    def _find(
        self,
        scope: int,
        keys: Sequence[int],
        known: Mapping[str, int],
        connection: sqlite3.Connection,
    ) -> list[StoredSession]:
        leads = self._leads(connection, [_signed(key ^ scope) for key in keys])
        numbers = {number for each in leads for number in each}
        if not numbers:
            return []
        since = self._clock() - self._gone_after
        if len(numbers) <= _FEW:
            asked = [(number, _signed(scope), since) for number in numbers]
            rows = [row for each in asked for row in connection.execute(_FIND_ONE, each)]
        else:
            asked_all = (json.dumps([*numbers]), _signed(scope), since)
            rows = connection.execute(_FIND, asked_all).fetchall()
        live = {row[0]: (row[1], row[2], row[3]) for row in rows}
        named = {number for each in leads for number in _newest(each, live)}
        return [_stored(connection, number, live[number], known) for number in named]

    def _leads(self, connection: sqlite3.Connection, keys: list[int]) -> list[Sequence[int]]:
        """Return for each of some keys the numbers of the sessions to which it leads."""
        # In this order: what is moved meanwhile is found in the table.
        self._news.read(connection, self._upkeep.moved if self._upkeep is not None else 0)
        if len(keys) <= _FEW:
            each = [value for key in keys for value in (key, _KEYS_READ)]
            rows = connection.execute(_FEW_KEYS[len(keys)], each) if keys else ()
        else:
            rows = connection.execute(_KEYS, (json.dumps(keys), _KEYS_READ))
        known: dict[int, list[int]] = {}
        for key, number in rows:
            known.setdefault(key, []).append(number)
        return [self._news.of(key, known.get(key, ()), _KEYS_READ) for key in keys]

    def _store_all(
        self, scope: int, changes: Sequence[Change], connection: sqlite3.Connection
    ) -> list[StoredSession]:
        places: dict[_Key, _Place] = {}
        rows: list[_Row] = []
        newer: list[StoredSession] = []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                place = self._store(connection, scope, change)
                if isinstance(place, StoredSession):
                    newer.append(place)
                else:
                    places[scope, change.id] = place
                    rows.append(_tell(connection, scope, place[0], change))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        # Only now: what was not committed may have numbers that others get.
        for row in rows:
            self._news.wrote(*row)
        self._places.update(places)
        while len(self._places) > PLACES_KEPT:
            del self._places[next(iter(self._places))]
        return newer

    def _store(
        self, connection: sqlite3.Connection, scope: int, change: Change
    ) -> _Place | StoredSession:
        """Store one change and return where; or return what is there instead."""
        signed, version = _signed(scope), change.version + 1
        bucket = int(change.used / self._bucket_seconds)
        number, *same = self._places.pop((scope, change.id), (0, 0, 0))
        if same == [change.version, bucket] and number:
            new = (version, change.used, change.state, number, change.version)
            if connection.execute(_UPDATE_IN_PLACE, new).rowcount:
                return number, version, bucket
        whole = (version, change.used, bucket, change.state, signed, change.id)
        row = connection.execute(_UPDATE, (*whole, change.version)).fetchone()
        if row is None:
            there = connection.execute(_NEWER, (signed, change.id)).fetchone()
            if there is not None:
                return StoredSession(change.id, *there)
            row = connection.execute(_INSERT, whole).fetchone()
            if self._make_room(connection, signed) and self._upkeep is not None:
                self._upkeep.removed()
        return row[0], version, bucket

    def _make_room(self, connection: sqlite3.Connection, scope: int) -> bool:
        """Count one more session of a scope; if these are too many, remove one of the oldest."""
        (held,) = connection.execute(_COUNT, (scope,)).fetchone()
        if held <= self._max_sessions:
            return False
        oldest = connection.execute(_OLDEST, (scope,)).fetchall()
        number, _ = min(oldest, key=lambda row: row[1])
        connection.execute("DELETE FROM sessions WHERE n = ?", (number,))
        connection.execute("UPDATE scopes SET held = held - 1 WHERE scope = ?", (scope,))
        return True

    def _at_once(self, work: Callable[[sqlite3.Connection], T_]) -> T_ | None:
        """Run statements, unless something is wrong: `_call` meets that again, and can wait."""
        if self._connection is None:
            return None
        try:
            return work(self._connection)
        except (sqlite3.Error, UnicodeDecodeError):
            return None

    async def _call(self, work: Callable[[sqlite3.Connection], T_]) -> T_:
        """Run statements; wait for other processes on the event loop, for a while."""
        until = 0.0
        while True:
            connection = self._connection
            if connection is None:
                raise StoreFailed(f"{self._path}: it is not open")
            try:
                with translated(self._path):
                    return work(connection)
            except CorruptDatabase as error:
                await self._begin_anew(connection)
                raise StoreFailed(str(error)) from None
            except OSError as error:
                now = time.monotonic()
                until = until or now + WAIT_SECONDS
                if error.errno != errno.EBUSY or now >= until:
                    raise StoreFailed(f"{self._path}: {error.strerror}") from None
                await asyncio.sleep(PAUSE_SECONDS)
            except sqlite3.Error as error:
                raise StoreFailed(f"{self._path}: {error}") from None

    async def _begin_anew(self, damaged: sqlite3.Connection) -> None:
        """Put aside a file that was found to be damaged, unless another process has done so."""
        if self._connection is damaged:
            await self.close()
            try:
                await self.open()
            except (StartError, CorruptDatabase, OSError) as error:
                raise StoreFailed(str(error)) from error


def _tell(connection: sqlite3.Connection, scope: int, number: int, change: Change) -> _Row:
    """Tell how the keys of a session have changed."""
    added, outdated = change.added, change.outdated
    if outdated:
        outdated = tuple(set(outdated).difference(added))
    keys = [_signed(key ^ scope) for key in added], [_signed(key ^ scope) for key in outdated]
    return append(connection, number, *keys), number, *keys


def _stored(
    connection: sqlite3.Connection,
    number: int,
    found: tuple[str, int, float],
    known: Mapping[str, int],
) -> StoredSession:
    """Return a session, with its state where that is not known."""
    name, version, used = found
    row = None
    if known.get(name) != version:
        row = connection.execute(_READ, (number,)).fetchone()
    return StoredSession(name, *(row or (version, used, None)))


def _newest(numbers: Sequence[int], live: Mapping[int, object]) -> list[int]:
    """Return those of a key's sessions that are live and came last."""
    return sorted((number for number in numbers if number in live), reverse=True)[:CANDIDATES]


def _signed(number: int) -> int:
    """Return 64 bits as SQLite has them."""
    return number - 2 * _SIGNED if number >= _SIGNED else number
