"""The recorder process: milestones come in, events go to the writers.

It stands beside the gateway because its work (reading bodies again, JSON, SQL) would hold
Python's lock for as long as the requests themselves do.  It ends when its input does, so that
what a killed gateway had sent is still written; signals that are meant for the gateway pass by.
"""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import msgspec

from gateway_sessions.analysis.scribe import Scribe, ScribeOptions
from gateway_sessions.config.prices_file import read_prices
from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.errors import ConfigError, GatewaySessionsError
from gateway_sessions.milestones import AnyMilestone
from gateway_sessions.prices import Prices
from gateway_sessions.recording import wire
from gateway_sessions.recording.apart import set_apart
from gateway_sessions.recording.background import stand_back
from gateway_sessions.recording.gathering import Gathering
from gateway_sessions.recording.link import NAME
from gateway_sessions.recording.quiet import Quiet, summary
from gateway_sessions.recording.recorder import Recorder, build_recorder
from gateway_sessions.recording.reporter import LogReports, Reporter
from gateway_sessions.recording.sources import Told
from gateway_sessions.recording.writers import make_writers
from gateway_sessions.telemetry import Dropped, Telemetry

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""How long writers that are behind are waited for."""
PAUSE_SECONDS = 0.002
STANDSTILL_SECONDS = 0.02
"""The pause where no writer has room, which may be for long."""
MARKS = 1000
"""Notes of how far the writers have to come; beyond it the newest stands for the one before."""
GARBAGE_THRESHOLDS = (20_000, 20, 50)
"""As in the gateway: events leave no cycles behind, so they are looked for rarely."""
READ_BYTES = 1 << 20
"""Read at once, if there is so much."""
SWITCH_SECONDS = 0.0005
"""How long a thread that calculates keeps Python's lock from one that comes back from the disk.
A batch of session files makes a hundred such calls; with the usual 5 ms for each, files would be
written at half the rate."""
WRITER_DIED = 3
"""The exit code after a writer's process has ended by itself."""


class Intake:
    """Turns what comes in into events and hands them to the recorder."""

    def __init__(
        self,
        scribe: Scribe,
        recorder: Recorder,
        reporter: Told,
        telemetry: Telemetry,
        has_hung_up: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make it.

        Args:
            scribe: makes events.
            recorder: takes them.
            reporter: tells the gateway how far we are.
            telemetry: where to announce what can not be read.
            has_hung_up: whether nothing more will come than what has.
        """
        self._has_hung_up = has_hung_up
        self._scribe = scribe
        self._recorder = recorder
        self._reporter = reporter
        self._telemetry = telemetry
        self._quiet = Quiet()
        self._marks: deque[tuple[int, tuple[int, ...]]] = deque()
        self._number = self._settled = 0
        self._body = b""  # of the next milestone
        self._patience = PATIENCE_SECONDS

    def serve(self, incoming: wire.Incoming, first: int) -> None:
        """Take in everything until the input ends."""
        self.begin(first)
        for kind, content in wire.read_frames(incoming):
            self.handle(kind, content)

    def begin(self, first: int) -> None:
        """Get ready for items, of which the first has this number."""
        self._number = self._settled = first

    def handle(self, kind: bytes, content: bytes) -> None:
        """Do what a frame asks for."""
        if kind == wire.MILESTONES:
            for milestone in wire.read_milestones(content, self._body):
                self.take(milestone)
            self._body = b""
        elif kind == wire.BODY:
            self._body = content
        elif kind == wire.EVENT:
            self._number += 1
            self._take_event(content)
        elif kind == wire.MARK:
            self._mark(self._number)
        elif kind == wire.FLUSH:
            self._flush(*wire.NUMBER.unpack(content))
        elif kind == wire.FOLLOW:
            self._recorder.on_event = self._reporter.followed if content else None

    def take(self, milestone: AnyMilestone | msgspec.DecodeError) -> None:
        """Record what comes of a milestone, or count one that can not be read as lost."""
        self._number += 1
        self._wait_for_room()
        if isinstance(milestone, msgspec.DecodeError):
            self._unreadable(milestone)
            return
        try:
            for event in self._scribe.take(milestone):
                self._recorder.record_event(event)
        except Exception as error:  # noqa: BLE001 - it must not end all recording
            self._unreadable(error)

    def end(self) -> None:
        """Complete all sessions and write down what is left."""
        for event in self._scribe.shutdown(time.time()):
            self._recorder.record_event(event)
        asyncio.run(self._recorder.shutdown())
        # Nothing is open any more: what could not be written is counted as dropped.
        self._marks.clear()
        self._settled = self._number

    def follow(self) -> tuple[int, dict[str, wire.WriterState]]:
        """Return how far all writers have come, and how each is."""
        problems = self._recorder.failing()
        states = {
            name: wire.WriterState(queued, problems.get(name))
            for name, queued in self._recorder.queued().items()
        }
        return self.settled(), states

    def settled(self) -> int:
        """Return below which number everything is with the writers."""
        while self._marks:
            number, places = self._marks[0]
            if not self._recorder.have_passed(places):
                break
            self._settled = number
            self._marks.popleft()
        return self._settled

    def _wait_for_room(self) -> None:
        """Let writers catch up with a burst, such as what is sent again after a crash.

        Meanwhile the gateway's queue holds what comes.  One writer that stays behind must not
        slow the others down for long: there is a limit to the waiting, which starts over when
        all of them have caught up.  Where none has room there is nobody to slow down, and no
        use in making events that nobody takes: then the gateway drops what it has no room for,
        which costs it less than telling us, and costs the machine nothing.
        """
        recorder = self._recorder
        if self._patience < PATIENCE_SECONDS and recorder.caught_up():
            self._patience = PATIENCE_SECONDS
        if not recorder.crowded():  # as nearly always, and this is asked for each item
            return
        while self._patience > 0 and recorder.crowded():
            began = time.monotonic()
            time.sleep(PAUSE_SECONDS)
            self._patience -= time.monotonic() - began
        while recorder.stands_still() and not self._has_hung_up():
            time.sleep(STANDSTILL_SECONDS)

    def _take_event(self, content: bytes) -> None:
        self._wait_for_room()
        try:
            self._recorder.record_event(wire.read_event(content))
        except Exception as error:  # noqa: BLE001 - as above
            self._unreadable(error)

    def _unreadable(self, error: Exception) -> None:
        self._telemetry.emit(Dropped(NAME, "error", 1))
        if count := self._quiet.count():
            logger.error("could not record %d items", count, exc_info=error)

    def _mark(self, number: int) -> None:
        if len(self._marks) >= MARKS:
            self._marks.pop()
        self._marks.append((number, self._recorder.places()))

    def _flush(self, number: int) -> None:
        futures = self._recorder.flushes()
        left = len(futures)
        counting = threading.Lock()

        def one_done(_: Future[None]) -> None:
            nonlocal left
            with counting:
                left -= 1
            if not left:
                self._reporter.flushed(number)

        for future in futures:
            future.add_done_callback(one_done)


def options_of(config: SessionRecording, idle_seconds: float = 0.0) -> ScribeOptions:
    """Return what the configuration says of the content of events."""
    return ScribeOptions(
        idle_seconds=idle_seconds,
        content=config.content,
        include_streaming_events=config.include_streaming_events,
        capture_user_agent=config.capture_user_agent,
        max_user_agent_length=config.max_user_agent_length,
    )


def _has_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    # Where the system does not tell of half a connection that ended, of the whole one.
    poll.register(connection, getattr(select, "POLLRDHUP", select.POLLHUP))
    return bool(poll.poll(0))


def _give_up() -> None:
    """End at once: the gateway starts another process, with writers that are whole."""
    os._exit(WRITER_DIED)


def main(descriptor: int, listener: int | None = None) -> None:
    """Serve on an inherited socket until it ends, and on what others open at ``listener``."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Sent to the whole process group, or service; the gateway still has things to tell.
        signal.signal(name, signal.SIG_IGN)
    stand_back()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    connection = socket.socket(fileno=descriptor)
    incoming = io.BufferedReader(socket.SocketIO(connection, "r"), READ_BYTES)
    settings = wire.read_settings(incoming)
    if settings is None:
        return
    others = None if listener is None else socket.socket(fileno=listener)
    telemetry = Telemetry()
    reporter = Reporter(connection, telemetry)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(LogReports(reporter))
    try:
        prices = Prices(read_prices(settings.recording.prices_file))
        ours = [connection] if others is None else [connection, others]
        writers = set_apart(make_writers(settings.recording), ours, _give_up)
        recorder = build_recorder(settings.recording, telemetry, settings.secret, writers)
    except GatewaySessionsError as error:
        reporter.send(wire.Report(refusal=str(error), misconfigured=isinstance(error, ConfigError)))
        return
    scribe = Scribe(options_of(settings.recording, settings.idle_seconds), prices)

    def new_intake(told: Told, sender: socket.socket) -> Intake:
        return Intake(scribe, recorder, told, telemetry, partial(_has_hung_up, sender))

    intake = new_intake(reporter, connection)
    reporter.start(intake.follow)
    prices.load()
    try:
        if others is None:
            intake.serve(incoming, settings.first)
        else:
            Gathering(connection, intake, others, new_intake).serve(settings.first)
    except OSError as error:
        logger.warning("the connection to the gateway broke: %s", summary(error))
    intake.end()
    reporter.stop()
    incoming.close()
    connection.close()
    if others is not None:
        others.close()
