"""A store in this process that several trackers share, with a clock and faults of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.store import Change, StoredSession, StoreFailed


class StoreInMemory:
    """The rules of `Store`, without limits."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[int, str], StoredSession] = {}
        self.keys: dict[tuple[int, int], list[str]] = {}
        self.failing = False
        self.fetched: list[list[int]] = []
        """The keys of every look-up that came."""
        self.committed: list[Change] = []
        """Every change that was stored."""

    async def open(self) -> None:
        self._check()

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        self._check()
        self.fetched.append(list(keys))
        names = dict.fromkeys(name for key in keys for name in self.keys.get((scope, key), ()))
        found = [self.sessions[scope, name] for name in names]
        return [
            msgspec.structs.replace(each, state=None)
            if known.get(each.id) == each.version
            else each
            for each in found
        ]

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        self._check()
        newer = []
        for change in changes:
            kept = self.sessions.get((scope, change.id))
            if kept is not None and kept.version != change.version:
                newer.append(kept)
                continue
            self.committed.append(change)
            self.sessions[scope, change.id] = StoredSession(
                change.id, change.version + 1, change.used, change.state
            )
            for key in change.outdated:
                names = self.keys.get((scope, key), [])
                if change.id in names:
                    names.remove(change.id)
            for key in change.added:
                names = self.keys.setdefault((scope, key), [])
                if change.id not in names:
                    names.append(change.id)
                    del names[:-CANDIDATES]
        return newer

    async def close(self) -> None:
        pass

    def remove(self, name: str) -> None:
        """Let a session go, as one that was idle for too long."""
        for scope, each in list(self.sessions):
            if each == name:
                del self.sessions[scope, name]
        for names in self.keys.values():
            if name in names:
                names.remove(name)

    def _check(self) -> None:
        if self.failing:
            raise StoreFailed("it was told to fail")
