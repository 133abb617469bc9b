"""The main process of a gateway with several workers.

It carries no traffic.  It holds what there is one of: the sockets that clients connect to, the
recorder, and the gateway's own endpoints, to which workers pass requests on, so that every
connection sees the same sessions, the same journal and one sum of all metrics.  A worker that
dies is started again; until it is back, the others take its new connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from gateway_sessions import app
from gateway_sessions.assembly import Share, assemble
from gateway_sessions.config import Loaded
from gateway_sessions.errors import GatewaySessionsError, StartError
from gateway_sessions.recording.child import Spawned
from gateway_sessions.web.listening import BACKLOG, SHARED_BY_SYSTEM, listeners
from gateway_sessions.web.server import GRACE_SECONDS, make_runner
from gateway_sessions.workers.company import Circle
from gateway_sessions.workers.messages import (
    NO_MEMORY,
    OWN_SOCKET,
    PROBLEMS,
    RECORDER_SOCKET,
    SESSIONS_FILE,
    Begin,
    sentences,
)
from gateway_sessions.workers.process import WorkerProcess, fate

logger = logging.getLogger(__name__)

PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a worker is started again, by how often it has died lately.  The first death is
an accident; what dies at once each time would only keep the machine busy."""
HEALTHY_SECONDS = 60.0
"""A worker that has lived for so long died of something new."""
CLOSE_SECONDS = 30.0
"""What workers may take, after the time for exchanges, to write everything down."""


class Crew:
    """The workers: as many as are wanted, each started again when it dies."""

    def __init__(
        self,
        circle: Circle,
        begin: Callable[[int, str], Begin],
        groups: list[list[socket.socket]],
        *,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        """Make it; nothing runs before `start`.

        Args:
            circle: answers the workers' questions.
            begin: gives a worker's orders, by its place and name.
            groups: the sockets that clients connect to, by worker.
            pauses: seconds before a worker is started again.
        """
        self._circle = circle
        self._orders = begin
        self._groups = groups
        self._pauses = pauses
        self._lives = [0] * len(groups)
        self._workers: list[WorkerProcess | None] = [None] * len(groups)
        self._keepers: list[asyncio.Task[None]] = []
        self._started: set[WorkerProcess] = set()

    @property
    def ready(self) -> list[WorkerProcess]:
        """The workers that serve at present."""
        return [worker for worker in self._workers if worker is not None and worker.ready]

    async def start(self) -> None:
        """Start all workers at once; raises `StartError` or `ConfigError` if one can not."""
        starts = [self._started_at(place) for place in range(len(self._groups))]
        results = await asyncio.gather(*starts, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        loop = asyncio.get_running_loop()
        self._keepers = [loop.create_task(self._keep(place)) for place in range(len(results))]

    async def stop(self, hurry: asyncio.Event | None = None) -> bool:
        """Let all workers finish and end; tell whether no exchange was cut off.

        ``hurry``, once set, ends the waiting for exchanges.
        """
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for group in self._groups:
            for each in group:
                each.close()
        workers = list(self._started)
        for worker in workers:
            worker.stop()
        ends = asyncio.gather(*(worker.ended() for worker in workers))
        hurrying = asyncio.get_running_loop().create_task(self._hurry(workers, hurry))
        done, _ = await asyncio.wait({ends}, timeout=GRACE_SECONDS + CLOSE_SECONDS)
        if not done:
            logger.error("workers did not end in time and are killed")
            for worker in workers:
                worker.kill()
        codes = await ends
        hurrying.cancel()
        return not any(codes)

    def problems(self) -> list[str]:
        """Return one sentence for each worker that is down."""
        return [f"worker {place + 1} died and is started again" for place in self._down()]

    async def _hurry(self, workers: list[WorkerProcess], hurry: asyncio.Event | None) -> None:
        if hurry is not None:
            await hurry.wait()
            for worker in workers:
                worker.hurry()

    async def _started_at(self, place: int) -> None:
        """Start a worker in a place; raises `StartError` or `ConfigError`."""
        self._lives[place] += 1
        life = self._lives[place]
        name = f"worker-{place + 1}" if life == 1 else f"worker-{place + 1}.{life}"
        inherited = list({id(each): each for group in self._groups for each in group}.values())
        try:
            worker = WorkerProcess(self._orders(place, name), self._circle.answerers, inherited)
        except OSError as error:
            raise StartError(f"worker {place + 1} can not be started: {error}") from error
        self._started.add(worker)
        try:
            await worker.start()
        except BaseException:
            worker.kill()
            await worker.ended()
            self._started.discard(worker)
            raise
        self._workers[place] = worker
        self._cover()

    async def _keep(self, place: int) -> None:
        """Start a worker again whenever it dies."""
        deaths = 0
        while True:
            worker = self._workers[place]
            assert worker is not None
            since = time.monotonic()
            code = await worker.ended()
            self._started.discard(worker)
            self._cover()
            logger.error("worker %d died (%s) and is started again", place + 1, fate(code))
            if time.monotonic() - since > HEALTHY_SECONDS:
                deaths = 0
            deaths = await self._replace(place, deaths)
            logger.info("worker %d serves again", place + 1)

    async def _replace(self, place: int, deaths: int) -> int:
        """Start a worker in the place of one that died; return how often one has by now."""
        while True:
            await asyncio.sleep(self._pauses[min(deaths, len(self._pauses) - 1)])
            deaths += 1
            try:
                await self._started_at(place)
            except GatewaySessionsError as error:
                # A sentence says it all.
                logger.error("worker %d can not be started again: %s", place + 1, error)  # noqa: TRY400
            else:
                return deaths

    def _down(self) -> list[int]:
        return [
            place
            for place, worker in enumerate(self._workers)
            if worker is None or not worker.ready
        ]

    def _cover(self) -> None:
        """Tell the workers whose connections to take besides their own."""
        if SHARED_BY_SYSTEM:
            down = self._down()
            for worker in self.ready:
                worker.cover(down)


@dataclass(slots=True)
class Supervised(app.Running):
    """A gateway with several workers that serves."""

    crew: Crew
    held: ExitStack
    """What is released at the end."""

    async def stop(self, hurry: asyncio.Event | None = None) -> bool:
        """Stop listening, let exchanges finish, write everything down; as `app.Running.stop`."""
        self.assembly.gateway.stopping.set()
        finished = await self.crew.stop(hurry)
        for runner in self.runners:
            finished = await app.unless(hurry, runner.cleanup()) and finished
        await self.assembly.close()
        self.held.close()
        return finished


async def start(loaded: Loaded) -> Supervised:
    """Start the main process and its workers; when this returns, they serve.

    Raises `StartError` or `ConfigError`, one sentence each, with nothing left open.
    """
    server = loaded.config.server
    if not hasattr(socket, "AF_UNIX"):
        raise StartError("several workers need local sockets; set server.workers to 1.")
    listen = app.admin_address(loaded.config)
    with ExitStack() as held:
        groups = listeners(server.host, server.port, server.workers, "server.port")
        for each in (each for group in groups for each in group):
            held.callback(each.close)
        folder = Path(tempfile.mkdtemp(prefix="gateway-sessions-"))  # mode 0700
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        recorder = held.enter_context(_local_listener(folder / RECORDER_SOCKET))
        memory = _memory(held)
        running = await _start(loaded, groups, folder, recorder, listen, memory)
        running.held.push(held.pop_all())
    return running


async def _start(
    loaded: Loaded,
    groups: list[list[socket.socket]],
    folder: Path,
    recorder: socket.socket,
    listen: tuple[str, int] | None,
    memory: int,
) -> Supervised:
    crew: Crew | None = None
    circle = Circle(
        lambda: [] if crew is None else [each.channel for each in crew.ready], is_main=True
    )
    assembly = assemble(
        loaded, serves=True, share=Share(circle, partial(Spawned, recorder), folder / SESSIONS_FILE)
    )
    runner: web.AppRunner | None = None

    async def problems() -> list[str]:
        answers = await circle.ask(PROBLEMS)
        found = [] if crew is None else crew.problems()
        found += assembly.gateway.problems()
        found += (each for answer in answers.values() for each in sentences(answer))
        return list(dict.fromkeys(found))

    try:
        await assembly.open()
        routes = app.own_routes(assembly, problems)
        own = web.Application()
        own.add_routes(routes)
        runner = make_runner(own)
        url = app.url_of(loaded.config.server.host, groups[0][0].getsockname()[1])
        if listen is None:
            await runner.setup()
            await web.UnixSite(runner, folder / OWN_SOCKET).start()
            (folder / OWN_SOCKET).chmod(0o600)
            admin_url = url
        else:
            admin_url = await app.listen_on(runner, *listen, "admin.listen")
        paths = () if listen else tuple(dict.fromkeys(route.path for route in routes))
        crew = Crew(circle, partial(_orders, loaded, folder, groups, paths, memory), groups)
        await crew.start()
    except BaseException:
        if crew is not None:
            await crew.stop()
        if runner is not None:
            await runner.cleanup()
        await assembly.close()
        raise
    return Supervised(assembly, url, admin_url, [runner], crew, ExitStack())


def _orders(
    loaded: Loaded,
    folder: Path,
    groups: list[list[socket.socket]],
    paths: tuple[str, ...],
    memory: int,
    place: int,
    name: str,
) -> Begin:
    return Begin(
        loaded=loaded,
        name=name,
        folder=str(folder),
        listeners=tuple(tuple(each.fileno() for each in group) for group in groups),
        place=place,
        own_paths=paths,
        memory=memory,
    )


def _memory(held: ExitStack) -> int:
    """Return a descriptor of memory that processes share, where the system has such (Linux).

    Unlike a file it is never written to a disk, and is gone with the last process that has it.
    """
    create: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if create is None or not Path("/proc/self/fd").exists():
        return NO_MEMORY
    memory = create("gateway-sessions")
    held.callback(os.close, memory)
    return memory


def _local_listener(path: Path) -> socket.socket:
    """Return a listening local socket, for this user alone.

    It outlives the process that accepts: who connects while that is started again just waits.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    return listener
