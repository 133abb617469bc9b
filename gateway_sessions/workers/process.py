"""One life of a worker, seen from the main process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.hooks import Answerer
from gateway_sessions.workers.channel import Channel
from gateway_sessions.workers.messages import (
    NO_MEMORY,
    AnyMessage,
    Begin,
    Cover,
    Hurry,
    Ready,
    Refused,
    Stop,
)

START_SECONDS = 60.0
"""How long a worker may take to be ready; it waits for the recorder, which may have 30."""

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from gateway_sessions.workers.worker import main; main(int(sys.argv[2]))"
)


class WorkerProcess:
    """A worker from its start to its end."""

    def __init__(
        self,
        begin: Begin,
        answerers: dict[str, Answerer],
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        """Start a process; ``inherited`` are the sockets whose descriptors ``begin`` names.

        Raises `OSError` where the system has no room for it.
        """
        self.name = begin.name
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                descriptors = [theirs.fileno(), *(each.fileno() for each in inherited)]
                if begin.memory != NO_MEMORY:
                    descriptors.append(begin.memory)
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [
                        *(sys.executable, "-I", "-c", _PROGRAM),
                        *(json.dumps(sys.path), str(theirs.fileno())),
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=descriptors,
                )
        except BaseException:
            ours.close()
            raise
        self.channel = Channel(ours, begin.name, answerers)
        self.ready = False
        self._begin = begin
        self._began: asyncio.Future[Ready | Refused] = asyncio.get_running_loop().create_future()
        self._hearing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def start(self) -> None:
        """Return when it serves; raises `StartError` or `ConfigError` where it can not."""
        await self.channel.open()
        self.channel.send(self._begin)
        self._hearing = asyncio.get_running_loop().create_task(self.channel.listen(self._heard))
        outcomes: set[asyncio.Future[Any]] = {self._began, self._hearing}
        await asyncio.wait(outcomes, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not self._began.done():
            self.kill()
            raise StartError(
                f"{self.name} ended, or was not ready in time; its own output says why"
            )
        answer = self._began.result()
        if isinstance(answer, Refused):
            raise (ConfigError if answer.misconfigured else StartError)(answer.sentence)
        self.ready = True

    async def ended(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        if self._hearing is not None:
            await asyncio.wait({self._hearing})  # whoever stops waiting does not stop the hearing
        self.ready = False
        return await asyncio.to_thread(self._process.wait)

    def cover(self, places: Sequence[int]) -> None:
        """Have it take the connections of workers that are down."""
        self.channel.send(Cover(tuple(places)))

    def stop(self) -> None:
        """Tell it to finish what is under way and end."""
        self.channel.send(Stop())

    def hurry(self) -> None:
        """Tell it not to wait for exchanges."""
        self.channel.send(Hurry())

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def _heard(self, message: AnyMessage) -> None:
        if isinstance(message, (Ready, Refused)) and not self._began.done():
            self._began.set_result(message)


def fate(code: int) -> str:
    """Return how a process ended, from its exit code.

    >>> fate(1), fate(-9)
    ('exit code 1', 'SIGKILL')
    """
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
