"""The interface of stores that outlive a process or are shared by several.

A store keeps sessions as bytes, found by 64-bit keys.  It knows nothing of what is in them: which
keys lead to a session, and how two changes of one session are joined, is decided above it, in
the pure part.  So a store is two operations, each one round trip: fetch by keys, and commit what
has changed if nobody else changed it meanwhile.

Everything is kept by scope: no key of one scope ever leads to a session of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec


class StoredSession(msgspec.Struct, frozen=True, gc=False):
    """A session as it is in the store."""

    id: str
    version: int
    """How often it was changed; 1 after its first commit."""
    used: float
    """Unix seconds of its last use."""
    state: bytes | None
    """What was committed last; None where the caller has this version already."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """What is to become of a session."""

    id: str
    version: int
    """The version that was changed; 0 for a session that is not in the store."""
    used: float
    """Unix seconds."""
    state: bytes
    added: tuple[int, ...] = ()
    """Keys (1 to 2^64-1) that lead to it from now on."""
    outdated: tuple[int, ...] = ()
    """Keys that no longer do."""


class StoreFailed(Exception):
    """A store did not answer, or answered with an error; the text names it, without secrets."""


class Store(Protocol):
    """Sessions of all scopes, as bytes.

    Sessions that were not used for the idle limit (and, as ghosts, for as long again) go by
    themselves, and of each scope no more than a limit are kept, those used last; a session that
    goes takes its keys with it.
    """

    async def open(self) -> None:
        """Connect, and make what is missing; raises `StoreFailed` or `StartError`."""

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """Return the sessions of a scope to which any of some keys leads, each once.

        Of each key those `CANDIDATES` that registered it last.  Of sessions whose version is the
        one in ``known`` the state is left out.  Raises `StoreFailed`.
        """

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """Store changes; return, as they are now, the sessions that others have changed meanwhile.

        Those changes were not stored.  Each change is stored as a whole or not at all; its new
        version is the old one plus one.  Raises `StoreFailed`.
        """

    async def close(self) -> None:
        """Release everything; idempotent."""


@runtime_checkable
class PromptStore(Store, Protocol):
    """A store that mostly need not be waited for: it answers within the call.

    Then nobody pays for tasks, timers and futures.
    """

    @property
    def is_prompt(self) -> bool:
        """Whether there is any use in asking it so."""

    @property
    def wants_batches(self) -> bool:
        """Whether changes cost less together, so that those of one moment should wait for it."""

    def fetch_now(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession] | None:
        """As `Store.fetch`; None where that has to be called, and waited for."""

    def commit_now(self, scope: int, changes: Sequence[Change]) -> list[StoredSession] | None:
        """As `Store.commit`; None where nothing was stored, and that has to be called."""


def prompt(store: Store) -> PromptStore | None:
    """Return a store that may answer within the call; None where it never does."""
    return store if isinstance(store, PromptStore) and store.is_prompt else None
