"""Brings what is new in this process into a store, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from gateway_sessions.detection.records import UnreadableRecord
from gateway_sessions.index.deadlines import Deadlines, Waiter
from gateway_sessions.index.held import Held
from gateway_sessions.index.store import (
    Change,
    PromptStore,
    Store,
    StoredSession,
    StoreFailed,
    prompt,
)

logger = logging.getLogger(__name__)

BATCH = 256
"""Changes on their way at once: what a busy process has in some milliseconds."""
UNSENT_KEPT = 10_000
"""Changes that wait for a store which is away.  Of those beyond, the oldest waits no longer: it
is stored with the next change of its session."""
ATTEMPTS = 4
"""How often one change is tried, counting the first time: whoever meets a newer version joins it
with his own and tries again."""
SETTLED_SECONDS = 0.05
"""How long the end of a response waits until others can see the session."""
RETRY_SECONDS = 0.1
"""How long after a failure the store is tried again: while a breaker is open, that is cheap."""


class Committer:
    """What has changed, and how it is stored.

    What changes in one turn of the event loop is stored at its end: within one call where the
    store answers at once, else by a task.  There is one task at a time, so a session's changes
    arrive in their order; what changes while a batch is on its way goes with the next.
    """

    def __init__(
        self,
        store: Store,
        worked: Callable[[], None],
        failed: Callable[[StoreFailed], None],
        merged: Callable[[Held], None],
    ) -> None:
        """Store changes in ``store``.

        ``worked`` and ``failed`` are told of every attempt, ``merged`` of everything that was
        joined with what others had changed.
        """
        self._store = store
        self._prompt = prompt(store)
        self._worked = worked
        self._failed = failed
        self._merged = merged
        self._dirty: dict[tuple[int, str], Held] = {}
        self._deadlines = Deadlines()
        self._task: asyncio.Task[None] | None = None
        self._soon: asyncio.Handle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._broken = False
        """Whether the last attempt met what nobody thought of, and it was said."""

    @property
    def unsent(self) -> int:
        """How many changes wait."""
        return len(self._dirty)

    @property
    def is_waiting(self) -> bool:
        """Whether the store has failed and is not tried at present."""
        return self._retry is not None

    def changed(self, held: Held) -> None:
        """Store something soon."""
        held.dirty = True
        self._dirty[held.scope, held.id] = held
        if len(self._dirty) > UNSENT_KEPT:
            self._give_up(self._dirty.pop(next(iter(self._dirty))))
        if self._retry is None:
            self.start()

    def wait(self, held: Held) -> asyncio.Future[None]:
        """Return what to wait for until a change is stored; it ends by itself, and in time."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held.waiting.append(waiter)
        if self._soon is None:
            self._end_in_time([waiter])  # Else `store_now` sees to it.
        return waiter

    def _end_in_time(self, waiting: list[asyncio.Future[None]]) -> None:
        """Let those go on who have waited long enough."""
        loop = asyncio.get_running_loop()
        for each in waiting:
            self._deadlines.add(Waiter(each), SETTLED_SECONDS, loop)

    def resume(self) -> None:
        """Store what waits, since the store is back."""
        self._stop_waiting()
        self.start()

    def start(self) -> None:
        """Store what waits, if nobody does already."""
        if self._task is None and self._soon is None and self._dirty:
            loop = asyncio.get_running_loop()
            if self._prompt is not None:
                self._soon = loop.call_soon(self.store_now)
            else:
                self._task = loop.create_task(self._run())

    def store_now(self) -> None:
        """Store what waits within this call, as far as the store need not be waited for."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._task is not None or self._prompt is None:
            return
        while self._dirty and self._retry is None and self._task is None:
            if len(self._dirty) == 1:  # The usual case.
                (scope, _), held = self._dirty.popitem()
                self._commit_now(self._prompt, scope, [held])
                continue
            for scope, helds in self._batch().items():
                self._commit_now(self._prompt, scope, helds)
        if self._dirty:  # It waits for the store, or the task.
            self._end_in_time([each for held in self._dirty.values() for each in held.waiting])

    async def flush(self) -> None:
        """Return when everything that waits was tried."""
        self.store_now()
        while self._task is not None:
            await asyncio.wait((self._task,))
            if self._retry is not None:
                return

    async def close(self) -> None:
        """Try what waits once more, and stop."""
        self.resume()
        await self.flush()
        self._stop_waiting()

    def _batch(self) -> dict[int, list[Held]]:
        """Take what has waited longest, by scope."""
        scopes: dict[int, list[Held]] = {}
        for key in list(islice(self._dirty, BATCH)):
            scopes.setdefault(key[0], []).append(self._dirty.pop(key))
        return scopes

    async def _run(self) -> None:
        try:
            while self._dirty and self._retry is None:
                commits = [self._commit(scope, each) for scope, each in self._batch().items()]
                if len(commits) == 1:
                    await commits[0]
                else:
                    await asyncio.gather(*commits)
        finally:
            self._task = None

    async def _commit(self, scope: int, helds: list[Held]) -> None:
        """Store changes of one scope."""
        try:
            for _ in range(ATTEMPTS):
                changes = _taken(helds)
                helds = self._answered(helds, changes, await self._store.commit(scope, changes))
                if not helds:
                    return
        except Exception as error:  # noqa: BLE001 - it is said there
            self._not_stored(helds, error)
        else:
            self._give_up_all(helds)

    def _commit_now(self, store: PromptStore, scope: int, helds: list[Held]) -> None:
        """Store changes of one scope; leave to the task what has to be waited for."""
        try:
            for _ in range(ATTEMPTS):
                changes = _taken(helds)
                found = store.commit_now(scope, changes)
                if found is None:
                    self._wait_for(helds)
                    return
                helds = self._answered(helds, changes, found)
                if not helds:
                    return
        except Exception as error:  # noqa: BLE001 - it is said there
            self._not_stored(helds, error)
        else:
            self._give_up_all(helds)

    def _wait_for(self, helds: list[Held]) -> None:
        """Let the task store changes that could not be stored at once."""
        for held in helds:
            held.busy, held.dirty = False, True
            self._dirty[held.scope, held.id] = held
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _answered(
        self, helds: list[Held], changes: list[Change], found: list[StoredSession]
    ) -> list[Held]:
        """Note what a store said to changes; return those that have to be tried again."""
        self._broken = False
        self._worked()
        newer = {each.id: each for each in found}
        again = []
        for held, change in zip(helds, changes, strict=True):
            held.busy = False
            other = newer.get(held.id)
            if other is None:
                held.stored(change)
                if not held.dirty:  # Else they wait for what has changed on the way.
                    _release(held)
            elif self._joined(held, other):
                again.append(held)
        return again

    def _joined(self, held: Held, newer: StoredSession) -> bool:
        """Join what was not stored with what others have stored; return whether that went well."""
        held.busy = True  # What was not stored is news still.
        try:
            held.met(newer)
        except UnreadableRecord:
            self._give_up(held)
            return False
        finally:
            held.busy = False
        self._merged(held)
        return True

    def _not_stored(self, helds: list[Held], error: Exception) -> None:
        """Keep changes of which a store failed, and let go those that met a fault of our own."""
        for held in helds:
            held.busy = False
        if isinstance(error, StoreFailed):
            self._put_off(helds)
            self._failed(error)
            return
        # Nothing that is wrong with a store, or with us, may end the task for all others.
        if not self._broken:
            logger.error("sessions could not be stored", exc_info=error)
        self._broken = True
        self._give_up_all(helds)

    def _put_off(self, helds: list[Held]) -> None:
        """Keep changes until the store is back."""
        for held in helds:
            held.dirty = True
            self._dirty.setdefault((held.scope, held.id), held)
            _release(held)
        if self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.start()

    def _stop_waiting(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _give_up_all(self, helds: list[Held]) -> None:
        """Leave changes to the next change of the same: others are at it all the time."""
        for held in helds:
            self._give_up(held)

    def _give_up(self, held: Held) -> None:
        held.dirty = False
        _release(held)


def _taken(helds: list[Held]) -> list[Change]:
    """Return what is to be stored, from now on on its way."""
    changes = []
    for held in helds:
        held.dirty, held.busy = False, True
        changes.append(held.change())
    return changes


def _release(held: Held) -> None:
    """Let those go on who wait for something."""
    if not held.waiting:
        return  # The usual case.
    waiting, held.waiting = held.waiting, []
    for each in waiting:
        if not each.done():
            each.set_result(None)
