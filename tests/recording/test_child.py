"""A recorder process that several gateway processes share."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway_sessions.errors import StartError
from gateway_sessions.recording.child import Connected, Spawned
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.processes import recording
from tests.recording.recordings import arrived, ended, finished, lines
from tests.recording.writers import PATIENCE, Ledger


@asynccontextmanager
async def shared(
    tmp_path: Path, workers: int = 2
) -> AsyncIterator[tuple[RecordingProcess, list[RecordingProcess]]]:
    """Yield a main process's recording and those of workers; all write to one file."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    config = recording(tmp_path / "lines")
    main = RecordingProcess(config, Telemetry(), begin=partial(Spawned, listener), shared=True)
    others = [
        RecordingProcess(config, Telemetry(), begin=partial(Connected, path))
        for _ in range(workers)
    ]
    with listener:
        for process in (main, *others):
            await process.open()
        try:
            yield main, others
        finally:
            for process in (*others, main):
                await process.shutdown()


async def test_all_record_through_one_process(tmp_path: Path) -> None:
    async with shared(tmp_path) as (main, (one, two)):
        one.record(arrived(1))
        one.record(finished(1))
        two.record(arrived(2, "sess_b"))
        two.record(finished(2, "sess_b"))
        main.record(ended(3, "sess_c"))
        for process in (one, two, main):
            await process.flush()
        found = lines(tmp_path / "lines")
        assert {line["request_id"] for line in found} == {"req_1", "req_2", "req_3"}
        assert main.problems() == one.problems() == []
    # Only the end of the main process completes sessions.
    completed = [line for line in lines(tmp_path / "lines") if line["type"] == "completed"]
    assert {line["session_id"] for line in completed} == {"sess_a", "sess_b"}


async def test_a_process_that_dies_gets_again_what_was_not_settled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with shared(tmp_path) as (main, (one, two)):
            child = main._link._child
            assert isinstance(child, Spawned)
            child.kill()
            child.process.wait()
            for number, process in ((1, one), (2, two)):
                process.record(arrived(number, f"sess_{number}"))
                process.record(finished(number, f"sess_{number}"))
            for process in (one, two):  # and the main one has nothing to send
                await asyncio.wait_for(process.flush(), PATIENCE)
    done = [line for line in lines(tmp_path / "lines") if line["type"] == "request_completed"]
    assert {line["request_id"] for line in done} == {"req_1", "req_2"}
    assert any("the recorder process died" in text for text in caplog.messages)
    assert any("the connection to the recorder process broke" in text for text in caplog.messages)


async def test_where_there_is_no_process_to_connect_to_the_start_is_refused(
    tmp_path: Path,
) -> None:
    process = RecordingProcess(
        recording(tmp_path / "lines"), Telemetry(), begin=partial(Connected, tmp_path / "none")
    )
    with pytest.raises(StartError, match="the recorder process can not be started"):
        await process.open()


async def test_a_connection_that_is_broken_off_ends_without_waiting(tmp_path: Path) -> None:
    async with shared(tmp_path, workers=1) as (_, (one,)):
        telemetry = Ledger(one._link._telemetry)
        child = one._link._child
        assert isinstance(child, Connected)
        one._link.kill()
        assert child.incoming.read() == b""
        one.record(ended(1))
        await one.shutdown()
    assert telemetry.dropped == {("recorder", "shutdown"): 1}


def test_without_settings_it_ends_by_itself() -> None:
    child = Spawned()
    child.socket.shutdown(1)
    child.end(30)
    assert child.process.returncode == 0


def test_one_that_does_not_end_is_killed() -> None:
    child = Spawned()
    child.end(0)
    assert child.process.returncode == -signal.SIGKILL


def test_one_that_can_not_be_started_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        Spawned()
