"""Taking the connections of a worker that is down."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress


class StandIn:
    """Accepts connections on another worker's socket until it is stopped.

    It is no server of the event loop: such a one, closed while it has just accepted a connection,
    loses that; and which worker is up changes while connections come.
    """

    def __init__(self, listener: socket.socket, serve: Callable[[], asyncio.Protocol]) -> None:
        """Begin to accept; ``serve`` makes what serves a connection."""
        self._listener = listener
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def stop(self) -> None:
        """Accept no more; what was accepted is served."""
        self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # another worker was faster, or the client has left again
            return
        task = self._loop.create_task(self._begin(connection))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _begin(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the client has left again
            await self._loop.connect_accepted_socket(self._serve, connection)
