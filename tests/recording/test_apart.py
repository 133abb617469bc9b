"""Writers in other processes; the other process is a thread here, but for the last tests."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.config.recording import Jsonl, SessionRecording, Sqlite
from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.apart import (
    APART,
    ApartWriter,
    WriterError,
    allow_descriptors,
    set_apart,
)
from gateway_sessions.recording.apart_serving import LogAnswers, Served
from gateway_sessions.recording.child import Spawned
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import ended
from tests.recording.session_events import failed, requested
from tests.recording.writers import PATIENCE


class Told:
    """A writer that keeps what it is told, and raises what it is given."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.events: list[SessionEvent] = []
        self.error: BaseException | None = None

    def open(self) -> None:
        self._do("open")

    def write(self, batch: Sequence[SessionEvent]) -> None:
        if isinstance(self.error, PartlyWritten) and self.error.rest is not None:
            self.error.rest = [batch[0], batch[2]]
        self._do("write")
        self.events += batch

    def flush(self) -> None:
        self._do("flush")

    def tick(self, now: float) -> None:
        self._do(now)

    def close(self) -> None:
        self._do("close")

    def _do(self, what: Any) -> None:
        self.told.append(what)
        error, self.error = self.error, None
        if error is not None:
            raise error


class Apart:
    """A writer at the other end of a line."""

    def __init__(self, writer: Any = None) -> None:
        here, self.there = socket.socketpair()
        self.writer = writer or Told()
        self.served = Served(self.writer, self.there)
        self.died = threading.Event()
        self.near = ApartWriter(here, died=self.died.set)
        self.thread = threading.Thread(target=self.served.serve)
        self.thread.start()

    def end(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.there.close()


@contextmanager
def apart() -> Iterator[Apart]:
    found = Apart()
    found.near.open()
    yield found
    found.near.close()
    found.end()
    assert not found.died.is_set()


def test_everything_that_is_asked_is_done_there() -> None:
    with apart() as found:
        events = [requested(), failed(message="no 'but'", limit=1.5)]
        found.near.write(events)
        found.near.flush()
        found.near.tick(12.5)
    assert found.writer.told == ["open", "write", "flush", 12.5, "close"]
    assert found.writer.events == events


def test_a_writer_without_upkeep_needs_no_tick() -> None:
    class Plain:
        def open(self) -> None: ...
        def close(self) -> None: ...

    found = Apart(Plain())
    found.near.open()
    found.near.tick(1.0)
    found.near.close()
    found.end()


def test_half_a_character_becomes_a_question_mark() -> None:
    with apart() as found:
        found.near.write([failed(message="\ud83d"), failed(message="good")])
    assert found.writer.events == [failed(message="?"), failed(message="good")]


def test_an_error_of_the_system_comes_over_as_what_it_is() -> None:
    with apart() as found:
        found.writer.error = OSError(errno.ENOSPC, "No space left on device", "/disk/file")
        with pytest.raises(OSError, match="No space") as caught:
            found.near.write([failed()])
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/disk/file")
        found.writer.error = PermissionError(errno.EACCES, "Permission denied")
        with pytest.raises(PermissionError):
            found.near.flush()
        found.writer.error = OSError("no number")
        with pytest.raises(OSError, match=r"^no number$"):
            found.near.tick(1.0)


def test_another_error_is_named() -> None:
    with apart() as found:
        found.writer.error = ValueError("odd")
        with pytest.raises(WriterError, match=r"^ValueError: odd$"):
            found.near.write([failed()])


def test_events_that_can_not_be_read_there_are_an_error_of_the_events() -> None:
    with apart() as found:
        with pytest.raises(WriterError, match="DecodeError"):
            found.near.write([failed(), requested(body=b"{no json")])
        found.near.write([failed()])
    assert len(found.writer.events) == 1


@pytest.mark.parametrize("kind", [StartError, ConfigError])
def test_a_writer_that_can_not_start_says_why(kind: type[Exception]) -> None:
    found = Apart()
    found.writer.error = kind("The folder is a file; choose another.")
    with pytest.raises(kind, match=r"^The folder is a file; choose another\.$"):
        found.near.open()
    found.near.close()
    found.end()


def test_the_first_of_a_batch_may_be_all_that_was_written() -> None:
    with apart() as found:
        batch = [failed(message=str(number)) for number in range(4)]
        found.writer.error = PartlyWritten(1)
        with pytest.raises(PartlyWritten) as caught:
            found.near.write(batch)
    assert caught.value.written == 1
    assert caught.value.rest == batch[1:]
    assert isinstance(caught.value.__cause__, WriterError)


def test_events_that_were_left_out_are_named() -> None:
    with apart() as found:
        batch = [failed(message=str(number)) for number in range(4)]
        partly = PartlyWritten(2, [])
        partly.__cause__ = OSError(errno.EIO, "Input/output error")
        found.writer.error = partly
        with pytest.raises(PartlyWritten) as caught:
            found.near.write(batch)
    assert caught.value.written == 2
    assert caught.value.rest is not None
    assert [event is batch[place] for event, place in zip(caught.value.rest, (0, 2), strict=True)]
    assert isinstance(caught.value.__cause__, OSError)


def test_what_is_logged_there_is_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    record = logging.LogRecord("there", logging.WARNING, "", 0, "%s is odd", ("it",), None)
    with apart() as found:
        LogAnswers(found.served).emit(record)
        found.near.flush()
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ("there", logging.WARNING, "it is odd")
    ]


def test_a_process_that_dies_is_noticed_and_every_request_fails() -> None:
    found = Apart()
    found.near.open()
    found.there.shutdown(socket.SHUT_RDWR)
    assert found.died.wait(PATIENCE)
    for _ in range(2):
        with pytest.raises(OSError, match="pipe"):
            found.near.write([failed()])
    with pytest.raises(OSError, match="pipe"):
        found.near.close()
    found.end()


def test_what_was_written_is_made_durable_where_whoever_asked_was_killed() -> None:
    found = Apart()
    found.near.open()
    found.near.write([failed()])
    found.near._connection.shutdown(socket.SHUT_RDWR)
    found.end()
    assert found.writer.told == ["open", "write", "flush", "close"]
    with pytest.raises(OSError, match="pipe"):
        found.near.close()


def test_only_the_writers_in_the_box_have_processes() -> None:
    own = Told()
    assert set_apart([("own", own)], [], lambda: None) == [("own", own)]
    assert {"jsonl", "sqlite"} < APART


def writers_of(process: RecordingProcess) -> list[int]:
    child = process._link._child
    assert isinstance(child, Spawned)
    pid = child.process.pid
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_writer_that_dies_is_started_again_with_the_recorder(tmp_path: Path) -> None:
    config = SessionRecording(
        jsonl=Jsonl(directory=str(tmp_path / "sessions")),
        sqlite=Sqlite(path=str(tmp_path / "sessions.db")),
    )
    process = RecordingProcess(config, Telemetry())
    await process.open()
    first = writers_of(process)
    assert len(first) == 2
    process.record(ended(1))
    await process.flush()
    os.kill(first[0], 9)
    process.record(ended(2))
    await process.flush()
    second = writers_of(process)
    assert len(second) == 2
    assert not set(first) & set(second)
    assert process.problems() == []
    await process.shutdown()
    for pid in second:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 4096), [(4096, 4096)]),
        ((1024, resource.RLIM_INFINITY), [(16_384, resource.RLIM_INFINITY)]),
        ((20_000, 20_000), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_a_writer_may_have_many_files_open_where_the_system_lets_it(
    limits: tuple[int, int], wanted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: asked.append(new))
    allow_descriptors()
    assert asked == wanted
