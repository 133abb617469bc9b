"""The recorder: every writer gets everything, and what is lost is counted."""

from __future__ import annotations

import asyncio
import gc
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway_sessions.assembly import assemble
from gateway_sessions.config import Config, Loaded
from gateway_sessions.config.recording import (
    Jsonl,
    Postgres,
    Redaction,
    SessionRecording,
    Sqlite,
    Worker,
    WriterEntry,
)
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.personal_data import Personal
from gateway_sessions.recording.event_lane import EventWriter
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.recording.recorder import Recorder, build_from_config, named
from gateway_sessions.secret import stored_secret
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import WRITER, Kept, Stuck, asked, chunk, ended, lines
from tests.recording.writers import PATIENCE, Ledger

NOTHING = SessionRecording(jsonl=Jsonl(enabled=False), sqlite=Sqlite(enabled=False))


async def test_all_writers_get_all_events_in_order() -> None:
    writers = [Kept(), Kept()]
    recorder = Recorder(writers, batch_timeout_ms=3_600_000)
    for number in range(250):
        assert recorder.record_event(ended(number))
    await recorder.flush()
    expected = [f"req_{number}" for number in range(250)]
    assert [writer.ids for writer in writers] == [expected, expected]
    assert recorder.record_event(ended(250))  # a flush is no end
    await recorder.shutdown()
    assert [len(writer.ids) for writer in writers] == [251, 251]


async def test_batches_have_the_size_that_was_asked_for() -> None:
    writer = Stuck()
    recorder = Recorder([writer], batch_size=7, batch_timeout_ms=0)
    recorder.record_event(ended(0))
    assert writer.entered.wait(PATIENCE)
    for number in range(1, 15):
        recorder.record_event(ended(number))
    writer.release.set()
    await recorder.flush()
    assert writer.calls.count("write") == 3
    await recorder.shutdown()


async def test_a_stuck_writer_delays_nobody_else() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    stuck, free = Stuck(), Kept()
    recorder = Recorder(
        [("stuck", stuck), ("free", free)],
        batch_timeout_ms=0,
        channel_buffer_size=10,
        telemetry=telemetry,
    )
    offered = 0
    for number in range(30):
        offered += recorder.record_event(chunk(number))
        await asyncio.wrap_future(recorder.flushes()[1])
    assert offered == 10
    assert recorder.queued() == {"stuck": 10, "free": 0}
    stuck.release.set()
    await recorder.shutdown()
    assert ledger.written == {"stuck": 10, "free": 30}
    assert ledger.dropped == {("stuck", "queue_full"): 20}


async def test_shutdown_is_idempotent_and_what_comes_after_it_is_counted() -> None:
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writer = Kept()
    recorder = Recorder([("w", writer)], telemetry=telemetry)
    recorder.record_event(ended(1))
    await recorder.shutdown()
    await recorder.shutdown()
    await recorder.flush()
    assert not recorder.record_event(ended(2))
    assert ledger.dropped == {("w", "shutdown"): 1}
    assert writer.ids == ["req_1"]


def test_a_recorder_that_is_let_go_says_so_and_writes_what_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = Kept()
    recorder = Recorder([writer], batch_timeout_ms=3_600_000)
    (lane,) = recorder._lanes
    recorder.record_event(ended(1))
    del recorder
    gc.collect()
    assert "dropped without shutdown()" in caplog.text
    lane.ended.result(PATIENCE)
    assert writer.ids == ["req_1"]


async def test_one_that_was_shut_down_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder([Kept()])
    await recorder.shutdown()
    del recorder
    gc.collect()
    assert caplog.text == ""


def refusing(error: BaseException) -> EventWriter:
    class Refusing(Kept):
        def open(self) -> None:
            raise error

    return Refusing()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StartError("no disk here"), "no disk here"),
        (OSError(13, "Permission denied"), "the writer b can not be opened: PermissionError"),
    ],
)
def test_a_writer_that_can_not_be_opened_stops_the_others(error: Exception, told: str) -> None:
    writer = Kept()
    with pytest.raises(StartError, match=told):
        Recorder([("a", writer), ("b", refusing(error))])
    assert writer.calls == ["open", "flush", "close"]


def test_writers_have_the_names_of_their_classes_unless_they_are_given_some() -> None:
    class LogWriter(Kept):
        pass

    one = Kept()
    assert [name for name, _ in named([LogWriter(), LogWriter(), one, ("x", one)])] == [
        "log", "log-2", "kept", "x",
    ]  # fmt: skip


async def test_bytes_are_shared_out_among_the_writers() -> None:
    writers = [Stuck(), Stuck()]
    recorder = Recorder(writers, max_bytes=2 * 3 * 4096)
    assert [recorder.record_event(asked(number, size=2048)) for number in range(4)] == [
        True, True, True, False,
    ]  # fmt: skip
    for writer in writers:
        writer.release.set()
    await recorder.shutdown()


async def test_personal_data_does_not_reach_a_writer() -> None:
    writer = Kept()
    recorder = Recorder([writer], personal=Personal("mask"))
    recorder.record_event(ended(1))
    recorder.record_event(msgspec.structs.replace(asked(2), request_text="mail jane@example.com"))
    await recorder.shutdown()
    assert writer.events[1].request_text == "mail [EMAIL]"  # type: ignore[attr-defined]
    assert writer.events[0] == ended(1)


async def test_what_can_not_be_cleaned_is_not_recorded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> str:
        raise RuntimeError(text)

    personal = Personal("mask")
    monkeypatch.setattr(Personal, "text", lambda self, text: broken(text))
    telemetry = Telemetry()
    ledger = Ledger(telemetry)
    writer = Kept()
    recorder = Recorder([("w", writer)], personal=personal, telemetry=telemetry)
    assert not recorder.record_event(msgspec.structs.replace(asked(1), request_text="secret"))
    await recorder.shutdown()
    assert writer.events == []
    assert ledger.dropped == {("w", "error"): 1}
    assert "could not take personal data out of 1 events" in caplog.text


def test_recording_an_event_costs_a_microsecond() -> None:
    recorder = Recorder([Kept(), Kept()], batch_timeout_ms=3_600_000, channel_buffer_size=10**6)
    event = ended(1)
    gc.disable()
    try:
        taken = [_seconds(recorder.record_event, event) for _ in range(5000)]
    finally:
        gc.enable()
        for lane in recorder._lanes:
            lane.stop()
            lane.ended.result(PATIENCE)
        recorder._open = False
    # About 0.5 µs where nothing else runs; the rest is for coverage tracing and slow machines.
    assert statistics.median(taken) < 20e-6


def _seconds(call: Callable[[SessionEvent], object], argument: SessionEvent) -> float:
    started = time.perf_counter()
    call(argument)
    return time.perf_counter() - started


def test_nothing_is_recorded_where_nothing_is_on() -> None:
    assert build_from_config(SessionRecording(enabled=False)) is None
    assert build_from_config(NOTHING) is None
    assert build_from_config(Config(session_recording=NOTHING)) is None


async def test_a_recorder_is_built_from_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    entry = WriterEntry(type=WRITER, config={"path": str(path)})
    config = msgspec.structs.replace(
        NOTHING,
        writers=(entry, WriterEntry(type=WRITER, enabled=False)),
        worker=Worker(batch_size=3, batch_timeout_ms=5, channel_buffer_size=50),
        redaction=Redaction(enabled=True, patterns={"id": "abc[0-9]+"}),
    )
    recorder = build_from_config(Config(session_recording=config))
    assert recorder is not None
    (lane,) = recorder._lanes
    limits = lane._limits
    assert (limits.batch_size, limits.batch_seconds, limits.max_count) == (3, 0.005, 50)
    recorder.record_event(msgspec.structs.replace(asked(1), request_text="abc123 and a@b.example"))
    await recorder.shutdown()
    assert [line["request_text"] for line in lines(path)] == ["[ID] and [EMAIL]"]


@pytest.mark.parametrize("secret", [None, "a secret of thirty-two characters"])
async def test_tokens_are_those_of_a_gateway_with_this_configuration(
    tmp_path: Path, secret: str | None
) -> None:
    path = tmp_path / "lines"
    recording = msgspec.structs.replace(
        NOTHING,
        writers=(WriterEntry(type=WRITER, config={"path": str(path)}),),
        redaction=Redaction(enabled=True, mode="tokenize"),
    )
    state = str(tmp_path / "state")
    config = Config(session_recording=recording, secret=secret, state_directory=state)
    event = msgspec.structs.replace(asked(1), request_text="a@b.example")
    recorder = build_from_config(config)
    assert recorder is not None
    recorder.record_event(event)
    await recorder.shutdown()
    process = assemble(Loaded(config, {})).gateway._recording
    assert isinstance(process, RecordingProcess)
    await process.open()
    process.record(event)
    await process.shutdown()
    one, other = (line["request_text"] for line in lines(path))
    assert one == other
    assert re.fullmatch(r"\[EMAIL_[0-9a-f]+\]", one)
    assert Personal("tokenize", key=b"").text("a@b.example") != one


async def test_tokens_of_the_block_alone_have_a_key_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "lines"
    recorder = build_from_config(
        msgspec.structs.replace(
            NOTHING,
            writers=(WriterEntry(type=WRITER, config={"path": str(path)}),),
            redaction=Redaction(enabled=True, mode="tokenize"),
        )
    )
    assert recorder is not None
    recorder.record_event(msgspec.structs.replace(asked(1), request_text="a@b.example"))
    await recorder.shutdown()
    (line,) = lines(path)
    assert line["request_text"] != Personal("tokenize", key=b"").text("a@b.example")
    assert stored_secret(Config().state_path) is not None


def test_postgres_needs_to_know_where() -> None:
    with pytest.raises(ConfigError, match=r"session_recording\.postgres\.url is missing"):
        build_from_config(msgspec.structs.replace(NOTHING, postgres=Postgres(enabled=True)))
