"""The gateway's end of recording, and a real process at the other end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from pathlib import Path

import msgspec
import pytest

from gateway_sessions.config.recording import Worker
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.recording import link
from gateway_sessions.recording.child import Spawned
from gateway_sessions.recording.delivery import GRACE_SECONDS
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.processes import recording, running
from tests.recording.recordings import WRITER, arrived, ended, finished, lines, missing
from tests.recording.writers import Ledger


async def test_milestones_become_events_and_a_flush_waits_for_them(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    async with running(path) as process:
        assert process.record(arrived(1))
        assert process.record(finished(1))
        await process.flush()
        kinds = [line["type"] for line in lines(path)]
        assert kinds[:2] == ["started", "request_recorded"]
        assert {"response_recorded", "request_completed"} < set(kinds)
        assert process.queued() == {"recorder": 0, WRITER: 0}
        assert process.problems() == []
    last = lines(path)[-1]
    assert (last["type"], last["reason"]) == ("completed", "shutdown")


async def test_how_long_a_session_may_be_idle_is_told_to_the_process(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    process = RecordingProcess(recording(path), Telemetry(), idle_seconds=60.0)
    await process.open()
    one = arrived(1)
    place = msgspec.structs.replace(one.session, previous_session_id="sess_before")
    process.record(msgspec.structs.replace(one, session=place))
    process.record(finished(1))
    await process.shutdown()
    loop = next(line["loop"] for line in lines(path) if line["type"] == "loop_recorded")
    assert loop["formation"]["threshold_secs"] == 60.0


async def test_ready_events_pass_through(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    async with running(path) as process:
        process.record(ended(7))
    assert [line["request_id"] for line in lines(path)] == ["req_7"]


async def test_what_the_writers_do_is_announced_here(tmp_path: Path) -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    async with running(tmp_path / "lines", telemetry) as process:
        for number in range(500):
            process.record(ended(number))
    assert ledger.written == {WRITER: 500}
    assert ledger.dropped == {}


async def test_a_writer_that_fails_is_a_problem_until_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = tmp_path / "full"
    full.touch()
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    path = tmp_path / "lines"
    with caplog.at_level(logging.WARNING):
        async with running(path, telemetry, fail=str(full)) as process:
            process.record(ended(1))
            await process.flush()
            (problem,) = process.problems()
            assert problem == f"{WRITER}: OSError: [Errno 28] No space left on device"
            full.unlink()
            process.record(ended(2))
            await process.flush()
            assert process.problems() == []
    assert ledger.dropped == {(WRITER, "error"): 1}
    assert ledger.written == {WRITER: 1}
    assert [line["type"] for line in lines(path)] == ["gap", "request_completed"]
    # What the process logs is logged here, by whoever configured that.
    assert f"{WRITER}: writing fails and is tried again" in caplog.text
    assert "writing works again, 1 events lost" in caplog.text


async def test_signals_for_the_gateway_pass_the_process_by(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    async with running(path) as process:
        child = process._link._child
        assert isinstance(child, Spawned)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child.process.send_signal(number)
        process.record(ended(1))
        await process.flush()
        assert child.process.poll() is None
    assert len(lines(path)) == 1
    assert child.process.returncode == 0


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"refuse": "nothing here"}, StartError, "can not be opened: OSError"),
        ({"wrong": 1}, ConfigError, "there is no option 'wrong'"),
    ],
)
async def test_a_writer_that_can_not_start_refuses_with_a_sentence(
    tmp_path: Path, options: dict[str, object], error: type[Exception], told: str
) -> None:
    process = RecordingProcess(recording(tmp_path / "lines", **options), Telemetry())
    with pytest.raises(error, match=told):
        await process.open()
    await process.shutdown()
    await process.flush()


async def test_a_process_that_can_not_be_started_refuses_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    process = RecordingProcess(recording(tmp_path / "lines"), Telemetry())
    with pytest.raises(StartError, match="the recorder process can not be started"):
        await process.open()


async def test_a_program_that_ends_at_once_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/true")
    process = RecordingProcess(recording(tmp_path / "lines"), Telemetry())
    with pytest.raises(StartError, match="ended at once"):
        await process.open()


async def test_what_writers_print_does_not_get_among_the_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path / "lines", noise="hello") as process:
        process.record(ended(1))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


async def test_when_there_is_no_room_items_are_dropped_and_a_gap_says_so(tmp_path: Path) -> None:
    path, stall = tmp_path / "lines", tmp_path / "stall"
    stall.touch()
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    worker = Worker(batch_size=10, channel_buffer_size=20)
    async with running(path, telemetry, worker=worker, stall=str(stall)) as process:
        accepted = sum(process.record(ended(number)) for number in range(5000))
        assert accepted < 5000
        stall.unlink()
    here = sum(count for (name, _), count in ledger.dropped.items() if name == "recorder")
    assert here == 5000 - accepted
    written = lines(path)
    lost = missing(written)
    assert lost >= here
    assert len([line for line in written if line["type"] != "gap"]) == 5000 - lost


async def test_a_stalled_process_is_killed_in_the_end_and_never_holds_up_the_loop(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lines"
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    async with running(path, telemetry) as process:
        child = process._link._child
        assert isinstance(child, Spawned)
        child.process.send_signal(signal.SIGSTOP)
        slowest = 0.0
        for number in range(2000):
            started = time.thread_time()
            process.record(arrived(number, body=b"x" * 4096))
            slowest = max(slowest, time.thread_time() - started)
        await process.shutdown(grace_seconds=0.05)
        assert slowest < 0.1
    assert child.process.returncode == -signal.SIGKILL
    assert sum(ledger.dropped.values()) == 2000
    assert {reason for _, reason in ledger.dropped} <= {"shutdown", "queue_full"}


@pytest.mark.parametrize("whole", [False, True])
async def test_stopping_does_not_wait_for_writers_that_are_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Where all writers are stuck, the process takes nothing more; and it is not killed."""
    monkeypatch.setattr(link, "STUCK_SECONDS", 0.05)
    path, stall = tmp_path / "lines", tmp_path / "stall"
    stall.touch()
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    worker = Worker(batch_size=10, channel_buffer_size=100)
    config = recording(path, worker=worker, stall=str(stall), stuck_after=0.05)
    process = RecordingProcess(config, telemetry)
    await process.open()
    child = process._link._child
    assert isinstance(child, Spawned)
    offered = 500 if whole else 40
    body = b"x" * 10_000
    for number in range(offered):
        process.record(arrived(number, body=body))
        await asyncio.sleep(0)
    async with asyncio.timeout(GRACE_SECONDS - 1):
        while whole and not process._link.is_stuck:  # noqa: ASYNC110 - a thread's doing
            await asyncio.sleep(0)
        await process.shutdown()
    assert child.process.returncode == 0
    here = ledger.dropped.get(("recorder", "queue_full"), 0)
    assert sum(ledger.dropped.values()) >= offered
    assert (here > 0) is whole
