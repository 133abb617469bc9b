"""Processes that send milestones to one recorder, as that sees them."""

from __future__ import annotations

import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from gateway_sessions.events import SessionEvent
from gateway_sessions.exchange import Response, SessionTag
from gateway_sessions.milestones import AnyMilestone, Arrived, Finished, Milestone
from gateway_sessions.recording import wire

SOURCE_BYTES = 8 * 1024 * 1024
"""Bytes of a worker that may wait for their turn: more than it sends in that time.  Beyond it, it
waits itself."""
READ_BYTES = 1 << 20
WORKER_DIED = "gateway_died"
"""The error of exchanges whose worker died while they were under way."""


class Told(Protocol):
    """Whoever hears what has become of frames."""

    def flushed(self, number: int) -> None:
        """Hear that a flush is done; on any thread."""

    def followed(self, event: SessionEvent) -> None:
        """Hear of an event that is recorded, where that was asked for."""


class Intake(Protocol):
    """What takes the frames of one source; see `gateway_sessions.recording.process_main`."""

    def begin(self, first: int) -> None:
        """Get ready for items, of which the first has this number."""

    def handle(self, kind: bytes, content: bytes) -> None:
        """Do what a frame asks for."""

    def take(self, milestone: AnyMilestone | msgspec.DecodeError) -> None:
        """Take one of the milestones of a frame."""

    def settled(self) -> int:
        """Return below which number everything is with the writers."""


class Waiting(NamedTuple):
    """A milestone, or a frame of something else, that waits for its turn."""

    since: float
    size: int
    kind: bytes
    content: bytes = b""
    milestone: AnyMilestone | msgspec.DecodeError | None = None

    @property
    def at(self) -> float | None:
        """When it happened; None where its turn is as soon as it is the first of its source."""
        return self.milestone.at if isinstance(self.milestone, Milestone) else None


class Source:
    """One process that sends."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.queue: deque[Waiting] = deque()
        self.bytes = 0
        """Of what waits."""
        self.ended = False
        self._buffer = bytearray()
        self._body = b""  # of the next milestone

    @property
    def full(self) -> bool:
        """Whether no more of it can wait."""
        return self.bytes > SOURCE_BYTES

    def read(self, now: float) -> None:
        """Take in what has arrived."""
        try:
            data = self.connection.recv(READ_BYTES)
        except OSError:
            data = b""
        self.ended = not data
        try:
            self.feed(data, now)
        except msgspec.DecodeError:  # where its next frame begins is anybody's guess
            self.ended = True

    def feed(self, data: bytes, now: float) -> None:
        """Take in bytes of frames."""
        buffer, place = self._buffer, 0
        buffer += data
        while len(buffer) - place >= wire.HEAD.size:
            kind, length = wire.HEAD.unpack_from(buffer, place)
            begin = place + wire.HEAD.size
            if len(buffer) - begin < length:
                break
            place = begin + length
            self._arrived(kind, bytes(buffer[begin:place]), now)
        del buffer[:place]

    def take(self) -> Waiting:
        """Return what is first, and forget it."""
        waiting = self.queue.popleft()
        self.bytes -= waiting.size
        return waiting

    def _arrived(self, kind: bytes, content: bytes, now: float) -> None:
        if kind == wire.BODY:
            self._body = content
            return
        if kind != wire.MILESTONES:
            self._wait(Waiting(now, len(content), kind, content))
            return
        milestones = wire.read_milestones(content, self._body)
        size = (len(content) + len(self._body)) // max(1, len(milestones))
        self._body = b""
        for milestone in milestones:
            self._wait(Waiting(now, size, kind, milestone=milestone))

    def _wait(self, waiting: Waiting) -> None:
        self.queue.append(waiting)
        self.bytes += waiting.size


class WorkerSource(Source):
    """A worker: it says where its numbers begin, and is told what is settled."""

    def __init__(self, connection: socket.socket, wake: Callable[[], object]) -> None:
        super().__init__(connection)
        self.intake: Intake | None = None
        """None until it has said hello."""
        self._wake = wake
        self._told = (0, 0)
        self._flushed = 0
        self._number = 0  # of the next item
        self._open: dict[str, _Begun] = {}
        self._sessions: Counter[str] = Counter()  # exchanges under way
        self._left = False

    def begin(self, content: bytes, intake: Intake) -> None:
        """Take the hello."""
        settings = msgspec.msgpack.decode(content, type=wire.Settings)
        intake.begin(settings.first)
        self.intake = intake
        self._number = settings.first
        self._told = (settings.first, 0)
        self._send(wire.Report(ready=True, settled=settings.first))

    def handle(self, waiting: Waiting) -> None:
        """Do what a frame asks for."""
        intake, milestone = self.intake, waiting.milestone
        assert intake is not None
        if milestone is None:
            if waiting.kind == wire.EVENT:
                self._number += 1
            intake.handle(waiting.kind, waiting.content)
            return
        self._number += 1
        intake.take(milestone)
        if isinstance(milestone, Arrived):
            self._open[milestone.request_id] = _begun(milestone)
            self._sessions[milestone.session_id] += 1
        elif isinstance(milestone, Finished) and milestone.request_id in self._open:
            del self._open[milestone.request_id]
            self._sessions[milestone.session_id] -= 1
            if not self._sessions[milestone.session_id]:
                del self._sessions[milestone.session_id]

    def carries(self, session_id: str) -> bool:
        """Tell whether an exchange of a session is under way in this worker."""
        return session_id in self._sessions

    def leave(self, now: float, last: bool) -> bool:
        """Tell whether nothing is left to do for a worker that has ended.

        Exchanges that were under way when it died are ended first: nobody else will.  If these
        are the ``last`` things to be done, writers are not waited for here.
        """
        if self.intake is None:
            return True
        if not self._left:
            self._left = True
            del self._buffer[:]  # half a frame
            ends = [_ended(begun, time.time()) for begun in self._open.values()]
            self.feed(b"".join(wire.item_frames(ends)), now)
            return False
        return last or self.intake.settled() >= self._number

    def report(self) -> None:
        """Say how far the writers have come, if there is news."""
        if self.intake is None:
            return
        flushed = self._flushed  # read first: what it stands for is settled
        settled = self.intake.settled()
        if (settled, flushed) != self._told:
            self._told = (settled, flushed)
            self._send(wire.Report(settled=settled, flushed=flushed))

    def flushed(self, number: int) -> None:
        """Hear that a flush is done; on any thread."""
        self._flushed = max(number, self._flushed)
        self._wake()

    def followed(self, event: SessionEvent) -> None:
        """Nothing: only the main process follows."""

    def _send(self, report: wire.Report) -> None:
        # Reports are few and small; who does not even read those is as good as gone.
        try:
            self.connection.settimeout(1.0)
            self.connection.sendall(wire.report_bytes(report))
        except OSError:
            self.ended = True


class _Begun(NamedTuple):
    """What is known of an exchange under way, without its request, which may be long."""

    session: SessionTag
    request_id: str
    at: float
    dialect: str
    provider: str
    model: str


def _begun(arrived: Arrived) -> _Begun:
    return _Begun(
        arrived.session,
        arrived.request_id,
        arrived.at,
        arrived.dialect,
        arrived.provider,
        arrived.model,
    )


def _ended(begun: _Begun, at: float) -> Finished:
    """Return the end of an exchange of which nobody will hear any more."""
    duration = max(0.0, at - begun.at) * 1000
    return Finished(
        session_id=begun.session.session_id,
        request_id=begun.request_id,
        at=at,
        session=begun.session,
        dialect=begun.dialect,
        provider=begun.provider,
        model=begun.model,
        response=Response(
            status=0,
            headers=(),
            body=b"",
            size=0,
            duration_ms=duration,
            time_to_first_byte_ms=duration,
            streamed=False,
            complete=False,
            error=WORKER_DIED,
        ),
        overhead_ms=0.0,
        detection_ms=0.0,
    )
