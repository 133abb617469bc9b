"""The recorder process from within."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import msgspec
import pytest

from gateway_sessions.analysis.scribe import Scribe
from gateway_sessions.config.recording import SessionRecording
from gateway_sessions.events import Completed
from gateway_sessions.recording import lane, process_main, wire
from gateway_sessions.recording.process_main import Intake, options_of
from gateway_sessions.recording.recordable import Recordable
from gateway_sessions.recording.recorder import Recorder
from gateway_sessions.recording.reporter import Reporter
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import Kept, Stuck, arrived, ended, finished
from tests.recording.test_reporter import Line
from tests.recording.writers import PATIENCE, Ledger


class Inside:
    """An intake with a writer that keeps everything."""

    def __init__(self, writer: Kept | None = None, room: int = 10_000) -> None:
        self.telemetry = Telemetry()
        self.ledger = Ledger(self.telemetry)
        self.writer = writer or Kept()
        self.recorder = Recorder(
            [("w", self.writer)],
            batch_timeout_ms=0,
            channel_buffer_size=room,
            telemetry=self.telemetry,
        )
        self.line = Line()
        self.reporter = Reporter(self.line.theirs, self.telemetry)
        scribe = Scribe(options_of(SessionRecording()), None)
        self.intake = Intake(scribe, self.recorder, self.reporter, self.telemetry)

    def serve(self, *batches: Sequence[Recordable], more: bytes = b"", first: int = 0) -> None:
        parts = [part for batch in batches for part in wire.item_frames(batch)]
        self.intake.serve(io.BytesIO(b"".join(parts) + more), first)

    async def close(self) -> None:
        await self.recorder.shutdown()
        self.line.close()


async def test_items_are_settled_when_the_writers_have_them() -> None:
    stuck = Stuck()
    inside = Inside(stuck)
    inside.serve([ended(1), ended(2)], [ended(3)], first=100)
    assert stuck.entered.wait(PATIENCE)
    assert inside.intake.follow() == (100, {"w": wire.WriterState(3)})
    stuck.release.set()
    await inside.recorder.flush()
    assert inside.intake.follow() == (103, {"w": wire.WriterState(0)})
    await inside.close()


async def test_however_long_a_writer_is_stuck_few_marks_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_main, "MARKS", 3)
    stuck = Stuck()
    inside = Inside(stuck)
    inside.serve(*([ended(number)] for number in range(20)))
    assert len(inside.intake._marks) == 3
    stuck.release.set()
    await inside.recorder.flush()
    assert inside.intake.follow()[0] == 20
    await inside.close()


async def test_a_burst_waits_for_the_writers_and_nothing_is_dropped() -> None:
    inside = Inside(room=10)
    inside.serve([ended(number) for number in range(500)])
    await inside.recorder.flush()
    assert len(inside.writer.ids) == 500
    assert inside.ledger.dropped == {}
    await inside.close()


class Sleeper:
    """Stands for the module `time`: time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def monotonic(self) -> float:
        return self.slept


async def test_a_writer_that_does_not_move_is_not_waited_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleeper = Sleeper()
    monkeypatch.setattr(process_main, "time", sleeper)
    stuck = Stuck()
    inside = Inside(stuck, room=10)
    inside.serve([ended(0)])
    assert stuck.entered.wait(PATIENCE)
    inside.serve([ended(number) for number in range(1, 500)])
    assert sleeper.slept == pytest.approx(process_main.PATIENCE_SECONDS)
    assert inside.intake._patience <= 0
    stuck.release.set()
    await inside.recorder.flush()
    assert inside.ledger.dropped == {("w", "queue_full"): 490}
    inside.serve([ended(number) for number in range(2)])
    assert inside.intake._patience > 0
    await inside.close()


async def test_where_no_writer_has_room_nothing_more_is_taken_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_main, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(process_main, "STANDSTILL_SECONDS", 0.0)
    stuck = Stuck()
    inside = Inside(stuck, room=10)
    looks = 0

    def released_at_the_third_look() -> bool:
        nonlocal looks
        looks += 1
        if looks == 3:
            assert inside.recorder.queued() == {"w": 6}
            stuck.release.set()
        return False

    inside.intake._has_hung_up = released_at_the_third_look
    inside.serve([ended(number) for number in range(20)])
    await inside.recorder.flush()
    assert len(inside.writer.ids) == 20
    assert inside.ledger.dropped == {}
    await inside.close()


async def test_what_a_writer_does_not_take_at_the_end_is_settled_as_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane, "STUCK_SECONDS", 0.0)
    stuck = Stuck()
    inside = Inside(stuck)
    inside.serve([ended(1), ended(2)])
    assert stuck.entered.wait(PATIENCE)
    await asyncio.to_thread(inside.intake.end)
    assert inside.ledger.dropped == {("w", "shutdown"): 2}
    assert inside.intake.follow()[0] == 2
    stuck.release.set()
    inside.line.close()


async def test_what_can_not_be_read_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    inside = Inside()
    odd = msgspec.structs.replace(arrived(3), model=7)
    bad = wire.HEAD.pack(wire.EVENT, 1) + b"{"
    inside.serve([ended(1), odd], more=bad + b"".join(wire.item_frames([ended(2)])))
    await inside.recorder.flush()
    assert inside.writer.ids == ["req_1", "req_2"]
    assert inside.intake.follow()[0] == 4
    assert inside.ledger.dropped == {("recorder", "error"): 2}
    assert "could not record 1 items" in caplog.text
    await inside.close()


async def test_a_flush_is_reported_when_every_writer_is_done() -> None:
    inside = Inside()
    inside.reporter.start(inside.intake.follow)
    inside.serve([ended(1)], more=wire.flush_frame(4))
    reports = inside.line.until(lambda report: report.flushed == 4)
    assert reports[0].ready
    assert inside.writer.ids == ["req_1"]
    assert "flush" in inside.writer.calls
    inside.reporter.stop()
    await inside.close()


def test_at_the_end_sessions_are_completed() -> None:
    inside = Inside()
    inside.serve([arrived(1), finished(1)])
    inside.intake.end()
    last = inside.writer.events[-1]
    assert isinstance(last, Completed)
    assert last.reason == "shutdown"
    assert inside.writer.calls[-1] == "close"
    inside.line.close()


def test_the_configuration_says_what_events_hold() -> None:
    config = SessionRecording(
        content="metadata",
        include_streaming_events=True,
        capture_user_agent=False,
        max_user_agent_length=7,
    )
    options = msgspec.structs.asdict(options_of(config, 60.0))
    assert (
        options
        | {
            "content": "metadata",
            "include_streaming_events": True,
            "capture_user_agent": False,
            "max_user_agent_length": 7,
            "idle_seconds": 60.0,
        }
        == options
    )
