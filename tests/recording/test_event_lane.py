"""What is dropped when there is no room, and how its absence is told."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.events import Gap, SessionEvent
from gateway_sessions.recording.event_lane import EventLane
from gateway_sessions.recording.limits import Limits
from gateway_sessions.recording.recordable import OVERHEAD_BYTES, size_of
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.testing import ManualClock
from tests.recording.recordings import Kept, Stuck, asked, chunk, ended
from tests.recording.writers import PATIENCE, Ledger


class Scene:
    """A lane whose writer is stuck with one event, and what became of all others."""

    def __init__(self, writer: Kept, limits: Limits) -> None:
        self.telemetry = Telemetry()
        self.ledger = Ledger(self.telemetry)
        self.writer = writer
        self.lane: EventLane[SessionEvent] = EventLane("w", writer, self.telemetry, limits)
        self.offered = 0

    def offer(self, *events: SessionEvent) -> list[bool]:
        self.offered += len(events)
        return [self.lane.offer(event, size_of(event)) for event in events]

    def let_go(self) -> None:
        """Release the writer and wait until everything is written; check the books."""
        assert isinstance(self.writer, Stuck)
        self.writer.release.set()
        self.lane.flush().result(PATIENCE)
        written, dropped = self.ledger.written.get("w", 0), sum(self.ledger.dropped.values())
        assert written + dropped == self.offered
        gaps = [event for event in self.writer.events if isinstance(event, Gap)]
        assert sum(sum(gap.dropped.values()) for gap in gaps) == dropped
        assert len(self.writer.events) == written + len(gaps)


@contextmanager
def stuck(count: int, max_bytes: int = 10**9) -> Iterator[Scene]:
    """Yield a lane with room for ``count`` events, one of which its writer holds."""
    scene = Scene(Stuck(), Limits(max_count=count, batch_seconds=0.0, max_bytes=max_bytes))
    scene.lane.start()
    scene.lane.opened.result(PATIENCE)
    assert isinstance(scene.writer, Stuck)
    try:
        assert scene.offer(asked(0, "sess_held")) == [True]
        assert scene.writer.entered.wait(PATIENCE)
        yield scene
    finally:
        scene.writer.release.set()
        scene.lane.stop()
        scene.lane.ended.result(PATIENCE)


def test_ends_displace_pieces_first_then_the_others_the_newest_of_a_class_first() -> None:
    with stuck(6) as scene:
        assert all(scene.offer(asked(1), chunk(2), chunk(3), asked(4), ended(5)))
        assert scene.offer(ended(6)) == [True]  # for chunk 3
        assert scene.offer(asked(7)) == [True]  # for chunk 2
        assert scene.offer(ended(8)) == [True]  # for request 7
        assert scene.offer(ended(9), ended(10)) == [True, True]  # for requests 4 and 1
        assert scene.offer(ended(11)) == [False]  # nothing but ends is left
        assert scene.offer(chunk(12), asked(13)) == [False, False]
        scene.let_go()
        assert scene.ledger.dropped == {("w", "queue_full"): 8}
        assert [i for i in scene.writer.ids if not i.startswith("[")] == [
            "req_0", "req_5", "req_6", "req_8", "req_9", "req_10",
        ]  # fmt: skip


def test_a_gap_stands_where_the_first_of_the_missing_would_have() -> None:
    with stuck(5) as scene:
        scene.offer(asked(1), chunk(2), chunk(3), asked(4))
        scene.offer(ended(5))  # for chunk 3
        scene.let_go()
        assert scene.writer.ids == ["req_0", "req_1", "req_2", "[req_3]", "req_4", "req_5"]
        gap = scene.writer.events[3]
        assert isinstance(gap, Gap)
        assert gap.dropped == {"stream_event": 1}
        assert gap.timestamp == chunk(3).timestamp


def test_each_session_has_a_gap_of_its_own() -> None:
    with stuck(3) as scene:
        scene.offer(ended(1, "sess_a"), ended(2, "sess_b"))
        scene.offer(asked(3, "sess_a"), asked(4, "sess_b"), chunk(5, "sess_b"), asked(6, "sess_c"))
        scene.let_go()
        scene.offer(ended(7, "sess_b"))
        scene.lane.flush().result(PATIENCE)
    gaps = [event for event in scene.writer.events if isinstance(event, Gap)]
    assert {gap.session_id: gap.dropped for gap in gaps} == {
        "sess_a": {"request_recorded": 1},
        "sess_b": {"request_recorded": 1, "stream_event": 1},
        "sess_c": {"request_recorded": 1},
    }
    assert [event.session_id for event in scene.writer.events][-1] == "sess_b"


def test_events_of_a_session_stay_in_order_whatever_is_dropped() -> None:
    with stuck(40) as scene:
        for number in range(1, 400):
            scene.offer((chunk, asked, ended)[number % 3](number, f"sess_{number % 7}"))
        scene.let_go()
    by_session: dict[str, list[int]] = {}
    for event in scene.writer.events:
        by_session.setdefault(event.session_id, []).append(int(event.request_id[4:]))
    assert len(by_session) == 8
    for numbers in by_session.values():
        assert numbers == sorted(numbers)


def test_bytes_are_freed_for_an_end_and_no_room_is_made_for_what_never_fits() -> None:
    room = 6 * OVERHEAD_BYTES
    with stuck(100, max_bytes=room) as scene:
        scene.offer(asked(1), asked(2), asked(3, size=1000))
        assert scene.offer(asked(4, size=room)) == [False]
        assert scene.offer(ended(5), ended(6), ended(7)) == [True, True, True]
        scene.let_go()
        assert scene.ledger.dropped == {("w", "queue_full"): 3}


def test_a_flush_waits_for_what_was_accepted_before_it_and_not_for_what_was_evicted() -> None:
    with stuck(3) as scene:
        scene.offer(chunk(1), chunk(2))
        flushed = scene.lane.flush()
        scene.offer(ended(3), ended(4))
        assert not flushed.done()
        scene.let_go()
        assert flushed.done()
        assert scene.lane.queued == 0
        assert scene.lane.has_passed(scene.lane.place)


def test_what_is_missing_of_many_sessions_keeps_none_of_what_was_large() -> None:
    with stuck(1) as scene:
        item = asked(1, size=100_000)
        references = sys.getrefcount(item)
        assert not scene.lane.offer(item, size_of(item))
        assert sys.getrefcount(item) == references
        scene.offered += 1
        scene.let_go()


def test_what_is_missing_is_told_without_waiting_for_more() -> None:
    with stuck(1) as scene:
        assert scene.offer(asked(1)) == [False]
        assert isinstance(scene.writer, Stuck)
        scene.writer.release.set()
        assert scene.writer.wrote_gap.wait(PATIENCE)


def test_what_has_left_the_queue_is_not_looked_for() -> None:
    with stuck(4) as scene:
        scene.offer(asked(1), asked(2))
        assert isinstance(scene.writer, Stuck)
        scene.writer.release.set()
        scene.lane.flush().result(PATIENCE)
        scene.writer.entered.clear()
        scene.writer.release.clear()
        assert scene.offer(ended(3)) == [True]
        assert scene.writer.entered.wait(PATIENCE)
        assert scene.offer(chunk(4), ended(5), asked(6)) == [True, True, True]
        assert scene.offer(ended(7), ended(8), ended(9)) == [True, True, False]
        scene.let_go()
        assert [i for i in scene.writer.ids if not i.startswith("[")] == [
            "req_0", "req_1", "req_2", "req_3", "req_5", "req_7", "req_8",
        ]  # fmt: skip


def test_it_says_that_it_drops_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    with stuck(2) as scene:
        scene.offer(*(asked(number) for number in range(50)))
        scene.let_go()
    assert caplog.text.count("Session recording buffer full, dropping event") == 1


def test_what_a_writer_fails_to_take_leaves_a_gap() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    full = OSError(28, "No space left on device")
    writer = Kept(full, full)
    limits = Limits(batch_seconds=3600, pauses=(0.0,))
    lane: EventLane[SessionEvent] = EventLane("w", writer, telemetry, limits)
    lane.start()
    for number in range(3):
        lane.offer(ended(number), 10)
    lane.flush().result(PATIENCE)
    assert ledger.dropped == {("w", "error"): 3}
    assert lane.problem is not None
    lane.offer(ended(4), 10)
    lane.flush().result(PATIENCE)
    lane.stop()
    lane.ended.result(PATIENCE)
    assert writer.ids == ["[req_0]", "req_4"]
    assert writer.events[0].dropped == {"request_completed": 3}  # type: ignore[attr-defined]
    assert ledger.written == {"w": 1}  # the gap is ours and was never offered


def test_a_gap_that_can_not_be_written_is_tried_again_with_the_next_events() -> None:
    class Picky(Kept):
        def write(self, batch: Sequence[SessionEvent]) -> None:
            if any(event.request_id == "req_1" for event in batch):
                raise ValueError("can not digest this")
            super().write(batch)

    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writer = Picky()
    lane: EventLane[SessionEvent] = EventLane(
        "w", writer, telemetry, Limits(batch_seconds=3600, pauses=(0.0,))
    )
    lane.start()
    for number in range(3):
        lane.offer(ended(number), 10)
    lane.flush().result(PATIENCE)
    lane.offer(ended(3), 10)
    lane.flush().result(PATIENCE)
    lane.stop()
    lane.ended.result(PATIENCE)
    assert writer.ids == ["req_0", "req_2", "req_3"]  # its gap would bear the id that it refuses
    assert ledger.dropped == {("w", "error"): 1}
    assert ledger.written == {"w": 3}


def test_the_writer_lives_on_one_thread_from_open_to_close() -> None:
    writer = Kept()
    lane: EventLane[SessionEvent] = EventLane("w", writer, Telemetry(), Limits())
    lane.start()
    lane.opened.result(PATIENCE)
    lane.offer(ended(1), 10)
    lane.flush().result(PATIENCE)
    lane.stop()
    lane.ended.result(PATIENCE)
    assert writer.calls == ["open", "write", "flush", "flush", "close"]
    assert len(writer.threads) == 1


def test_a_writer_that_refuses_to_open_is_neither_written_to_nor_closed() -> None:
    class Shut(Kept):
        def open(self) -> None:
            raise StartError("no")

    writer = Shut()
    lane: EventLane[SessionEvent] = EventLane("w", writer, Telemetry(), Limits())
    lane.start()
    assert isinstance(lane.opened.exception(PATIENCE), StartError)
    lane.ended.result(PATIENCE)
    assert writer.calls == []


def test_upkeep_is_done_while_there_is_nothing_to_write_and_its_errors_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Untidy(Kept):
        def tick(self, now: float) -> None:
            super().tick(now)
            raise RuntimeError("no broom")

    writer = Untidy()
    clock = ManualClock(5.0)
    lane: EventLane[SessionEvent] = EventLane(
        "w", writer, Telemetry(), Limits(), clock=clock, tick_seconds=0.001
    )
    lane.start()
    assert writer.ticked.wait(PATIENCE)
    lane.stop()
    lane.ended.result(PATIENCE)
    assert writer.ticks[0] == 5.0
    assert "w: upkeep failed: RuntimeError: no broom" in caplog.text


def test_a_writer_that_fails_to_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Ajar(Kept):
        def close(self) -> None:
            raise OSError(5, "Input/output error")

    lane: EventLane[SessionEvent] = EventLane("w", Ajar(), Telemetry(), Limits())
    lane.start()
    lane.stop()
    lane.ended.result(PATIENCE)
    assert "w: closing failed" in caplog.text


def test_dropped_gaps_are_part_of_the_next_gap() -> None:
    told = Gap(session_id="sess_a", request_id="req_1", timestamp="t", dropped={"started": 2})
    with stuck(2) as scene:
        scene.offer(ended(1), told, asked(2))
        scene.writer.release.set()  # type: ignore[attr-defined]
        scene.lane.flush().result(PATIENCE)
    gap = scene.writer.events[-1]
    assert isinstance(gap, Gap)
    assert Counter(gap.dropped) == {"started": 2, "request_recorded": 1}
