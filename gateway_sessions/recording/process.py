"""Recording beside the gateway: milestones go to a process of their own, which never waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.errors import GatewaySessionsError, StartError
from gateway_sessions.recording.child import Child, Spawned
from gateway_sessions.recording.delivery import LOOK_SECONDS
from gateway_sessions.recording.event_lane import EventLane
from gateway_sessions.recording.following import Listener
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.link import CLOSE_SECONDS, NAME, Link
from gateway_sessions.recording.quiet import summary
from gateway_sessions.recording.recordable import OVERHEAD_BYTES, SIZES, Recordable
from gateway_sessions.telemetry import Telemetry

MAX_BYTES = 64 * 1024 * 1024
"""Bytes that may wait to be sent; a request with a long history has a tenth of a megabyte."""
BATCH = 512
"""Items sent at once."""
BATCH_SECONDS = 0.05
"""How long the first of them waits for company: each batch wakes a thread, which then takes
Python's lock from the requests."""
TICK_SECONDS = 1.0
"""How often it is checked that the process lives."""
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0, 5.0, 5.0)
"""Seconds before each new attempt to start the process again."""


class _SendingLane(EventLane[Recordable]):
    """Its "writing" is sending; what is written, the process reports."""

    def _wrote(self, batch: list[Recordable], written: int, seconds: float) -> None:
        pass

    def _in_hand(self, waiting: int) -> int:
        del waiting
        return 0  # the link counts what it was given


class RecordingProcess:
    """The gateway's end of recording.  All methods belong to the event loop's thread.

    `record` costs less than a microsecond: it appends to a bounded queue, which a thread of its
    own empties into a socket.  However slow the disk is, traffic does not notice; when the queue
    is full, items are dropped by class, counted, and a `gap` event says so.
    """

    def __init__(
        self,
        config: SessionRecording,
        telemetry: Telemetry,
        *,
        secret: bytes = b"",
        idle_seconds: float = 0.0,
        begin: Callable[[], Child] = Spawned,
        shared: bool = False,
        max_bytes: int = MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it; nothing runs before `open`.

        Args:
            config: the ``session_recording`` block.
            telemetry: where to announce what is written and dropped.
            secret: key of the hashes that redaction uses.
            idle_seconds: after which the gateway takes a session for over.
            begin: starts the process, or connects to one that others share.
            shared: whether others need the process too, so that it is started again at once.
            max_bytes: bytes that may wait to be sent.
            monotonic: seconds that never go back.
        """
        self.wants_chunks = config.include_streaming_events
        """Whether the chunks of streams are recorded one by one."""
        self._link = Link(config, telemetry, secret, idle_seconds, begin, shared=shared)
        limits = Limits(BATCH, BATCH_SECONDS, config.worker.channel_buffer_size, max_bytes, PAUSES)
        self._lane = _SendingLane(
            NAME, self._link, telemetry, limits, monotonic, tick_seconds=TICK_SECONDS
        )
        self._offer = self._lane.offer
        self._open = False

    async def open(self) -> None:
        """Start the process; returns when the writers are open.

        Raises `StartError` or `ConfigError` where the process or a writer can not start.
        """
        self._lane.start()
        try:
            await asyncio.wrap_future(self._lane.opened)
        except GatewaySessionsError:
            raise
        except Exception as exc:
            raise StartError(f"the recorder can not be started: {summary(exc)}") from exc
        self._open = True

    def record(self, item: Recordable) -> bool:
        """Take a milestone or an event; False where it was dropped.  Never blocks or raises."""
        sizing = SIZES.get(type(item))
        return self._offer(item, OVERHEAD_BYTES if sizing is None else sizing(item))

    async def flush(self) -> None:
        """Return when all that was taken before the call is durable, or given up as failed."""
        if self._open:
            await asyncio.wrap_future(self._lane.flush())
            await asyncio.wrap_future(self._link.answered())

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on the event loop with each event that is recorded from now on.

        Events that were recorded before the call may still come.  Returns what ends it; see
        `gateway_sessions.hooks.RecordingHandle`.
        """
        return self._link.followers.add(listener)

    async def shutdown(self, grace_seconds: float = CLOSE_SECONDS) -> None:
        """Send what is left, let the process write it down and end; idempotent.

        Sessions that are live are completed.  Where the process takes nothing any more because
        its writers are stuck, what waits here is dropped; what it has taken it still tries to
        write.  A process that is not done in time is killed.
        """
        if not self._open:
            return
        self._open = False
        self._lane.stop()
        ended = asyncio.wrap_future(self._lane.ended)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        while not ended.done() and (left := deadline - loop.time()) > 0:
            if self._link.is_stuck:
                self._lane.abandon()
                self._link.hang_up()
            await asyncio.wait({ended}, timeout=min(left, LOOK_SECONDS))
        if not ended.done():
            self._lane.abandon()
            self._link.kill()
            await ended

    def problems(self) -> list[str]:
        """Return one sentence for whatever does not work at present."""
        own = [] if self._lane.problem is None else [f"{NAME}: {self._lane.problem}"]
        return own + self._link.problems()

    def queued(self) -> dict[str, int]:
        """Return how many items wait to be sent, and how many events for each writer."""
        return {NAME: self._lane.queued} | self._link.queued()
