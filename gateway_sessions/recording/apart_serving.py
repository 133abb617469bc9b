"""A writer in a process of its own, seen from there: requests come in, answers go out.

A request is a frame as in `gateway_sessions.recording.wire`; each has one answer, JSON behind its
length.  What is logged meanwhile, or between two requests, goes out as an answer with nothing
but ``logs``.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.events import AnyEvent, SessionEvent
from gateway_sessions.recording import wire
from gateway_sessions.recording.event_lane import EventWriter
from gateway_sessions.recording.lane import PartlyWritten
from gateway_sessions.recording.quiet import summary

OPEN, WRITE, FLUSH, TICK, CLOSE = b"O", b"W", b"F", b"T", b"C"
"""Kinds of requests: `WRITE` has events as a JSON array, `TICK` unix time as JSON."""
READ_BYTES = 1 << 18
"""Read at once, if there is so much."""


class Problem(msgspec.Struct, omit_defaults=True):
    """An error, as far as it can be told to another process."""

    kind: Literal["start", "config", "system", "other"]
    text: str
    number: int | None = None
    """The system's number of an `OSError`."""
    path: str | None = None


class Answer(msgspec.Struct, omit_defaults=True):
    """What came of a request."""

    logs: list[tuple[int, str, str]] = []
    """Level, logger, text; an answer that has some says nothing else."""
    problem: Problem | None = None
    rest: list[int] | None = None
    """Places in the batch of the events that were not written, where others were."""


_read_batch: msgspec.json.Decoder[list[AnyEvent]] = msgspec.json.Decoder(list[AnyEvent])
_read_number = msgspec.json.Decoder(float)
_json = msgspec.json.Encoder().encode


class Served:
    """Does with a writer what the requests say; one is served after the other."""

    def __init__(self, writer: EventWriter, connection: socket.socket) -> None:
        self._writer = writer
        self._write_json: Callable[[bytes], None] | None = getattr(writer, "write_json", None)
        """For a writer that takes a batch as it comes here: places are the ``rest`` then."""
        self._connection = connection
        self._sending = threading.Lock()
        """Held for one answer: the writer's own threads log too."""
        self._is_open = False

    def serve(self) -> None:
        """Answer requests until they end; then what was written is durable, whatever came."""
        with io.BufferedReader(socket.SocketIO(self._connection, "r"), READ_BYTES) as incoming:
            for kind, content in wire.read_frames(incoming):
                self.send(self._answer(kind, content))
        if self._is_open:  # whoever asked is gone, perhaps killed
            self._answer(FLUSH, b"")
            self._answer(CLOSE, b"")

    def send(self, answer: Answer) -> None:
        """Send an answer; nothing happens where nobody listens any more."""
        text = _json(answer)
        with self._sending, suppress(OSError):
            self._connection.sendall(wire.LENGTH.pack(len(text)) + text)

    def _answer(self, kind: bytes, content: bytes) -> Answer:
        batch: Sequence[SessionEvent] = ()
        try:
            if kind == WRITE and self._write_json is not None:
                self._write_json(content)
            elif kind == WRITE:
                batch = _read_batch.decode(content)
                self._writer.write(batch)
            else:
                self._do(kind, content)
        except PartlyWritten as partly:
            return Answer(problem=_problem(partly.__cause__ or partly), rest=_rest(partly, batch))
        except BaseException as error:  # noqa: BLE001 - whoever asked decides what it means
            return Answer(problem=_problem(error))
        return Answer()

    def _do(self, kind: bytes, content: bytes) -> None:
        if kind == OPEN:
            self._writer.open()
            self._is_open = True
        elif kind == FLUSH:
            self._writer.flush()
        elif kind == TICK:
            tick = getattr(self._writer, "tick", None)
            if tick is not None:
                tick(_read_number.decode(content))
        elif kind == CLOSE:
            self._is_open = False
            self._writer.close()


class LogAnswers(logging.Handler):
    """Sends what is logged here to where the gateway logs."""

    def __init__(self, served: Served) -> None:
        super().__init__(logging.INFO)
        self._served = served

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log line on."""
        self._served.send(Answer(logs=[(record.levelno, record.name, self.format(record))]))


def _rest(partly: PartlyWritten, batch: Sequence[SessionEvent]) -> list[int]:
    if partly.rest is None:
        return list(range(partly.written, len(batch)))
    if not batch:
        return list(partly.rest)
    places = {id(event): place for place, event in enumerate(batch)}
    return [places[id(event)] for event in partly.rest]


def _problem(error: BaseException) -> Problem:
    if isinstance(error, (StartError, ConfigError)):
        return Problem("config" if isinstance(error, ConfigError) else "start", str(error))
    if isinstance(error, OSError):
        path = None if error.filename is None else str(error.filename)
        return Problem("system", error.strerror or str(error), error.errno, path)
    return Problem("other", summary(error))
