"""The line between the main process and one worker: messages, and questions with answers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from gateway_sessions.hooks import Answerer
from gateway_sessions.workers.messages import (
    LENGTH,
    Answer,
    AnyMessage,
    Ask,
    frame,
    read,
)

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
"""How long an answer may take: it comes from memory."""

Heard = Callable[[AnyMessage], None]


class Channel:
    """One end.  All methods belong to the event loop's thread.

    Args:
        connection: one of a pair of sockets.
        peer: the name of the other end.
        answerers: who answers questions, by topic.
    """

    def __init__(
        self, connection: socket.socket, peer: str, answerers: dict[str, Answerer]
    ) -> None:
        self.peer = peer
        self._connection = connection
        self._answerers = answerers
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[bytes | None]] = {}

    async def open(self) -> None:
        """Get ready to send."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._connection)

    async def listen(self, heard: Heard) -> None:
        """Call ``heard`` with each message until the other end is gone.

        Questions and answers are not among them.
        """
        reader, writer = self._reader, self._writer
        assert reader is not None
        assert writer is not None
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                message = read(await reader.readexactly(length))
                if isinstance(message, Ask):
                    self._answer(message)
                elif isinstance(message, Answer):
                    self._answered(message)
                else:
                    heard(message)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer = None
            writer.close()
            for future in self._asked.values():
                future.cancel()

    async def close(self) -> None:
        """Send what is left and hang up."""
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()

    def send(self, message: AnyMessage) -> None:
        """Send a message; nothing happens where the other end is gone."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame(message))

    async def ask(self, topic: str, question: bytes) -> bytes | None:
        """Return the other end's answer; None where it has none, is late or gone."""
        if self._writer is None:
            return None
        number = next(self._numbers)
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self.send(Ask(number, topic, question))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if answer.cancelled() and self._writer is None:
                return None  # the other end has gone
            raise
        finally:
            del self._asked[number]

    def tell(self, topic: str, note: bytes) -> None:
        """Send what wants no answer."""
        self.send(Ask(0, topic, note))

    def _answer(self, asked: Ask) -> None:
        answerer, answer = self._answerers.get(asked.topic), None
        if answerer is not None:
            try:
                answer = answerer(self.peer, asked.question)
            except Exception:  # it may be a plug-in's
                logger.exception("a question about %s could not be answered", asked.topic)
        if asked.number:
            self.send(Answer(asked.number, answer))

    def _answered(self, message: Answer) -> None:
        future = self._asked.get(message.number)
        if future is not None and not future.done():
            future.set_result(message.answer)
