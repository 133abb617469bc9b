"""The line to the recorder process: starts it, sends to it, hears from it, starts it again."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.events import Gap
from gateway_sessions.recording import wire
from gateway_sessions.recording.child import Child, Spawned
from gateway_sessions.recording.following import Followers
from gateway_sessions.recording.lane import STUCK_SECONDS
from gateway_sessions.recording.recordable import Recordable, kind_of, size_of, timestamp_of
from gateway_sessions.telemetry import Dropped, Telemetry, Written

logger = logging.getLogger(__name__)

NAME = "recorder"
"""What logs and metrics call the process and the queue before it."""
START_SECONDS = 30.0
"""How long the process may take to open its writers: repairing files takes a while."""
CLOSE_SECONDS = 15.0
"""How long it may take to write what it has; then it is killed."""
KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of what was sent and is not settled yet, kept to be sent again if the process dies."""
KEPT_COUNT = 50_000
PARTS_AT_ONCE = 512
"""Buffers that go into one call; the system takes up to 1,024."""
ATTEMPTS = 3
"""How often the process may die over the same items before they are given up."""


class _Sent:
    """A batch that was sent and is not settled."""

    __slots__ = ("end", "items", "size")

    def __init__(self, items: list[Recordable], end: int) -> None:
        self.items = items
        self.end = end
        """The number of the item after its last one."""
        self.size = sum(map(size_of, items))


class Link:
    """The writer of the queue's lane: its methods belong to that thread, or say otherwise.

    What was sent is kept until the process reports it as settled.  If the process dies, another
    one is started and gets that again: rather an event twice than never.
    """

    def __init__(
        self,
        config: SessionRecording,
        telemetry: Telemetry,
        secret: bytes = b"",
        idle_seconds: float = 0.0,
        begin: Callable[[], Child] = Spawned,
        *,
        shared: bool = False,
    ) -> None:
        """Make it; nothing runs before `open`.

        Args:
            config: the ``session_recording`` block.
            telemetry: where to announce what is written and dropped.
            secret: key of the hashes that redaction uses.
            idle_seconds: after which the gateway takes a session for over.
            begin: starts a process, or connects to one.
            shared: whether others need the process too, so that it is started again at once.
        """
        self._config = config
        self._telemetry = telemetry
        self._secret = secret
        self._idle_seconds = idle_seconds
        self._make_child = begin
        self._shared = shared
        self._child: Child | None = None
        self._hearing: threading.Thread | None = None
        self._lock = threading.Lock()
        """Guards what both threads change: that which is kept, and the flushes."""
        self._kept: deque[_Sent] = deque()
        self._kept_bytes = self._kept_count = 0
        self._number = 0  # of the next item
        self._forgotten: deque[Recordable] = deque(maxlen=KEPT_COUNT)
        self._settled = 0
        self._deaths = 0  # without anything settled in between
        self._flushes: dict[int, Future[None]] = {}
        self._flush = 0
        self._killed = self._hung_up = False
        self._moved: float | None = None  # when the socket last took something, while sending
        self._states: dict[str, wire.WriterState] = {}
        self.followers = Followers()
        """Those who are told of each event that is recorded."""
        self._following = False  # what the process knows of that

    def open(self) -> None:
        """Start the process; raises `StartError` or `ConfigError` where it can not work."""
        try:
            child = self._make_child()
        except OSError as exc:
            raise StartError(f"the recorder process can not be started: {exc}") from exc
        self._begin(child)

    def write(self, batch: Sequence[Recordable]) -> None:
        """Send items; raises `OSError` where the process is dead and no other can be started."""
        self._revive()
        frames = [self._follow_frame(), *wire.item_frames(batch)]
        with self._lock:
            self._number += len(batch)
            self._keep(_Sent(list(batch), self._number))
        self._send(frames)

    def flush(self) -> None:
        """Ask for a flush of all that was sent; see `answered`.  Raises `OSError` as `write`."""
        self._revive()
        with self._lock:
            self._flush += 1
            self._flushes[self._flush] = Future()
        self._send([wire.flush_frame(self._flush)])

    def tick(self, now: float) -> None:
        """See that the process lives, as long as it has something to do."""
        del now
        if not (self._kept or self._flushes or self._shared):
            return
        try:
            self._revive()
        except OSError:  # `problems` says it, and the next tick tries again
            with self._lock:
                self._answer_flushes(self._flush)

    def close(self) -> None:
        """Let the process finish what it was given, and end it."""
        if self._kept:
            with suppress(OSError):
                self._revive()
        child, self._child = self._child, None
        if child is not None:
            with suppress(OSError):
                child.socket.shutdown(socket.SHUT_WR)
            if self._hearing is not None:
                self._hearing.join()
            child.end(CLOSE_SECONDS)
        with self._lock:
            if self._kept:
                self._telemetry.emit(Dropped(NAME, "shutdown", self._kept_count))
                self._keep_nothing()
            self._answer_flushes(self._flush)

    def answered(self) -> Future[None]:
        """Return what is done when all flushes asked for so far are; on any thread."""
        with self._lock:
            newest = self._flushes.get(self._flush)
        if newest is None:
            newest = Future()
            newest.set_result(None)
        return newest

    @property
    def is_stuck(self) -> bool:
        """Whether the process has taken nothing for `STUCK_SECONDS` of what is sent to it."""
        moved = self._moved  # once: the lane's thread sets it
        return moved is not None and time.monotonic() - moved >= STUCK_SECONDS

    def hang_up(self) -> None:
        """Send nothing more, not even what is being sent; on any thread."""
        self._hung_up = True
        child = self._child
        if child is not None:
            with suppress(OSError):
                child.socket.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End a process that does not come back; on any thread."""
        self._killed = True
        child = self._child
        if child is not None:
            child.kill()

    def problems(self) -> list[str]:
        """Return one sentence for each writer that fails at present; on any thread."""
        child = self._child
        if child is None or child.dead:
            return [f"{NAME}: the process has died and will be started again"]
        return [f"{name}: {state.problem}" for name, state in self._states.items() if state.problem]

    def queued(self) -> dict[str, int]:
        """Return how many events wait for each writer; on any thread."""
        return {name: state.queued for name, state in self._states.items()}

    def _begin(self, child: Child) -> None:
        """Give a new process its settings and wait until its writers are open."""
        first = self._number - self._kept_count
        settings = wire.Settings(self._config, first, self._secret, self._idle_seconds)
        child.socket.settimeout(START_SECONDS)
        try:
            child.socket.sendall(wire.settings_frame(settings))
            report = wire.read_report(child.incoming)
        except TimeoutError:
            child.kill()
            child.end(0)
            raise StartError(
                f"the recorder did not open its files within {START_SECONDS:g} s; look at the"
                " disk, or switch session_recording off"
            ) from None
        except OSError:
            report = None
        child.socket.settimeout(None)
        if report is None or not report.ready:
            child.end(CLOSE_SECONDS)
            if report is None:
                raise StartError("the recorder process ended at once; its own output says why")
            raise (ConfigError if report.misconfigured else StartError)(report.refusal)
        self._following = False
        self._child = child
        self._hearing = threading.Thread(
            target=self._hear, args=(child,), name="recorder-reports", daemon=True
        )
        self._hearing.start()

    def _follow_frame(self) -> bytes:
        """Return what tells the process whether anybody follows, if it thinks otherwise.

        It goes ahead of items, without which there is nothing to follow.
        """
        wanted = bool(self.followers)
        if wanted == self._following:
            return b""
        self._following = wanted
        return wire.follow_frame(wanted)

    def _send(self, parts: list[bytes]) -> None:
        """Send all parts as one stream, without putting them together first."""
        child = self._child
        if child is None:
            return
        left = [memoryview(part) for part in parts if part]
        at = 0
        try:
            while at < len(left):
                self._moved = time.monotonic()
                sent = child.socket.sendmsg(left[at : at + PARTS_AT_ONCE])
                while at < len(left) and sent >= len(left[at]):
                    sent -= len(left[at])
                    at += 1
                if sent:
                    left[at] = left[at][sent:]
        except OSError:
            child.dead = True  # what it did not get is kept
        self._moved = None

    def _keep(self, sent: _Sent) -> None:
        self._kept.append(sent)
        self._kept_bytes += sent.size
        self._kept_count += len(sent.items)
        while self._kept_bytes > KEPT_BYTES or self._kept_count > KEPT_COUNT:
            oldest = self._kept[0]
            item = oldest.items.pop(0)
            size = size_of(item)
            oldest.size -= size
            self._kept_bytes -= size
            self._kept_count -= 1
            self._forgotten.append(item)
            if not oldest.items:
                self._kept.popleft()

    def _keep_nothing(self) -> None:
        self._kept.clear()
        self._kept_bytes = self._kept_count = 0

    def _revive(self) -> None:
        """Replace a dead process and send it what is not settled; raises `OSError`."""
        child = self._child
        if self._killed or self._hung_up or (child is not None and not child.dead):
            return
        if child is not None:
            self._bury(child)
        try:
            self._begin(self._make_child())
        except (StartError, ConfigError) as error:
            raise OSError(str(error)) from error
        with self._lock:
            again = [item for sent in self._kept for item in sent.items]
            flushes = list(self._flushes)
        self._send([self._follow_frame(), *wire.item_frames(again)])
        for number in flushes:
            self._send([wire.flush_frame(number)])

    def _bury(self, child: Child) -> None:
        """Take leave of a process that died, and find out what is lost with it."""
        self._child = None
        if self._hearing is not None:
            self._hearing.join()
        child.end(CLOSE_SECONDS)
        self._deaths += 1
        with self._lock:
            lost = self._given_up()
            if lost:
                # Their gaps are sent, and kept, before what is sent again.
                gaps = _Sent(list(_gaps(lost)), self._number - self._kept_count)
                self._kept.appendleft(gaps)
                self._kept_bytes += gaps.size
                self._kept_count += len(gaps.items)
        logger.error("%s; %d items are lost", child.fate(), len(lost))

    def _given_up(self) -> list[Recordable]:
        """Take what can not be sent again, or should not, and count it as dropped.

        A gap that is given up itself leaves none: that might go on for ever.
        """
        taken = list(self._forgotten)
        self._forgotten.clear()
        if self._deaths >= ATTEMPTS:
            taken += (item for sent in self._kept for item in sent.items)
            self._keep_nothing()
        lost = [item for item in taken if not isinstance(item, Gap)]
        if lost:
            self._telemetry.emit(Dropped(NAME, "crash", len(lost)))
        return lost

    def _hear(self, child: Child) -> None:
        """Take in reports until the process ends; runs on a thread of its own."""
        while True:
            try:
                report = wire.read_report(child.incoming)
            except (OSError, ValueError):
                report = None
            if report is None:
                break
            self._heard(report)
        child.dead = True

    def _heard(self, report: wire.Report) -> None:
        self._states = report.writers
        with self._lock:
            self._settle(report.settled)
            self._answer_flushes(report.flushed)
        for name, count, seconds in report.written:
            self._telemetry.emit(Written(name, count, seconds))
        for name, reason, count in report.dropped:
            self._telemetry.emit(Dropped(name, reason, count))
        if report.followed or report.left_out:
            self.followers.heard(report.followed, report.left_out)
        for level, name, text in report.logs:
            logging.getLogger(name).log(level, "%s", text)

    def _settle(self, number: int) -> None:
        if number > self._settled:
            self._settled = number
            self._deaths = 0
        first = self._number - self._kept_count
        while self._kept and self._kept[0].end <= number:
            sent = self._kept.popleft()
            self._kept_bytes -= sent.size
            self._kept_count -= len(sent.items)
        if number >= first:
            self._forgotten.clear()

    def _answer_flushes(self, number: int) -> None:
        for asked in [asked for asked in self._flushes if asked <= number]:
            with suppress(InvalidStateError):
                self._flushes.pop(asked).set_result(None)


def _gaps(lost: Sequence[Recordable]) -> Iterator[Gap]:
    """Yield one gap for each session of which something was lost."""
    kinds: dict[str, Counter[str]] = {}
    first: dict[str, Recordable] = {}
    for item in lost:
        first.setdefault(item.session_id, item)
        kinds.setdefault(item.session_id, Counter())[kind_of(item)] += 1
    for session_id, item in first.items():
        yield Gap(
            session_id=session_id,
            request_id=item.request_id,
            timestamp=timestamp_of(item),
            dropped=dict(kinds[session_id]),
        )
