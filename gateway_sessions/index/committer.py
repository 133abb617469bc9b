"""Brings what is new in this process into a store, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from gateway_sessions.detection.records import UnreadableRecord
from gateway_sessions.index.held import Held
from gateway_sessions.index.store import Store, StoreFailed

logger = logging.getLogger(__name__)

BATCH = 256
"""Changes on their way at once: what a busy process has in some milliseconds."""
UNSENT_KEPT = 10_000
"""Changes that wait for a store which is away.  Of those beyond, the oldest waits no longer: it
is stored with the next change of its session."""
ATTEMPTS = 4
"""How often one change is tried, counting the first time: whoever meets a newer version joins it
with his own and tries again."""
RETRY_SECONDS = 0.1
"""How long after a failure the store is tried again: while a breaker is open, that is cheap."""


class Committer:
    """What has changed, and the one task that stores it.

    There is one at a time, so a session's changes arrive in their order; what changes while a
    batch is on its way goes with the next.
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
        self._worked = worked
        self._failed = failed
        self._merged = merged
        self._dirty: dict[tuple[int, str], Held] = {}
        self._task: asyncio.Task[None] | None = None
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

    def resume(self) -> None:
        """Store what waits, since the store is back."""
        self._stop_waiting()
        self.start()

    def start(self) -> None:
        """Store what waits, if nobody does already."""
        if self._task is None and self._dirty:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def flush(self) -> None:
        """Return when everything that waits was tried."""
        while self._task is not None:
            await asyncio.wait((self._task,))
            if self._retry is not None:
                return

    async def close(self) -> None:
        """Try what waits once more, and stop."""
        self.resume()
        await self.flush()
        self._stop_waiting()

    async def _run(self) -> None:
        try:
            while self._dirty and self._retry is None:
                batch = list(islice(self._dirty.items(), BATCH))
                scopes: dict[int, list[Held]] = {}
                for key, held in batch:
                    del self._dirty[key]
                    scopes.setdefault(key[0], []).append(held)
                commits = [self._commit(scope, each) for scope, each in scopes.items()]
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
                helds = await self._attempt(scope, helds)
                if not helds:
                    return
        except StoreFailed as error:
            self._put_off(helds)
            self._failed(error)
        except Exception:
            # Nothing that is wrong with a store, or with us, may end the task for all others.
            if not self._broken:
                logger.exception("sessions could not be stored")
            self._broken = True
            for held in helds:
                self._give_up(held)
        else:
            for held in helds:  # Others are at it all the time; the next change will do.
                self._give_up(held)

    async def _attempt(self, scope: int, helds: list[Held]) -> list[Held]:
        """Store changes; return those that have to be tried again."""
        changes = []
        for held in helds:
            held.dirty, held.busy = False, True
            changes.append(held.change())
        try:
            found = {each.id: each for each in await self._store.commit(scope, changes)}
        finally:
            for held in helds:
                held.busy = False
        self._broken = False
        self._worked()
        again = []
        for held, change in zip(helds, changes, strict=True):
            newer = found.get(held.id)
            if newer is None:
                held.stored(change)
                if not held.dirty:  # Else they wait for what has changed on the way.
                    _release(held)
                continue
            held.busy = True  # What was not stored is news still.
            try:
                held.met(newer)
            except UnreadableRecord:
                self._give_up(held)
                continue
            finally:
                held.busy = False
            self._merged(held)
            again.append(held)
        return again

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

    def _give_up(self, held: Held) -> None:
        held.dirty = False
        _release(held)


def _release(held: Held) -> None:
    """Let those go on who wait for something."""
    waiting, held.waiting = held.waiting, []
    for each in waiting:
        if not each.done():
            each.set_result(None)
