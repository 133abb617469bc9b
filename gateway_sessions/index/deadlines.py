"""Limits on how long something may take, with one timer for all of them.

A timer for each is most of what a limit costs, and nearly none ever rings.  Limits that are all
equally long end in the order in which they began, so only the oldest needs a timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol


class Limited(Protocol):
    """Something that may take only so long."""

    @property
    def over(self) -> bool:
        """Whether it has ended already."""

    def expire(self) -> None:
        """End it now."""


class Deadlines:
    """Ends what takes too long.  What is over stays in memory until it would have been late."""

    def __init__(self) -> None:
        self._pending: deque[tuple[float, Limited]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, limited: Limited, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """End something after some seconds, as many every time, unless it is over by then."""
        self._pending.append((loop.time() + seconds, limited))
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        pending, now = self._pending, loop.time()
        while pending and (pending[0][1].over or pending[0][0] <= now):
            _, limited = pending.popleft()
            if not limited.over:
                limited.expire()
        if pending and self._timer is None:
            self._timer = loop.call_at(pending[0][0], self._ring, loop)


class within:  # noqa: N801 - it reads like `asyncio.timeout`, which it stands for
    """``with within(seconds, deadlines):`` as `asyncio.timeout`, which it is in all else."""

    __slots__ = ("_cancelling", "_late", "_task", "over")

    def __init__(self, seconds: float, deadlines: Deadlines) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._late = self.over = False
        deadlines.add(self, seconds, loop)

    def expire(self) -> None:
        """Call the task off, which ends as `TimeoutError` here."""
        assert self._task is not None
        self._late = True
        self._task.cancel()

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End; raises `TimeoutError` in place of what called the task off for being late."""
        task, self._task, self.over = self._task, None, True
        assert task is not None
        if self._late and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Waiter:
    """A future that gets a result when its time is over, if it has none by then."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    @property
    def over(self) -> bool:
        """Whether there is a result, or nobody waits any more."""
        return self._future.done()

    def expire(self) -> None:
        """Let those go on who wait."""
        self._future.set_result(None)
