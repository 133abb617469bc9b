"""A store in memory, for tests of what stands on one, that can be told to fail."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.store import Change, StoredSession, StoreFailed


class _Kept(msgspec.Struct):
    stored: StoredSession
    keys: dict[int, None]


class MemoryStore:
    """The rules of `Store` in as few lines as they take.

    ``failing`` makes every call fail; ``calls`` counts those that came.
    """

    def __init__(self, *, max_sessions: int = 1000, ttl_seconds: float = 3600.0) -> None:
        self._max_sessions = max_sessions
        self._gone_after = 2 * ttl_seconds
        self._scopes: dict[int, dict[str, _Kept]] = {}
        self._keys: dict[tuple[int, int], list[str]] = {}
        self.failing = False
        self.calls = 0

    async def open(self) -> None:
        """Fail, or do nothing."""
        self._called()

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions to which any of some keys leads."""
        self._called()
        kept = self._scopes.get(scope, {})
        names = dict.fromkeys(name for key in keys for name in self._keys.get((scope, key), ()))
        since = time.time() - self._gone_after
        found = [kept[name].stored for name in names if kept[name].stored.used >= since]
        return [
            msgspec.structs.replace(each, state=None)
            if known.get(each.id) == each.version
            else each
            for each in found
        ]

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return what others have changed meanwhile."""
        self._called()
        sessions = self._scopes.setdefault(scope, {})
        newer = []
        for change in changes:
            kept = sessions.get(change.id)
            if kept is not None and kept.stored.version != change.version:
                newer.append(kept.stored)
                continue
            keys = {} if kept is None else kept.keys
            stored = StoredSession(change.id, change.version + 1, change.used, change.state)
            sessions[change.id] = _Kept(stored, keys)
            for key in set(change.outdated) - set(change.added):
                self._discard(scope, key, change.id)
                keys.pop(key, None)
            for key in change.added:
                self._add(scope, key, change.id)
                keys[key] = None
            self._make_room(scope, sessions)
        return newer

    async def close(self) -> None:
        """Do nothing."""

    def _called(self) -> None:
        self.calls += 1
        if self.failing:
            raise StoreFailed("it was told to fail")

    def _add(self, scope: int, key: int, name: str) -> None:
        names = self._keys.setdefault((scope, key), [])
        if name not in names:
            names.append(name)
            del names[:-CANDIDATES]

    def _discard(self, scope: int, key: int, name: str) -> None:
        names = self._keys.get((scope, key), [])
        if name in names:
            names.remove(name)

    def _make_room(self, scope: int, sessions: dict[str, _Kept]) -> None:
        oldest = min(sessions, key=lambda name: sessions[name].stored.used)
        expired = sessions[oldest].stored.used < time.time() - self._gone_after
        if expired or len(sessions) > self._max_sessions:
            for key in sessions.pop(oldest).keys:
                self._discard(scope, key, oldest)
