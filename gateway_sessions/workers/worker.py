"""A worker: carries traffic from its share of the connections until the main process says stop.

It takes its orders from the main process alone.  Signals that are meant for that, sent to the
whole process group or service, pass it by; when the main process is gone, it finishes what is
under way and ends as well.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from aiohttp import web

from gateway_sessions import app, logs
from gateway_sessions.assembly import Assembly, Share, assemble
from gateway_sessions.errors import ConfigError, GatewaySessionsError
from gateway_sessions.recording.child import Connected
from gateway_sessions.web.listening import BACKLOG
from gateway_sessions.web.passing import Passing
from gateway_sessions.web.server import make_runner
from gateway_sessions.workers.channel import Channel
from gateway_sessions.workers.company import MAIN, Circle
from gateway_sessions.workers.covering import StandIn
from gateway_sessions.workers.messages import (
    LENGTH,
    OWN_SOCKET,
    PROBLEMS,
    RECORDER_SOCKET,
    AnyMessage,
    Begin,
    Cover,
    Hurry,
    Ready,
    Refused,
    Stop,
    read,
    said,
)

logger = logging.getLogger(__name__)

REFUSED = 2
"""Exit code of a worker that could not start, and has said why."""


class Worker:
    """The life of a worker, on the event loop."""

    def __init__(self, connection: socket.socket, begin: Begin) -> None:
        self._begin = begin
        self._circle = Circle(lambda: (self._channel,), is_main=False)
        self._channel = Channel(connection, MAIN, self._circle.answerers)
        self._listeners = [
            [socket.socket(fileno=number) for number in group] for group in begin.listeners
        ]
        self._covering: dict[int, list[StandIn]] = {}
        self._runner: web.AppRunner | None = None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()

    async def serve(self) -> int:
        """Serve until told to stop; return the exit code, as `app.serve` does, or `REFUSED`."""
        await self._channel.open()
        hearing = asyncio.get_running_loop().create_task(self._hear())
        try:
            running = await self._start()
        except GatewaySessionsError as error:
            self._channel.send(Refused(str(error), isinstance(error, ConfigError)))
            code = REFUSED
        else:
            self._channel.send(Ready())
            await self._stop.wait()
            self._cover(())
            # The others' as well: as long as anybody holds them, clients wait there.
            own = self._listeners.pop(self._begin.place)
            self._close_listeners()
            self._listeners.append(own)
            finished = await running.stop(self._hurry)
            code = 0 if finished else app.INTERRUPTED
        self._close_listeners()
        await self._channel.close()
        await hearing
        return code

    def _close_listeners(self) -> None:
        while self._listeners:
            for listener in self._listeners.pop():
                listener.close()

    async def _hear(self) -> None:
        await self._channel.listen(self._heard)
        self._stop.set()

    def _heard(self, message: AnyMessage) -> None:
        if isinstance(message, Stop):
            self._stop.set()
        elif isinstance(message, Hurry):
            self._hurry.set()
        elif isinstance(message, Cover):
            self._cover(message.places)

    async def _start(self) -> app.Running:
        folder = Path(self._begin.folder)
        share = Share(
            self._circle, partial(Connected, folder / RECORDER_SOCKET), self._begin.sessions
        )
        assembly = assemble(self._begin.loaded, share=share)
        problems = assembly.gateway.problems
        self._circle.answer(PROBLEMS, lambda who, question: said(problems()))
        try:
            await assembly.open()
            self._runner = make_runner(self._application(assembly, folder / OWN_SOCKET))
            await self._runner.setup()
            for listener in self._listeners[self._begin.place]:
                await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        except BaseException:
            if self._runner is not None:
                await self._runner.cleanup()
            await assembly.close()
            raise
        return app.Running(assembly, "", "", [self._runner])

    def _application(self, assembly: Assembly, own: Path) -> web.Application:
        passing = Passing(assembly.gateway, own)
        application = app.proxy(assembly, passing.routes(self._begin.own_paths))

        async def close(_: web.Application) -> None:
            await passing.close()

        application.on_cleanup.append(close)
        return application

    def _cover(self, places: Iterable[int]) -> None:
        """Take new connections in the place of workers that are down, and of no others."""
        wanted = frozenset(places) - {self._begin.place}
        for place in self._covering.keys() - wanted:
            for stand_in in self._covering.pop(place):
                stand_in.stop()
        if self._runner is None or self._runner.server is None or self._stop.is_set():
            return
        for place in wanted - self._covering.keys():
            self._covering[place] = [
                StandIn(listener, self._runner.server) for listener in self._listeners[place]
            ]


def main(descriptor: int) -> None:
    """Serve as the main process says, at the other end of an inherited socket."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    begin = _first_message(connection)
    if begin is None:
        return
    log = logs.set_up(begin.loaded.config.logging)

    async def serve() -> int:
        return await Worker(connection, begin).serve()

    try:
        code = app.run(serve)
    finally:
        log.close()
    sys.exit(code)


def _first_message(connection: socket.socket) -> Begin | None:
    """Return what the main process wants; None where that is gone."""
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size) or bytes(LENGTH.size))
    content = _exactly(connection, length)
    message = read(content) if content else None
    return message if isinstance(message, Begin) else None


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Return so many bytes and not one more; nothing where the other end is gone."""
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            return b""
        found += more
    return found
