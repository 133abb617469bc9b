"""The recorder: session events go in, every writer gets all of them in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from gateway_sessions.analysis.cleaning import cleaned
from gateway_sessions.config import Config
from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.errors import GatewaySessionsError, StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.personal_data import Personal
from gateway_sessions.recording.delivery import Lanes, shared
from gateway_sessions.recording.event_lane import TICK_SECONDS, EventLane, EventWriter
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.quiet import Quiet, summary
from gateway_sessions.recording.recordable import OVERHEAD_BYTES, SIZES
from gateway_sessions.recording.writers import entries, make_writers
from gateway_sessions.secret import PERSONAL_DATA, derived_key, server_secret
from gateway_sessions.telemetry import Dropped, Telemetry

logger = logging.getLogger(__name__)

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0, 5.0, 5.0)
"""Seconds before each new attempt to write a batch: a disk that was full for twenty seconds has
cost nothing, as long as the buffer holds."""

MAX_BYTES = 256 * 1024 * 1024
"""Bytes that may wait for all writers together."""


class Recorder(Lanes[EventLane[SessionEvent]]):
    """Feeds session events to writers, each on a thread of its own.

    It records from its construction on, until `shutdown`.  `record_event` belongs to one
    thread.  For each writer, the events offered are those written plus those dropped; drops are
    announced as `Dropped`, and a `gap` event stands where they are missing.
    """

    def __init__(
        self,
        writers: Sequence[EventWriter] | Sequence[tuple[str, EventWriter]],
        batch_size: int = 100,
        batch_timeout_ms: float = 100,
        channel_buffer_size: int = 10_000,
        *,
        telemetry: Telemetry | None = None,
        personal: Personal | None = None,
        max_bytes: int = MAX_BYTES,
        pauses: tuple[float, ...] = PAUSES,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        """Open the writers, each on its own thread.

        Args:
            writers: with the names that logs and metrics call them by, or without.
            batch_size: events written at once.
            batch_timeout_ms: how long a part-filled batch waits.
            channel_buffer_size: events that may wait for each writer.
            telemetry: where to announce what is written and dropped.
            personal: takes personal data out of events before any writer sees them.
            max_bytes: bytes that may wait for all writers together.
            pauses: seconds before each new attempt to write a batch.
            tick_seconds: how often writers do their upkeep.

        Raises:
            StartError, ConfigError: a writer can not be opened; the others are closed.
        """
        telemetry = telemetry or Telemetry()
        limits = Limits(batch_size, batch_timeout_ms / 1000, channel_buffer_size, max_bytes, pauses)
        share = shared(limits, len(writers))
        super().__init__(
            [
                EventLane(name, writer, telemetry, share, tick_seconds=tick_seconds)
                for name, writer in named(writers)
            ]
        )
        self.on_event: Callable[[SessionEvent], None] | None = None
        """Told of each event as the writers get it; must neither raise nor wait."""
        self._personal = personal
        self._unclean = Quiet()
        self._telemetry = telemetry
        self._offers = [lane.offer for lane in self._lanes]
        self.open()

    def open(self) -> None:
        """Start the threads and open the writers; done by the constructor."""
        super().open()
        failure: tuple[str, BaseException] | None = None
        for lane in self._lanes:
            error = lane.opened.exception()
            if error is not None:
                failure = failure or (lane.name, error)
        if failure is None:
            return
        self._open = False
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            lane.ended.result()
        name, error = failure
        if isinstance(error, GatewaySessionsError):
            raise error
        raise StartError(f"the writer {name} can not be opened: {summary(error)}") from error

    def record_event(self, event: SessionEvent) -> bool:
        """Hand an event to every writer; True if all accepted it.  Never blocks or raises."""
        if self._personal is not None:
            clean = self._cleaned(event, self._personal)
            if clean is None:
                return False
            event = clean
        if self.on_event is not None:
            self.on_event(event)
        sizing = SIZES.get(type(event))
        size = OVERHEAD_BYTES if sizing is None else sizing(event)
        accepted = True
        for offer in self._offers:
            if not offer(event, size):
                accepted = False
        return accepted

    def _cleaned(self, event: SessionEvent, personal: Personal) -> SessionEvent | None:
        """Return an event without personal data; what can not be cleaned is not recorded."""
        try:
            return cleaned(event, personal)
        except Exception:
            for lane in self._lanes:
                self._telemetry.emit(Dropped(lane.name, "error", 1))
            if count := self._unclean.count():
                logger.exception("could not take personal data out of %d events", count)
            return None

    def __del__(self) -> None:
        """Warn of a recorder that was let go without `shutdown`; what it holds is written."""
        if getattr(self, "_open", False):
            logger.warning("a Recorder was dropped without shutdown(): its last events may be lost")
            for lane in self._lanes:
                lane.stop()


def named(writers: Sequence[Any]) -> list[tuple[str, EventWriter]]:
    """Return writers with a name each: that given, or the class's in lower case and a number."""
    result: list[tuple[str, EventWriter]] = []
    seen: dict[str, int] = {}
    for each in writers:
        if isinstance(each, tuple):
            result.append(each)
            continue
        base = type(each).__name__.lower().removesuffix("writer") or "writer"
        seen[base] = count = seen.get(base, 0) + 1
        result.append((base if count == 1 else f"{base}-{count}", each))
    return result


def build_recorder(
    config: SessionRecording,
    telemetry: Telemetry | None = None,
    secret: bytes = b"",
    writers: Sequence[tuple[str, EventWriter]] | None = None,
) -> Recorder:
    """Return a recorder with the configured writers, open.

    ``secret`` is the key of the hashes that may stand in place of personal data; ``writers`` are
    those that `make_writers` has made, if it has.  Raises `StartError` or `ConfigError` where
    something can not work.
    """
    worker, redaction = config.worker, config.redaction
    return Recorder(
        make_writers(config) if writers is None else writers,
        worker.batch_size,
        worker.batch_timeout_ms,
        worker.channel_buffer_size,
        telemetry=telemetry,
        personal=Personal(redaction.mode, patterns=redaction.patterns, key=secret)
        if redaction.enabled
        else None,
    )


def build_from_config(config: Config | SessionRecording) -> Recorder | None:
    """Return the recorder that a configuration asks for; None where it asks for none.

    That is where ``session_recording.enabled`` is false or no writer is on.  Tokens that stand
    in place of personal data are those of a gateway with this configuration, or, where only the
    block is given, with the defaults for the rest: they come from its server secret, which is
    made if there is none.  Raises `StartError` or `ConfigError` as `build_recorder` does.
    """
    whole = config if isinstance(config, Config) else Config(session_recording=config)
    recording = whole.session_recording
    if not entries(recording):
        return None
    key = b""
    if recording.redaction.enabled and recording.redaction.mode == "tokenize":
        secret = server_secret(whole.secret, whole.state_path)
        key = derived_key(secret, PERSONAL_DATA)
    return build_recorder(recording, secret=key)
