"""A store in memory that keeps to the limits of real ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gateway_sessions.index.store import Change, StoredSession
from tests.index.stored import StoreInMemory


class LimitedStore(StoreInMemory):
    """Lets sessions go that are long unused, or too many in their scope."""

    def __init__(self, *, max_sessions: int, ttl_seconds: float) -> None:
        super().__init__()
        self._max_sessions = max_sessions
        self._gone_after = 2 * ttl_seconds

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions to which any of some keys leads."""
        since = time.time() - self._gone_after
        return [each for each in await super().fetch(scope, keys, known) if each.used >= since]

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return what others have changed meanwhile."""
        newer = await super().commit(scope, changes)
        for _ in changes:
            kept = [each for (owner, _), each in self.sessions.items() if owner == scope]
            oldest = min(kept, key=lambda each: each.used)
            if oldest.used < time.time() - self._gone_after or len(kept) > self._max_sessions:
                del self.sessions[scope, oldest.id]
                for (owner, _), names in self.keys.items():
                    if owner == scope and oldest.id in names:
                        names.remove(oldest.id)
        return newer
