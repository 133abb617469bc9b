"""Several processes that send to one recorder."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions.analysis.scribe import Scribe
from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.events import RequestCompleted
from gateway_sessions.milestones import AnyMilestone
from gateway_sessions.recording import sources, wire
from gateway_sessions.recording.gathering import Gathering
from gateway_sessions.recording.process_main import Intake, options_of
from gateway_sessions.recording.recordable import Recordable
from gateway_sessions.recording.recorder import Recorder
from gateway_sessions.recording.reporter import Reporter
from gateway_sessions.recording.sources import WORKER_DIED, Told
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import Kept, Stuck, arrived, ended, finished
from tests.recording.writers import PATIENCE, Ledger

LONG = 1000.0
"""Seconds that a test does not wait: what comes earlier has another reason."""


class Sender:
    """A worker's end of a connection."""

    def __init__(self, path: Path, first: int = 0) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.incoming = self.socket.makefile("rb")
        self.socket.sendall(wire.settings_frame(wire.Settings(SessionRecording(), first)))
        hello = wire.read_report(self.incoming)
        assert hello is not None
        assert (hello.ready, hello.settled) == (True, first)

    def send(self, *items: Recordable, more: bytes = b"") -> None:
        self.socket.sendall(b"".join(wire.item_frames(items)) + more)

    def until(self, settled: int = 0, flushed: int = 0) -> None:
        """Return once so much is said to be settled and flushed."""
        while True:
            report = wire.read_report(self.incoming)
            assert report is not None
            if report.settled >= settled and report.flushed >= flushed:
                return

    def close(self) -> None:
        self.incoming.close()
        self.socket.close()


class Recording:
    """A recorder that gathers on a thread of its own, and a main process's end."""

    def __init__(self, path: Path, writer: Kept, hold_seconds: float) -> None:
        self.path = path
        self.writer = writer
        self.telemetry = Telemetry()
        self.ledger = Ledger(self.telemetry)
        self.recorder = Recorder([("w", writer)], batch_timeout_ms=0, telemetry=self.telemetry)
        self.main, theirs = socket.socketpair()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        scribe = Scribe(options_of(SessionRecording()), None)

        def new_intake(told: Told, sender: socket.socket) -> Intake:
            return Intake(scribe, self.recorder, told, self.telemetry)

        self.connection = theirs
        intake = new_intake(Reporter(theirs, self.telemetry), theirs)
        gathering = Gathering(theirs, intake, self.listener, new_intake, hold_seconds=hold_seconds)
        self.thread = threading.Thread(target=gathering.serve, args=(0,))
        self.thread.start()

    def ids(self, kind: type[Any] | None = None) -> list[str]:
        return [e.request_id for e in self.writer.events if kind is None or isinstance(e, kind)]

    def kinds(self) -> list[str]:
        return [f"{e.request_id} {e.__struct_config__.tag}" for e in self.writer.events]

    def end(self) -> None:
        """Let the main process end, and wait for the rest."""
        self.main.shutdown(socket.SHUT_WR)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        if not isinstance(self.writer, Stuck):
            for flushed in self.recorder.flushes():
                flushed.result(PATIENCE)


@pytest.fixture
def recording(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Recording]:
    writer, hold = getattr(request, "param", (Kept, 0.0))
    found = Recording(tmp_path / "s", writer(), hold)
    yield found
    if isinstance(found.writer, Stuck):
        found.writer.release.set()
    found.main.close()
    found.thread.join(PATIENCE)
    for lane in found.recorder._lanes:
        lane.stop()
        lane.ended.result(PATIENCE)
    found.recorder._open = False
    found.listener.close()
    found.connection.close()


held = pytest.mark.parametrize("recording", [(Kept, LONG)], indirect=True)


def test_what_workers_send_is_recorded_settled_and_flushed(recording: Recording) -> None:
    one, two = Sender(recording.path), Sender(recording.path, first=50)
    one.send(ended(1), ended(2), more=wire.flush_frame(7))
    two.send(ended(3, "sess_b"))
    one.until(settled=2, flushed=7)
    two.until(settled=51)
    assert sorted(recording.ids()) == ["req_1", "req_2", "req_3"]
    one.close()
    two.close()
    recording.end()


def _talk() -> Sequence[AnyMilestone]:
    """Return the milestones of three exchanges of one session, one after the other."""
    return [each for number in range(1, 4) for each in (arrived(number), finished(number))]


@held
def test_a_session_that_passed_through_two_workers_is_in_the_order_of_the_wire(
    recording: Recording,
) -> None:
    one, two = Sender(recording.path), Sender(recording.path)
    asked1, said1, asked2, said2, asked3, said3 = _talk()
    two.send(asked2, said2)  # the second exchange, whose worker is the faster one
    one.send(asked1, said1, asked3, said3)
    one.close()
    two.close()
    recording.end()
    assert recording.ids(RequestCompleted) == ["req_1", "req_2", "req_3"]
    firsts = list(dict.fromkeys(recording.ids()))
    assert firsts == ["req_1", "req_2", "req_3"]


@held
def test_what_is_later_waits_until_the_other_worker_has_sent_something_later_still(
    recording: Recording,
) -> None:
    one, two = Sender(recording.path), Sender(recording.path)
    asked1, said1, asked2, said2, *_ = _talk()
    one.send(asked2)
    two.send(asked1, said1)
    two.until(settled=2)
    assert set(recording.ids()) == {"req_1"}
    two.send(said2)
    one.until(settled=1)
    assert list(dict.fromkeys(recording.ids()))[:2] == ["req_1", "req_2"]
    one.close()
    two.close()
    recording.end()


@held
def test_a_request_comes_after_the_end_of_the_one_before_though_that_was_noticed_late(
    recording: Recording,
) -> None:
    one, two = Sender(recording.path), Sender(recording.path)
    asked1, said1, asked2, said2, asked3, _ = _talk()
    late = msgspec.structs.replace(said1, at=asked2.at + 0.1)
    one.send(asked1)
    two.send(asked2, said2)
    one.send(late, asked3)
    two.until(settled=1)
    assert list(dict.fromkeys(recording.ids()))[:2] == ["req_1", "req_2"]
    done = [each for each in recording.kinds() if "request_" in each]
    assert done[:3] == [
        "req_1 request_recorded",
        "req_1 request_completed",
        "req_2 request_recorded",
    ]
    one.close()
    two.close()
    recording.end()


def test_nothing_waits_for_longer_than_the_bound(recording: Recording) -> None:
    one, two = Sender(recording.path), Sender(recording.path)
    asked, said, *_ = _talk()
    one.send(asked, said)
    one.until(settled=2)  # though nobody has heard of the other
    one.close()
    two.close()
    recording.end()


@held
def test_the_main_process_s_events_wait_for_nobody(recording: Recording) -> None:
    one = Sender(recording.path)
    recording.main.sendall(b"".join(wire.item_frames([ended(1), finished(2)])))
    one.send(ended(3))
    one.until(settled=1)
    one.close()
    recording.end()
    assert recording.ids(RequestCompleted) == ["req_1", "req_2", "req_3"]


def test_exchanges_of_a_worker_that_dies_are_ended(recording: Recording) -> None:
    one, two = Sender(recording.path), Sender(recording.path)
    asked1, said1, asked2, *_ = _talk()
    one.send(asked1, said1, asked2, more=b"M\x00")  # and half a frame
    one.close()
    two.close()
    recording.end()
    last = [event for event in recording.writer.events if isinstance(event, RequestCompleted)]
    assert [(each.request_id, each.success, each.error) for each in last] == [
        ("req_1", True, None),
        ("req_2", False, WORKER_DIED),
    ]


def test_a_worker_that_sends_nonsense_harms_no_other(recording: Recording) -> None:
    one, two = Sender(recording.path), Sender(recording.path)
    one.socket.sendall(wire.HEAD.pack(wire.MILESTONES, 3) + b"\xc1\xc1\xc1")
    assert wire.read_report(one.incoming) is None  # it was hung up on
    two.send(ended(1))
    two.until(settled=1)
    one.close()
    two.close()
    recording.end()


def test_a_worker_that_is_far_ahead_waits(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SOURCE_BYTES", 1000)
    one = Sender(recording.path)
    for number in range(50):
        one.send(ended(number, f"sess_{number}"))
    one.until(settled=50)
    assert len(recording.ids()) == 50
    one.close()
    recording.end()


@pytest.mark.parametrize("recording", [(Stuck, 0.0)], indirect=True)
def test_at_the_end_it_does_not_wait_for_writers_here(recording: Recording) -> None:
    one = Sender(recording.path)
    one.send(ended(1))
    assert isinstance(recording.writer, Stuck)
    assert recording.writer.entered.wait(PATIENCE)
    one.close()
    recording.end()
