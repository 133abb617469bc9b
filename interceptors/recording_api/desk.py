"""The journal's thread: whatever waits is done in one transaction, and answered after it.

So an answer means that the disk has it, the event loop never waits for the disk, and the more
clients there are, the more of them share a write.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway_sessions import CorruptDatabase, StartError, sqlite_errors, sqlite_transaction
from interceptors.recording_api.journal import open_journal, put_aside
from interceptors.recording_api.protocol import Refused

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Jobs; beyond it clients are told to come again, which they do with what they have kept."""
GROUP = 1000
"""Jobs of one transaction."""
MAX_BYTES = 256 * 1024 * 1024
"""Of what waits, as the callers tell."""

T_ = TypeVar("T_")
Job = Callable[[sqlite3.Connection], T_]
_Waiting = tuple[Job[Any], asyncio.Future[Any], int]

UNAVAILABLE = "The journal can not be written at present; send it again later."


class Desk:
    """Does jobs on the journal, in order.  All methods belong to the event loop's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._fails = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the journal; raises `StartError`."""
        self._loop = asyncio.get_running_loop()
        self._connection = await self._loop.run_in_executor(None, open_journal, self._path)
        self._thread = threading.Thread(target=self._run, name="recording-api", daemon=True)
        self._thread.start()

    def do(self, job: Job[T_], size: int = 0) -> asyncio.Future[T_]:
        """Return what ``job`` will have returned once it is durable.

        ``size`` is what the job occupies while it waits, in bytes.  The future raises what the
        job raised, which must leave the journal as it was; and `Refused` (``unavailable``) where
        too much waits or the journal can not be written.
        """
        loop = self._loop
        assert loop is not None
        future: asyncio.Future[T_] = loop.create_future()
        with self._wake:
            full = len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_BYTES
            if full or self._closing:
                future.set_exception(Refused("unavailable", "The server is busy; try again."))
                return future
            self._waiting.append((job, future, size))
            self._bytes += size
            self._wake.notify()
        return future

    async def close(self) -> None:
        """Do what waits, and close the journal; idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._wake:
            self._closing = True
            self._wake.notify()
        assert self._loop is not None
        await self._loop.run_in_executor(None, thread.join)

    def _run(self) -> None:
        while jobs := self._next():
            done = self._together(jobs)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_answer, done)
        if self._connection is not None:
            self._connection.close()

    def _next(self) -> list[_Waiting]:
        """Wait for jobs; none means that all is done and nothing more will come."""
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            jobs = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            self._bytes -= sum(size for _, _, size in jobs)
            return jobs

    def _together(self, jobs: list[_Waiting]) -> list[tuple[asyncio.Future[Any], Any, bool]]:
        done: list[tuple[asyncio.Future[Any], Any, bool]] = []
        try:
            if self._connection is None:
                self._connection = open_journal(self._path)
            with sqlite_errors(self._path), sqlite_transaction(self._connection):
                for job, future, _ in jobs:
                    try:
                        done.append((future, job(self._connection), True))
                    except Refused as refused:
                        done.append((future, refused, False))
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was written
            self._failed(error)
            answer = Refused("unavailable", UNAVAILABLE)
            return [(future, answer, False) for _, future, _ in jobs]
        if self._fails:
            logger.warning("%s: writing works again", self._path)
            self._fails = False
        return done

    def _failed(self, error: Exception) -> None:
        """Say it once; open the journal anew for the next jobs, a damaged one as an empty one."""
        if not self._fails:
            logger.error("%s: writing fails: %s", self._path, error, exc_info=_unexpected(error))
            self._fails = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if isinstance(error, CorruptDatabase):
            try:
                put_aside(self._path, error)
            except OSError as failure:
                logger.error("%s: can not be put aside: %s", self._path, failure)  # noqa: TRY400


def _unexpected(error: Exception) -> Exception | None:
    return None if isinstance(error, (OSError, CorruptDatabase, StartError)) else error


def _answer(done: list[tuple[asyncio.Future[Any], Any, bool]]) -> None:
    for future, result, good in done:
        if future.done():
            continue  # whoever asked has left
        if good:
            future.set_result(result)
        else:
            future.set_exception(result)
