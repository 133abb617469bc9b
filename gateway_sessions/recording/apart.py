"""Writers in processes of their own, seen from the recorder.

Events are made, files and tables written with Python's lock held for most of the time, and each
system call of a writer gives that lock up and has to wait for it again.  On threads of one
process all of that would take turns; in processes it runs side by side.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import NoReturn

import msgspec

from gateway_sessions.errors import ConfigError, StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording import wire
from gateway_sessions.recording.apart_serving import (
    CLOSE,
    FLUSH,
    OPEN,
    TICK,
    WRITE,
    Answer,
    LogAnswers,
    Problem,
    Served,
)
from gateway_sessions.recording.event_lane import EventWriter
from gateway_sessions.recording.jsontext import json_array
from gateway_sessions.recording.lane import PartlyWritten

APART = frozenset({"jsonl", "sqlite", "postgres"})
"""The writers in the box.  Others stay beside the recorder, since nobody knows what they hold."""

GARBAGE_THRESHOLD = 200_000
"""Objects that are new and still there, at which garbage is looked for: more than a batch has,
since that is all that a writer makes and none of it is garbage before its end."""
DESCRIPTORS = 16_384
"""That a writer may have, where the system lets it: most begin with 1,024, for the sake of programs
that count on small numbers."""

Named = list[tuple[str, EventWriter]]

_encode = msgspec.json.Encoder().encode
_read_answer = msgspec.json.Decoder(Answer)


class WriterError(Exception):
    """What a writer in another process raised, by name and text."""


class ApartWriter:
    """A writer in another process; its methods belong to one thread, as any writer's.

    Args:
        connection: leads to a `Served`.
        pid: of the process to wait for at the end; None if there is none.
        died: called, on another thread, when the process ends before it was asked to.
    """

    batches_at_once = 20
    """What a commit, and a page that many rows share, cost is then spent on two thousand events."""

    def __init__(
        self,
        connection: socket.socket,
        pid: int | None = None,
        died: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._pid = pid
        self._died = died
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._closing = False
        self._hearing: threading.Thread | None = None

    def open(self) -> None:
        """Open the writer; raises what it raises."""
        self._hearing = threading.Thread(target=self._hear, name="writer-answers", daemon=True)
        self._hearing.start()
        self._do(OPEN)

    def write(self, batch: Sequence[SessionEvent]) -> None:
        """Have events written.

        Raises `PartlyWritten` or `OSError` as the writer does, and `WriterError` for what else it
        raises.
        """
        answer = self._ask(WRITE, json_array(batch))
        error = None if answer.problem is None else _error(answer.problem)
        if answer.rest is not None:
            rest = [batch[place] for place in answer.rest]
            raise PartlyWritten(len(batch) - len(rest), rest) from error
        if error is not None:
            raise error

    def flush(self) -> None:
        """Make durable what was written; raises what the writer raises."""
        self._do(FLUSH)

    def tick(self, now: float) -> None:
        """Tell the writer the time, about once a minute."""
        self._do(TICK, _encode(now))

    def close(self) -> None:
        """Close the writer and end its process; raises what the writer raises."""
        self._closing = True
        try:
            self._do(CLOSE)
        finally:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            if self._hearing is not None:
                self._hearing.join()
            self._connection.close()
            if self._pid is not None:
                with suppress(ChildProcessError):
                    os.waitpid(self._pid, 0)

    def _do(self, kind: bytes, content: bytes = b"") -> None:
        answer = self._ask(kind, content)
        if answer.problem is not None:
            raise _error(answer.problem)

    def _ask(self, kind: bytes, content: bytes) -> Answer:
        # In one piece: each call gives up Python's lock and has to wait for it again.
        self._connection.sendall(wire.HEAD.pack(kind, len(content)) + content)
        answer = self._answers.get()
        if answer is None:
            self._answers.put(None)  # for who asks next
            raise BrokenPipeError("the writer's process has ended")
        return answer

    def _hear(self) -> None:
        """Take in answers until the process ends; runs on a thread of its own."""
        with suppress(OSError), self._connection.makefile("rb") as incoming:
            while len(head := incoming.read(wire.LENGTH.size)) == wire.LENGTH.size:
                (length,) = wire.LENGTH.unpack(head)
                text = incoming.read(length)
                if len(text) < length:
                    break
                answer = _read_answer.decode(text)
                for level, name, line in answer.logs:
                    logging.getLogger(name).log(level, "%s", line)
                if not answer.logs:
                    self._answers.put(answer)
        self._answers.put(None)
        if not self._closing:
            self._died()


def set_apart(
    writers: Named, inherited: Sequence[socket.socket], died: Callable[[], object]
) -> Named:
    """Give the writers in the box a process each; to be called before there are threads.

    Args:
        writers: made and not opened.
        inherited: what the processes must not hold open.
        died: called when one of them ends before it was asked to.
    """
    gc.freeze()  # so that looking for garbage copies no memory that the processes share
    ours: list[socket.socket] = []
    found: Named = []
    for name, writer in writers:
        if name not in APART:
            found.append((name, writer))
            continue
        here, there = socket.socketpair()
        ours.append(here)
        pid = os.fork()
        if not pid:
            _be_apart(writer, there, (*inherited, *ours))
        there.close()
        found.append((name, ApartWriter(here, pid, died)))
    return found


def _be_apart(
    writer: EventWriter, connection: socket.socket, others: Sequence[socket.socket]
) -> NoReturn:
    """Serve a writer in a process that was just forked, and end it."""
    code = 1
    try:
        for other in others:
            os.close(other.fileno())
        gc.set_threshold(GARBAGE_THRESHOLD)
        allow_descriptors()
        served = Served(writer, connection)
        logging.getLogger().handlers[:] = [LogAnswers(served)]
        served.serve()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may run on in what the recorder is to do
        traceback.print_exc()
    finally:
        os._exit(code)


def allow_descriptors() -> None:
    """Raise the limit on open files; where that can not be, fewer are held open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _error(problem: Problem) -> Exception:
    kinds: dict[str, Callable[[str], Exception]] = {
        "start": StartError,
        "config": ConfigError,
        "other": WriterError,
    }
    if problem.kind != "system":
        return kinds[problem.kind](problem.text)
    if problem.number is None:
        return OSError(problem.text)
    return OSError(problem.number, problem.text, problem.path)
