"""The recording API itself: takes events, answers questions, hands sessions to the recorder."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions import RecordingHandle
from interceptors.recording_api import upkeep, views
from interceptors.recording_api.desk import Desk, Job
from interceptors.recording_api.feed import Feed, Subscriber
from interceptors.recording_api.protocol import Ack, Recovery, Refused, Reply, SessionSnapshot
from interceptors.recording_api.recorded import events_of
from interceptors.recording_api.sessions import Outcome, Sessions

logger = logging.getLogger(__name__)

MAX_BATCH = 1000
"""Events of one request or frame: all of them are answered at once."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The ``recording_api`` block of the configuration."""

    persist_interval_secs: float = 5.0
    max_memory_messages: int = 100
    session_timeout_secs: float = 3600.0
    max_event_bytes: int = 1_048_576


class Service:
    """All methods belong to the event loop's thread."""

    def __init__(
        self,
        path: Path,
        options: Options,
        recording: RecordingHandle | None,
        *,
        texts: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make it; nothing runs before `open`.

        Args:
            path: the journal's file.
            options: the configuration.
            recording: what gets the sessions; None where nothing is recorded.
            texts: whether that is to have what was said.
            clock: Unix time in seconds.
        """
        self.options = options
        self.feed = Feed(recording)
        self._desk = Desk(path)
        self._recording = recording
        self._texts = texts
        self._clock = clock
        self._urgent = asyncio.Event()
        self._closing = False
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the journal and look after it from now on; raises `StartError`."""
        await self._desk.open()
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Hand everything to the recorder and close the journal; sessions stay live in there."""
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        # Not cancelled: what is under way would be handed over a second time.
        self._closing = True
        self._urgent.set()
        await asyncio.gather(keeping, return_exceptions=True)
        self.feed.close()
        await self._desk.close()

    async def take(self, events: Sequence[bytes]) -> list[Reply]:
        """Return an answer to each event, all of them durable.

        Raises `Refused` where none could be taken.
        """
        return replies_of(await asyncio.shield(self.begin(events)))

    def begin(
        self, events: Sequence[bytes], sender: Subscriber | None = None
    ) -> asyncio.Future[list[Outcome]]:
        """Take events behind those taken before; return what `take` waits for.

        Raises `Refused`, as the future may.
        """
        if len(events) > MAX_BATCH:
            raise Refused("too_large", f"{len(events)} events; send up to {MAX_BATCH} at a time.")

        def job(connection: Any) -> list[Outcome]:
            sessions, now = self._sessions(connection), self._now()
            return [sessions.take(event, now) for event in events]

        return self._write(job, sum(map(len, events)), sender)

    async def snapshot(self, event: SessionSnapshot, size: int) -> Reply:
        """Take a snapshot of ``size`` bytes; raises `Refused` where it could not be taken."""
        limit = self.options.max_event_bytes
        if size > limit:
            raise Refused("too_large", f"The snapshot has more than {limit} bytes.")
        future = self._write(
            lambda connection: [self._sessions(connection).apply(event, self._now())], size, None
        )
        (outcome,) = await asyncio.shield(future)
        return outcome.reply

    async def active_sessions(self) -> list[dict[str, Any]]:
        """Return all live sessions."""
        return await self._desk.do(views.active_sessions)

    async def session(self, session_id: str) -> dict[str, Any]:
        """Return a session without its messages; raises `Refused`."""
        return await self._desk.do(lambda connection: views.session(connection, session_id))

    async def recovery(self, session_id: str) -> Recovery:
        """Return a session with all of its messages; raises `Refused`."""
        return await self._desk.do(lambda connection: views.recovery(connection, session_id))

    async def status(self) -> dict[str, Any]:
        """Return what ``status`` answers."""
        live, dirty = await self._desk.do(views.counts)
        options = self.options
        return {
            "status": "running",
            "active_sessions": live,
            "dirty_sessions": dirty,
            "config": {
                "persist_interval_secs": options.persist_interval_secs,
                "max_memory_messages": options.max_memory_messages,
                "session_timeout_secs": options.session_timeout_secs,
            },
        }

    def _sessions(self, connection: Any) -> Sessions:
        options = self.options
        return Sessions(connection, options.max_event_bytes, options.max_memory_messages)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _write(
        self, job: Job[list[Outcome]], size: int, sender: Subscriber | None
    ) -> asyncio.Future[list[Outcome]]:
        future = self._desk.do(job, size)
        # A client that leaves before its answer has its events written, and others hear of them.
        future.add_done_callback(lambda done: self._done(done, sender))
        return future

    def _done(self, done: asyncio.Future[list[Outcome]], sender: Subscriber | None) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        for outcome in done.result():
            if outcome.broadcast is not None and outcome.session_id is not None:
                self.feed.reported(outcome.session_id, outcome.broadcast, sender)
            if outcome.urgent:
                self._urgent.set()

    async def _keep(self) -> None:
        """Hand over what changed: every interval, at once where it is urgent, and at the end."""
        closing = False
        while not closing:
            try:
                async with asyncio.timeout(self.options.persist_interval_secs):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            self._urgent.clear()
            closing = self._closing
            await self._upkeep()

    async def _upkeep(self) -> None:
        now = self._now()
        idle = now - int(self.options.session_timeout_secs * 1000)
        try:
            await self._desk.do(lambda connection: upkeep.expire(connection, idle, now))
            while await self._hand_over():
                pass
            await self._desk.do(lambda connection: upkeep.prune(connection, now))
        except Refused as refused:  # the journal's own log line says more
            logger.info("reported sessions are handed over later: %s", refused)
        except Exception:
            logger.exception("reported sessions could not be handed over; they stay in the journal")

    async def _hand_over(self) -> bool:
        """Hand over a part; True if there may be more."""
        parcels = await self._desk.do(upkeep.collect)
        if not parcels:
            return False
        recording = self._recording
        if recording is not None:
            for parcel in parcels:
                for event in events_of(parcel, texts=self._texts):
                    if not recording.record(event):
                        logger.warning("the recorder is full; reported sessions wait for it")
                        return False
            await recording.flush()
        await self._desk.do(lambda connection: upkeep.settle(connection, parcels))
        return True


def replies_of(outcomes: Sequence[Outcome]) -> list[Reply]:
    """Return the answers alone."""
    return [outcome.reply for outcome in outcomes]


def acknowledged(replies: Sequence[Reply]) -> int:
    """Return how many answers are acknowledgements."""
    return sum(isinstance(reply, Ack) for reply in replies)
