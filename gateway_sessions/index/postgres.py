"""Sessions in PostgreSQL, shared by all who use the same database; needs the extra ``postgres``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.batches import Batches, Call
from gateway_sessions.index.postgres_link import PostgresLink
from gateway_sessions.index.store import Change, StoredSession

MIGRATIONS = ("live_1.sql",)
"""Scripts in their order; the first makes version 1.  One that was released stays as it is."""

_FETCH = (
    "SELECT ask, id, version, used, state FROM live_fetch("
    "%s::integer[], %s::bigint[], %s::bigint[], %s::integer[], %b::text[], %s::integer[], %s)"
)
_COMMIT = (
    "SELECT number, id, version, used, state FROM live_commit("
    "%s::bigint[], %b::text[], %s::integer[], %b::float8[], %b::bytea[],"
    " %s::integer[], %s::bigint[], %s::integer[], %s::bigint[], %s, %s, %s)"
)


class _Fetch(NamedTuple):
    scope: int
    keys: Sequence[int]
    known: Mapping[str, int]


class _Commit(NamedTuple):
    scope: int
    changes: Sequence[Change]


_Fetches = list[Call[_Fetch, list[StoredSession]]]
_Commits = list[Call[_Commit, list[StoredSession]]]


class PostgresStore:
    """A `Store` in a database of PostgreSQL 12 or later.

    Each batch of operations is one statement, a call of a function that the first gateway to come
    lays down beside its tables (``scripts/live_1.sql``).  Fetches and commits have a connection
    each, so that who only looks never waits for who writes.
    """

    def __init__(self, dsn: str, *, max_sessions: int, ttl_seconds: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            dsn: ``postgresql://user:password@host:5432/database``; raises `ConfigError` where it
                can not be read.
            max_sessions: kept of each scope.
            ttl_seconds: how long a session lives after its last use; for as long again it can
                be found.
        """
        self._gone_after = 2 * ttl_seconds
        self._max_sessions = max_sessions
        self._reading, self._writing = PostgresLink(dsn), PostgresLink(dsn)
        self.name = self._reading.name
        """``PostgreSQL at host/database``, for messages."""
        self._fetches: Batches[_Fetch, list[StoredSession]] = Batches(
            self.name, self._fetch_all, self._reading.hang_up
        )
        self._commits: Batches[_Commit, list[StoredSession]] = Batches(
            self.name, self._commit_all, self._writing.hang_up
        )

    async def open(self) -> None:
        """Connect and bring the tables up to date.

        Raises `StoreFailed`, or `StartError` where the tables are newer than this program.
        """
        scripts = files("gateway_sessions.index") / "scripts"
        await self._writing.migrate([(scripts / name).read_text() for name in MIGRATIONS])
        # A connection's first call of a function takes tens of milliseconds.
        await self.fetch(0, (1,), {})
        await self.commit(0, ())

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions of a scope to which any of some keys leads; see `Store`."""
        return await self._fetches.ask(_Fetch(scope, keys, known))

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return what others have changed meanwhile; see `Store`."""
        return await self._commits.ask(_Commit(scope, changes))

    async def close(self) -> None:
        """Disconnect; idempotent."""
        await self._fetches.close()
        await self._commits.close()

    async def _fetch_all(self, calls: _Fetches) -> None:
        asks: list[int] = []
        scopes: list[int] = []
        keys: list[int] = []
        known_asks: list[int] = []
        known_ids: list[str] = []
        known_versions: list[int] = []
        for number, call in enumerate(calls):
            asked = call.question
            asks += [number] * len(asked.keys)
            scopes += [asked.scope] * len(asked.keys)
            keys += asked.keys
            known_asks += [number] * len(asked.known)
            known_ids += asked.known
            known_versions += asked.known.values()
        rows = await self._reading.run(
            _FETCH,
            (
                _array(asks),
                _array(map(_signed, scopes)),
                _array(map(_signed, keys)),
                _array(known_asks),
                known_ids,
                _array(known_versions),
                self._gone_after,
            ),
        )
        found: list[list[StoredSession]] = [[] for _ in calls]
        for number, *session in rows:
            found[number].append(StoredSession(*session))
        for call, sessions in zip(calls, found, strict=True):
            call.answer(sessions)

    async def _commit_all(self, calls: _Commits) -> None:
        scopes: list[int] = []
        changes: list[Change] = []
        owners: list[int] = []
        for number, call in enumerate(calls):
            count = len(call.question.changes)
            scopes += [call.question.scope] * count
            changes += call.question.changes
            owners += [number] * count
        rows = await self._writing.run(
            _COMMIT,
            (
                _array(map(_signed, scopes)),
                [change.id for change in changes],
                _array(change.version for change in changes),
                [change.used for change in changes],
                [change.state for change in changes],
                _array(len(change.added) for change in changes),
                _array(_signed(key) for change in changes for key in change.added),
                _array(len(change.outdated) for change in changes),
                _array(_signed(key) for change in changes for key in change.outdated),
                self._gone_after,
                self._max_sessions,
                CANDIDATES,
            ),
        )
        newer: list[list[StoredSession]] = [[] for _ in calls]
        for number, *session in rows:
            newer[owners[number - 1]].append(StoredSession(*session))
        for call, sessions in zip(calls, newer, strict=True):
            call.answer(sessions)


def _signed(number: int) -> int:
    """Return the signed number of the same 64 bits, since the database has no other."""
    return number - 2**64 if number >> 63 else number


def _array(numbers: Iterable[int]) -> str:
    """Write an array as the database reads it: many times faster than number by number."""
    return "{" + ",".join(map(str, numbers)) + "}"
