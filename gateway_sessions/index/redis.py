"""Sessions in Redis or Valkey, shared by all who use the same server; needs the extra ``redis``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from struct import Struct, pack
from typing import Any

from gateway_sessions.detection.view import CANDIDATES
from gateway_sessions.index.redis_link import Script, link_to
from gateway_sessions.index.store import Change, StoredSession

LAYOUT = 1
"""Part of every key's name: programs that lay out sessions differently never see each other's."""

_MARK = Struct(">Id")
"""Version and last use, as the scripts keep them at the beginning of a mark."""


def _script(name: str) -> Script:
    folder = files("gateway_sessions.index") / "scripts"
    return Script((folder / "common.lua").read_text() + (folder / name).read_text())


_FETCH, _COMMIT = _script("fetch.lua"), _script("commit.lua")


class RedisStore:
    """A `Store` on a server of Redis 6 or later, or Valkey, or on a cluster of them.

    Each operation is one script, so that it is one round trip, happens as a whole, and its limits
    hold whoever else commits.  What belongs to a scope has the scope as its hash tag and is so on
    one server of a cluster.  What is laid down where stands in ``scripts/common.lua``.
    """

    def __init__(self, url: str, *, max_sessions: int, ttl_seconds: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: ``redis://user:password@host:6379/0``, ``rediss://…``, ``unix:///path`` or
                ``redis+cluster://…``; raises `ConfigError` where it can not be read.
            max_sessions: kept of each scope.
            ttl_seconds: how long a session lives after its last use; for as long again it can
                be found.
        """
        self._link = link_to(url)
        self.name = self._link.name
        """``Redis at host:port``, for messages."""
        self._gone_after = b"%d" % math.ceil(2 * ttl_seconds)
        self._limits = (self._gone_after, b"%d" % max_sessions, b"%d" % CANDIDATES)

    async def open(self) -> None:
        """Find out whether the server answers and lets us run scripts; raises `StoreFailed`."""
        await self.fetch(0, (1,), {})
        await self.commit(0, ())

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions of a scope to which any of some keys leads; see `Store`."""
        versions: list[bytes] = []
        for name, version in known.items():
            versions += (name.encode(), b"%d" % version)
        return _sessions(
            await self._link.run(
                _FETCH, _places(scope)[:3], _packed(keys), self._gone_after, *versions
            )
        )

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return what others have changed meanwhile; see `Store`."""
        arguments: list[bytes] = []
        for change in changes:
            arguments += (
                change.id.encode(),
                _MARK.pack(change.version + 1, change.used),
                change.state,
                _packed(change.added),
                _packed(change.outdated),
            )
        return _sessions(await self._link.run(_COMMIT, _places(scope), *self._limits, *arguments))

    async def close(self) -> None:
        """Disconnect; idempotent."""
        await self._link.close()


@lru_cache(maxsize=1024)
def _places(scope: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the names of what is kept of a scope, in the order of the scripts."""
    name = b"gateway-sessions:%d:{%x}:" % (LAYOUT, scope)
    return name + b"keys", name + b"marks", name + b"states", name + b"order"


def _packed(keys: Sequence[int]) -> bytes:
    """Return keys as one argument: it costs far less to send and to read than one for each."""
    return pack(f">{len(keys)}Q", *keys)


def _sessions(answer: list[Any]) -> list[StoredSession]:
    """Read what both scripts return: id, mark and state of each session."""
    found = []
    for place in range(0, len(answer), 3):
        version, used = _MARK.unpack(answer[place + 1])
        found.append(StoredSession(answer[place].decode(), version, used, answer[place + 2]))
    return found
