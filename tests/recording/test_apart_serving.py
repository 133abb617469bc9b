"""The far end of a writer in a process of its own; the near one is in test_apart."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Sequence

import msgspec
import pytest

from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import apart_serving, wire
from gateway_sessions.recording.apart_serving import Answer, LogAnswers, Served
from gateway_sessions.recording.lane import PartlyWritten
from tests.recording.session_events import failed
from tests.recording.writers import PATIENCE

EVENTS = msgspec.json.encode([failed()])


class Keeper:
    """A writer that keeps what it gets, and says of what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.events: list[SessionEvent] = []

    def open(self) -> None:
        self.calls.append("open")

    def write(self, batch: Sequence[SessionEvent]) -> None:
        self.events += batch

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


def answers(writer: Keeper, *requests: tuple[bytes, bytes]) -> list[Answer]:
    """Ask for things, hang up, and return what came back."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(PATIENCE)
        here.sendall(b"".join(wire.HEAD.pack(kind, len(body)) + body for kind, body in requests))
        here.shutdown(socket.SHUT_WR)
        Served(writer, there).serve()
        there.close()
        return told(here)


def told(here: socket.socket) -> list[Answer]:
    found: list[Answer] = []
    with here.makefile("rb") as incoming:
        while head := incoming.read(wire.LENGTH.size):
            (size,) = wire.LENGTH.unpack(head)
            found.append(msgspec.json.decode(incoming.read(size), type=Answer))
    return found


def test_each_request_has_one_answer() -> None:
    writer = Keeper()
    requests = [(kind, b"") for kind in (apart_serving.OPEN, apart_serving.FLUSH)]
    requests += [(apart_serving.WRITE, EVENTS), (apart_serving.CLOSE, b"")]
    assert answers(writer, *requests) == [Answer()] * 4
    assert writer.calls == ["open", "flush", "close"]
    assert writer.events == [failed()]


def test_whoever_hangs_up_leaves_nothing_unwritten() -> None:
    writer = Keeper()
    answers(writer, (apart_serving.OPEN, b""), (apart_serving.WRITE, EVENTS))
    assert writer.calls == ["open", "flush", "close"]


def test_half_a_request_is_none() -> None:
    writer = Keeper()
    here, there = socket.socketpair()
    with here, there:
        here.sendall(wire.HEAD.pack(apart_serving.WRITE, 100) + EVENTS[:10])
        here.shutdown(socket.SHUT_WR)
        Served(writer, there).serve()
    assert writer.events == []


@pytest.mark.parametrize("body", [b"[{}]", b"no json", b'[{"type": "unknown"}]', b"\xff"])
def test_events_that_can_not_be_read_are_refused(body: bytes) -> None:
    (answer,) = answers(Keeper(), (apart_serving.WRITE, body))
    assert answer.problem is not None
    assert answer.problem.kind == "other"
    assert answer.rest is None


class OfJson(Keeper):
    """A writer that takes batches as they come, all but the second event."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[bytes] = []

    def write_json(self, batch: bytes) -> None:
        self.batches.append(batch)
        raise PartlyWritten(2, [1]) from OSError(errno.ENOSPC, "full")


def test_a_writer_of_json_gets_batches_as_they_are_and_tells_places() -> None:
    writer = OfJson()
    (answer,) = answers(writer, (apart_serving.WRITE, EVENTS))
    assert (writer.batches, writer.events) == ([EVENTS], [])
    assert answer.rest == [1]
    assert answer.problem is not None
    assert answer.problem.number == errno.ENOSPC


def test_log_lines_of_several_threads_come_one_by_one() -> None:
    here, there = socket.socketpair()
    with here, there:
        handler = LogAnswers(Served(Keeper(), there))
        record = logging.LogRecord("a.b", logging.INFO, "", 0, "x" * 1000, (), None)
        threads = [threading.Thread(target=handler.handle, args=(record,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        there.shutdown(socket.SHUT_WR)
        assert told(here) == [Answer(logs=[(logging.INFO, "a.b", "x" * 1000)])] * 8
        here.close()
        handler.handle(record)  # nobody listens any more
