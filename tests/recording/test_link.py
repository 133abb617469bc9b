"""The recorder process dies; what it had not settled is sent to the next one."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from gateway_sessions.recording import link
from gateway_sessions.recording import process as process_module
from gateway_sessions.recording.child import Spawned
from gateway_sessions.telemetry import Telemetry
from tests.recording.processes import running
from tests.recording.recordings import WRITER, arrived, ended, finished, lines
from tests.recording.writers import Ledger


async def test_a_dead_process_is_replaced_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, stall = tmp_path / "lines", tmp_path / "stall"
    async with running(path, stall=str(stall)) as process:
        process.record(ended(1))
        await process.flush()
        stall.touch()
        for number in range(2, 10):
            process.record(ended(number))
        child = process._link._child
        assert isinstance(child, Spawned)
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
        stall.unlink()
        await process.flush()
        assert process.problems() == []
    seen = [line["request_id"] for line in lines(path)]
    assert seen == [f"req_{number}" for number in range(1, 10)]
    assert "the recorder process died (exit code -9) and is started again; 0 items" in caplog.text


async def test_items_over_which_it_dies_again_and_again_are_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "TICK_SECONDS", 0.02)
    path = tmp_path / "lines"
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    async with running(path, telemetry, crash="_13") as process:
        process.record(ended(13))
        await process.flush()
        process.record(ended(14))
        await process.flush()
    assert caplog.text.count("the recorder process died") == link.ATTEMPTS
    assert ledger.dropped == {("recorder", "crash"): 1}
    gap, written = lines(path)
    assert (gap["type"], gap["dropped"]) == ("gap", {"request_completed": 1})
    assert written["request_id"] == "req_14"


async def test_what_is_too_much_to_keep_is_counted_if_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "KEPT_COUNT", 5)
    path, stall = tmp_path / "lines", tmp_path / "stall"
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    stall.touch()
    async with running(path, telemetry, stall=str(stall)) as process:
        for number in range(8):
            process.record(ended(number))
        sent = process._lane.flush()
        while not sent.done():
            process._link.flush()
        child = process._link._child
        assert isinstance(child, Spawned)
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
        stall.unlink()
        await process.flush()
    assert ledger.dropped == {("recorder", "crash"): 3}
    gap, *rest = lines(path)
    assert gap["dropped"] == {"request_completed": 3}
    assert [line["request_id"] for line in rest] == [f"req_{number}" for number in range(3, 8)]


async def test_a_session_goes_on_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    async with running(path) as process:
        process.record(arrived(1))
        await process.flush()
        child = process._link._child
        assert isinstance(child, Spawned)
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
        process.record(finished(1))
        await process.flush()
    kinds = [line["type"] for line in lines(path)]
    assert kinds.count("request_completed") == 1
    assert kinds[-1] == "completed"


async def test_as_long_as_no_other_can_be_started_that_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lines"
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    with caplog.at_level(logging.ERROR):
        async with running(path, telemetry) as process:
            process._lane._limits = process._lane._limits.__class__(pauses=(0.0,))
            monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
            child = process._link._child
            assert isinstance(child, Spawned)
            child.process.send_signal(signal.SIGKILL)
            child.process.wait()
            assert process._link._hearing is not None
            process._link._hearing.join()
            process.record(ended(1))
            await process.flush()
            assert any("recorder: " in problem for problem in process.problems())
            monkeypatch.undo()
            process.record(ended(2))
            await process.flush()
            assert process.problems() == []
    assert ledger.dropped == {("recorder", "error"): 1}
    assert ledger.written == {WRITER: 2}  # with the gap
    assert [line["type"] for line in lines(path)] == ["gap", "request_completed"]
