"""What interceptors see of the other processes: `gateway_sessions.hooks.Company`, both ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway_sessions.hooks import Answerer
from gateway_sessions.workers.channel import Channel

MAIN = "main"
"""The name of the main process."""


class Circle:
    """The company of a process: ``channels`` returns those that lead to others at present.

    It implements `gateway_sessions.hooks.Company`.
    """

    def __init__(self, channels: Callable[[], Iterable[Channel]], *, is_main: bool) -> None:
        self.is_main = is_main
        self.answerers: dict[str, Answerer] = {}
        self._channels = channels

    def answer(self, topic: str, answerer: Answerer) -> None:
        """Answer the questions of the others about a topic from now on."""
        self.answerers[topic] = answerer

    async def ask(self, topic: str, question: bytes = b"") -> dict[str, bytes]:
        """Return the answers of the others by their names; who is late or gone is missing."""
        channels = list(self._channels())
        if len(channels) == 1:
            answers = [await channels[0].ask(topic, question)]
        else:
            answers = await asyncio.gather(*(each.ask(topic, question) for each in channels))
        found = zip(channels, answers, strict=True)
        return {channel.peer: answer for channel, answer in found if answer is not None}

    def tell(self, topic: str, note: bytes) -> None:
        """Send the others something that wants no answer."""
        for channel in self._channels():
            channel.tell(topic, note)

    def names(self) -> frozenset[str]:
        """Return the names of the others that are alive."""
        return frozenset(channel.peer for channel in self._channels())
