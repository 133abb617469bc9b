"""Questions to a server, asked together: while one batch is under way, the next is collected.

So the more is asked at once, the less each question costs: system calls, wake-ups and timers are
paid for by the batch.  Alone, a question goes out at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from gateway_sessions.index.store import StoreFailed

ANSWER_SECONDS = 1.0
"""How long a server may take for a batch, connecting included, before the connection is given up.
Much longer than a request waits (see `breaker`): a connection is worth keeping over a hiccup."""

Q_ = TypeVar("Q_")
A_ = TypeVar("A_")


class Call(Generic[Q_, A_]):
    """A question that somebody waits for."""

    __slots__ = ("future", "question")

    def __init__(self, question: Q_, future: asyncio.Future[A_]) -> None:
        self.question = question
        self.future = future

    def answer(self, answer: A_) -> None:
        """Tell who waits, if anybody still does."""
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, sentence: str) -> None:
        """Tell who waits, if anybody still does, that there is no answer."""
        if not self.future.done():
            self.future.set_exception(StoreFailed(sentence))


class Batches(Generic[Q_, A_]):
    """Collects questions.  There are never more than requests that wait for them."""

    def __init__(
        self,
        name: str,
        exchange: Callable[[list[Call[Q_, A_]]], Awaitable[None]],
        hang_up: Callable[[], Awaitable[None]],
    ) -> None:
        """Ask a server.

        Args:
            name: its kind and place, for messages.
            exchange: sends a batch and answers its calls; ends within `ANSWER_SECONDS` or soon
                after.  It raises `StoreFailed` where those not answered can not be.
            hang_up: breaks the connection, so that `exchange` ends at once.
        """
        self._name = name
        self._exchange = exchange
        self._hang_up = hang_up
        self._under_way: list[Call[Q_, A_]] = []
        self._waiting: list[Call[Q_, A_]] = []
        self._sender: asyncio.Task[None] | None = None
        self.closed = False

    async def ask(self, question: Q_) -> A_:
        """Return the answer; raises `StoreFailed`."""
        if self.closed:
            raise StoreFailed(f"{self._name}: the connection was closed")
        loop = asyncio.get_running_loop()
        call: Call[Q_, A_] = Call(question, loop.create_future())
        self._waiting.append(call)
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send())
        return await call.future

    async def close(self) -> None:
        """Hang up; what is under way or waits fails.  Idempotent."""
        self.closed = True
        for call in (*self._under_way, *self._waiting):
            call.fail(f"{self._name}: the connection was closed")
        await self._hang_up()
        if self._sender is not None:
            await asyncio.wait([self._sender])
            await self._hang_up()  # it may just have connected

    async def _send(self) -> None:
        while self._waiting:
            # Who was called off while waiting wants nothing sent any more.
            batch = [call for call in self._waiting if not call.future.done()]
            self._under_way, self._waiting = batch, []
            if not batch:
                continue
            try:
                await self._exchange(batch)
            except StoreFailed as error:
                for call in batch:
                    call.fail(str(error))
