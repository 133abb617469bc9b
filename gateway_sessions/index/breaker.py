"""A store that may be slow or away, and costs requests next to nothing when it is.

Every call ends in time.  After a few failures in a row the breaker opens: calls fail at once,
without asking, and the store is tried beside the traffic until it answers in time again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from gateway_sessions.errors import StartError
from gateway_sessions.index.deadlines import Deadlines, within
from gateway_sessions.index.store import Change, Store, StoredSession, StoreFailed, prompt

logger = logging.getLogger(__name__)

CALL_SECONDS = 0.05
"""How long a request may wait for a store.  One in the same data centre takes a hundredth of it,
and a model hundreds of times as long: who waits this long once does not notice."""
FAILURES = 3
"""Failures in a row after which it opens.  One may be bad luck; each costs a request up to
`CALL_SECONDS`."""
FIRST_PAUSE_SECONDS = 0.1
"""Before the first attempt to reach the store again: a restart of the network is over by then."""
LONGEST_PAUSE_SECONDS = 5.0
"""Pauses double up to this: a store that is back is used again soon, one that is away is not
worth more than a packet now and then."""
CALM_SECONDS = 10.0
"""A store that fails again sooner than this after it came back flaps: pauses go on doubling."""
CONNECT_SECONDS = 2.0
"""How long connecting may take when nobody waits for it."""

_PROBE = (1,)
"""A key that nobody has, asked of a scope that nobody has."""

T_ = TypeVar("T_")


class Breaker:
    """A `Store` before another one: every call returns or raises within `CALL_SECONDS`."""

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Stand before a store.

        Args:
            store: what may fail.
            name: its kind and place, for messages.
            pause: waits some seconds between attempts to reach it.
        """
        self._store = store
        self._prompt = prompt(store)
        self._name = name
        self.returned: Callable[[], None] = _nobody
        """Called when the store answers again after it was away: what waits can be stored."""
        self.reason = ""
        """Why the store is not asked at present; empty where it is."""
        self._pause = pause
        self._deadlines = Deadlines()
        self._opened = False
        self._failures = {"fetch": 0, "commit": 0}
        """In a row, of each operation: a full or read-only server still answers look-ups."""
        self._away: asyncio.Task[None] | None = None
        """Tries to reach the store, while the breaker is open."""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._back_since = -CALM_SECONDS

    @property
    def is_prompt(self) -> bool:
        """Whether the store may answer within the call; see `PromptStore`."""
        return self._prompt is not None

    @property
    def wants_batches(self) -> bool:
        """Whether changes of one moment should be stored together; see `PromptStore`."""
        return self._prompt is None or self._prompt.wants_batches

    async def open(self) -> None:
        """Connect; a store that does not answer is no error, and tried until it does.

        Raises `StartError` where the store says that trying again would not help.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._store.open()
        except TimeoutError:
            self._trip(f"{self._name}: no answer within {CONNECT_SECONDS:g} s")
        except StoreFailed as error:
            self._trip(str(error))
        else:
            self._opened = True

    async def fetch(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession]:
        """As the store does, in time; raises `StoreFailed`."""
        return await self._call("fetch", self._store.fetch(scope, keys, known))

    async def commit(self, scope: int, changes: Sequence[Change]) -> list[StoredSession]:
        """As the store does, in time; raises `StoreFailed`.

        A commit that took too long may have been stored all the same; who commits it again is
        answered with what is stored.
        """
        return await self._call("commit", self._store.commit(scope, changes))

    def fetch_now(
        self, scope: int, keys: Sequence[int], known: Mapping[str, int]
    ) -> list[StoredSession] | None:
        """As the store does, if it need not be waited for; see `PromptStore`."""
        if self._prompt is None:
            return None
        self._check()
        answer = self._prompt.fetch_now(scope, keys, known)
        if answer is not None:
            self._failures["fetch"] = 0
        return answer

    def commit_now(self, scope: int, changes: Sequence[Change]) -> list[StoredSession] | None:
        """As the store does, if it need not be waited for; see `PromptStore`."""
        if self._prompt is None:
            return None
        self._check()
        answer = self._prompt.commit_now(scope, changes)
        if answer is not None:
            self._failures["commit"] = 0
        return answer

    async def close(self) -> None:
        """Give up trying, and close the store."""
        away, self._away = self._away, None
        if away is not None:
            away.cancel()
            await asyncio.wait([away])
        await self._store.close()

    def _check(self) -> None:
        if self._away is not None:
            raise StoreFailed(f"{self._name} is away")

    async def _call(self, operation: str, asked: Coroutine[Any, Any, T_]) -> T_:
        try:
            self._check()
        except StoreFailed:
            asked.close()
            raise
        try:
            with within(CALL_SECONDS, self._deadlines):
                answer = await asked
        except TimeoutError as error:
            late = StoreFailed(f"{self._name}: no answer within {CALL_SECONDS * 1000:.0f} ms")
            self._note(operation, late)
            raise late from error
        except StoreFailed as error:
            self._note(operation, error)
            raise
        self._failures[operation] = 0
        return answer

    def _note(self, operation: str, error: StoreFailed) -> None:
        self._failures[operation] += 1
        # Calls that were under way when it opened tell nothing new.
        if self._failures[operation] >= FAILURES and self._away is None:
            self._trip(str(error))

    def _trip(self, reason: str) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._back_since >= CALM_SECONDS:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        logger.warning(
            "%s; until it answers again, sessions are those that this process knows", reason
        )
        self.reason = reason
        self._away = loop.create_task(self._try_again())

    async def _try_again(self) -> None:
        """Wait until the store answers in time, then close the breaker."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await self._pause(self._pause_seconds)
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            with suppress(StoreFailed, StartError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connect()
                # Only what would be in time for a request counts.
                async with asyncio.timeout(CALL_SECONDS):
                    await self._ask()
                break
        self._back_since = loop.time()
        self._failures = dict.fromkeys(self._failures, 0)
        self._away, self.reason = None, ""
        logger.warning("%s answers again after %.1f s", self._name, self._back_since - began)
        self.returned()

    async def _connect(self) -> None:
        if not self._opened:
            await self._store.open()
            self._opened = True
        await self._ask()

    async def _ask(self) -> None:
        """Ask for nothing, and store nothing."""
        await self._store.fetch(0, _PROBE, {})
        await self._store.commit(0, ())


def _nobody() -> None:
    """Is called when nobody waits."""
