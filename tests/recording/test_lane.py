"""One writer's thread: batches, retries, and who is to blame for a failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from gateway_sessions.exchange import Exchange
from gateway_sessions.recording.lane import BATCH_BYTES, Lane, PartlyWritten, Writer
from gateway_sessions.recording.limits import Limits
from gateway_sessions.telemetry import Telemetry
from tests.recording.writers import PATIENCE, Ledger, ListWriter, StuckWriter, exchange

QUICK = Limits(batch_seconds=0.0, pauses=(0.0, 0.0))


@contextmanager
def running(
    writer: Writer[Exchange], limits: Limits = QUICK, telemetry: Telemetry | None = None
) -> Iterator[Lane[Exchange]]:
    lane = Lane("w", writer, telemetry or Telemetry(), limits)
    lane.start()
    try:
        yield lane
    finally:
        lane.stop()
        lane.ended.result(PATIENCE)


def offer(lane: Lane[Exchange], *numbers: int) -> None:
    for number in numbers:
        assert lane.offer(exchange(number), 10)


def flush(lane: Lane[Exchange]) -> None:
    lane.flush().result(PATIENCE)


def test_exchanges_are_written_in_order_in_batches_of_the_size() -> None:
    writer = StuckWriter()
    with running(writer, Limits(batch_size=3, batch_seconds=0.0)) as lane:
        offer(lane, 0)
        assert writer.entered.wait(PATIENCE)
        offer(lane, *range(1, 9))
        writer.release.set()
        flush(lane)
    assert writer.ids == [f"req_{number}" for number in range(9)]
    assert [len(batch) for batch in writer.batches] == [1, 3, 3, 2]


def test_a_full_batch_does_not_wait_for_its_time() -> None:
    writer = StuckWriter()
    with running(writer, Limits(batch_size=2, batch_seconds=3600)) as lane:
        offer(lane, 1, 2)
        assert writer.entered.wait(PATIENCE)
        writer.release.set()


def test_flush_does_not_wait_for_the_batch_time_and_flushes_the_writer() -> None:
    writer = ListWriter()
    with running(writer, Limits(batch_seconds=3600)) as lane:
        offer(lane, 1)
        flush(lane)
        assert writer.ids == ["req_1"]
        assert writer.flushes == 1
        offer(lane, 2)
        flush(lane)
        assert writer.ids == ["req_1", "req_2"]


def test_flush_of_an_empty_lane_and_of_an_ended_one_returns() -> None:
    with running(ListWriter()) as lane:
        flush(lane)
    flush(lane)


def test_a_full_lane_refuses_and_counts_by_number_and_by_bytes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for limits in (Limits(max_count=2), Limits(max_bytes=20)):
        telemetry = Telemetry()
        ledger = Ledger(telemetry)
        writer = StuckWriter()
        with running(writer, limits, telemetry) as lane:
            assert [lane.offer(exchange(number), 10) for number in range(4)] == [
                True,
                True,
                False,
                False,
            ]
            assert lane.queued == 2
            writer.release.set()
            flush(lane)
            assert lane.queued == 0
            offer(lane, 5)
        assert ledger.dropped == {("w", "queue_full"): 2}
        assert ledger.written == {"w": 3}
    assert caplog.text.count("buffer full, dropping") == 2  # once per lane, not per exchange


def test_a_system_error_is_tried_again_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writer = ListWriter(OSError(28, "No space left on device"), OSError(28, "No space"))
    with caplog.at_level(logging.WARNING), running(writer, telemetry=telemetry) as lane:
        offer(lane, 1)
        flush(lane)
        assert lane.problem is None
    assert writer.ids == ["req_1"]
    assert ledger.dropped == {}
    assert caplog.text.count("writing fails") == 1
    assert caplog.text.count("works again, 0 exchanges lost") == 1


def test_after_the_last_attempt_the_batch_is_dropped_and_the_next_is_tried() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writer = ListWriter(*[OSError(28, "No space left on device")] * 3)
    with running(writer, telemetry=telemetry) as lane:
        offer(lane, 1)
        flush(lane)
        assert lane.problem is not None
        assert "No space left" in lane.problem
        offer(lane, 2)
        flush(lane)
        assert lane.problem is None
    assert writer.ids == ["req_2"]
    assert ledger.dropped == {("w", "error"): 1}
    assert ledger.written == {"w": 1}


class Picky(ListWriter):
    """Chokes on certain exchanges, and writes nothing of a batch that holds one."""

    def __init__(self, *bad: str) -> None:
        super().__init__()
        self.bad = set(bad)

    def write(self, batch: Sequence[Exchange]) -> None:
        if self.bad & {item.request_id for item in batch}:
            raise ValueError("can not digest this")
        super().write(batch)


def test_a_bad_exchange_fails_alone() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writer = Picky("req_2", "req_5")
    with running(writer, Limits(batch_seconds=3600, pauses=(0.0,)), telemetry) as lane:
        offer(lane, *range(8))
        flush(lane)
        assert lane.problem is None
    assert writer.ids == [f"req_{number}" for number in (0, 1, 3, 4, 6, 7)]
    assert ledger.dropped == {("w", "error"): 2}
    assert ledger.written == {"w": 6}


def test_a_writer_that_is_broken_altogether_gets_its_batch_again() -> None:
    writer = ListWriter(*[RuntimeError("not now")] * 3)  # the batch, then each of two alone
    with running(writer, Limits(batch_seconds=3600, pauses=(0.0,))) as lane:
        offer(lane, 1, 2)
        flush(lane)
    assert writer.batches == [["req_1", "req_2"]]


def test_what_a_writer_took_of_a_batch_is_not_given_again() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    taken: list[str] = []
    full = True

    class Half:
        def write(self, batch: Sequence[Exchange]) -> None:
            nonlocal full
            for done, item in enumerate(batch):
                if full and done == 2:
                    full = False
                    raise PartlyWritten(done) from OSError(28, "No space left on device")
                taken.append(item.request_id)

    with running(Half(), Limits(batch_seconds=3600, pauses=(0.0,)), telemetry) as lane:
        offer(lane, *range(5))
        flush(lane)
    assert taken == [f"req_{number}" for number in range(5)]
    assert ledger.written == {"w": 5}


def test_nothing_a_writer_raises_ends_its_thread() -> None:
    writer = ListWriter(SystemExit(1), KeyboardInterrupt())
    with running(writer) as lane:
        offer(lane, 1)
        flush(lane)
        assert writer.ids == ["req_1"]


def test_a_failing_flush_is_a_problem_but_hangs_nobody() -> None:
    class Leaky(ListWriter):
        def flush(self) -> None:
            raise OSError(5, "Input/output error")

    with running(Leaky()) as lane:
        offer(lane, 1)
        flush(lane)
        assert lane.problem is not None


def test_stop_writes_what_is_left_without_pauses_between_attempts() -> None:
    writer = ListWriter(OSError("a"), OSError("b"))
    with running(writer, Limits(batch_seconds=3600, pauses=(3600.0, 3600.0))) as lane:
        offer(lane, 1, 2, 3)
    assert writer.ids == ["req_1", "req_2", "req_3"]


def test_after_stop_nothing_is_accepted_and_that_is_counted() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    with running(ListWriter(), telemetry=telemetry) as lane:
        lane.stop()
        assert not lane.offer(exchange(1), 10)
    assert ledger.dropped == {("w", "shutdown"): 1}


def test_a_backlog_is_written_in_fewer_and_larger_batches() -> None:
    class Fast(StuckWriter):
        batches_at_once = 3

    writer = Fast()
    with running(writer, Limits(batch_size=2, batch_seconds=0.0)) as lane:
        lane.offer(exchange(0), 1)
        assert writer.entered.wait(PATIENCE)
        for number in range(1, 9):
            lane.offer(exchange(number), 1)
        writer.release.set()
        lane.flush().result(PATIENCE)
    assert [len(batch) for batch in writer.batches] == [1, 6, 2]


def test_a_writer_of_large_batches_waits_for_a_large_one() -> None:
    class Fast(ListWriter):
        batches_at_once = 3
        wrote = threading.Event()

        def write(self, batch: Sequence[Exchange]) -> None:
            super().write(batch)
            self.wrote.set()

    writer = Fast()
    with running(writer, Limits(batch_size=2, batch_seconds=PATIENCE)) as lane:
        for number in range(6):
            lane.offer(exchange(number), 1)
        assert writer.wrote.wait(PATIENCE / 2)
    assert [len(batch) for batch in writer.batches] == [6]


def test_what_waits_beyond_the_next_batch_is_told() -> None:
    writer = StuckWriter()
    with running(writer, Limits(batch_size=2, batch_seconds=0.0)) as lane:
        lane.offer(exchange(0), 1)
        assert writer.entered.wait(PATIENCE)
        told = []
        for number in range(1, 5):
            lane.offer(exchange(number), 1)
            told.append(lane.behind)
        assert told == [False, False, True, True]
        writer.release.set()
        lane.flush().result(PATIENCE)
        assert not lane.behind


def test_a_batch_holds_so_many_bytes_and_no_more() -> None:
    writer = StuckWriter()
    with running(writer, Limits(batch_seconds=0.0)) as lane:
        lane.offer(exchange(0), 1)
        assert writer.entered.wait(PATIENCE)
        for number in range(1, 6):
            lane.offer(exchange(number), BATCH_BYTES // 2)
        writer.release.set()
        lane.flush().result(PATIENCE)
    assert [len(batch) for batch in writer.batches] == [1, 2, 2, 1]
