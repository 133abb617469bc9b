"""Kills gateways, and their recorders, at random moments, and looks for what is lost.

Run as ``python -m tests.faults.recording_kills FOLDER KILLS SEED WRITER…``; prints what it did as
JSON.  Every gateway records exchanges, flushes now and then, and says which exchanges the flush
has acknowledged; where ``liar`` is among the writers, it has not waited for that.  Between two
gateways half a line is left in a session file now and then.  Processes are forked from this one,
which saves their start.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

from gateway_sessions.config.recording import Jsonl, SessionRecording, Sqlite
from gateway_sessions.milestones import Arrived, Finished
from gateway_sessions.prices import Prices
from gateway_sessions.recording import link, process_main
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.contracts.test_event_writers import KINDS
from tests.recording.recordings import arrived, finished

LONGEST_SECONDS = 0.15
"""A gateway lives no longer after its first exchange."""
HALF = b'{"type":"request_recorded","session_id":"sess_torn'
"""What is left of a line where a disk has lost the rest."""
RECONCILING_SECONDS = 30.0
"""After which what the database still lacks has been forgotten."""
NUMBER = struct.Struct("!I")
"""What a gateway says: all exchanges with lower numbers are safe."""


class Forked:
    """Stands for the recorder process that was forked already."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.incoming = ours.makefile("rb")
        self.dead = False

    def kill(self) -> None:
        """Nobody asks for it."""

    def end(self, seconds: float) -> None:
        """As `kill`."""

    def fate(self) -> str:
        return "it ended"


def recorder(theirs: socket.socket) -> NoReturn:
    """Be the recorder at the other end of a gateway's socket."""
    try:
        process_main.main(theirs.detach())
    finally:
        os._exit(0)


def gateway(
    config: SessionRecording,
    ours: socket.socket,
    said: int,
    first: int,
    exchange: Callable[[int], tuple[Arrived, Finished]],
) -> NoReturn:
    """Record exchanges until somebody kills us; say up to which number they are safe."""

    async def serve() -> None:
        process = RecordingProcess(config, Telemetry(), begin=lambda: Forked(ours))
        await process.open()
        os.write(said, NUMBER.pack(first))
        number = first
        while True:
            for _ in range(random.randrange(1, 40)):
                for milestone in exchange(number):
                    process.record(milestone)
                number += 1
            await process.flush()
            os.write(said, NUMBER.pack(number))

    try:
        asyncio.run(serve())
    finally:
        os._exit(1)


def _exchange(number: int) -> tuple[Arrived, Finished]:
    session = f"sess_{number % 5}"
    return arrived(number, session), finished(number, session)


def _lie() -> None:
    """Acknowledge what nobody has waited for."""
    done: Future[None] = Future()
    done.set_result(None)
    link.Link.answered = lambda self: done  # type: ignore[method-assign]


def _one_life(config: SessionRecording, first: int, *, both: bool, lying: bool) -> int:
    """Let a gateway live and die; return below which number exchanges were acknowledged."""
    ours, theirs = socket.socketpair()
    heard, said = os.pipe()
    recording = os.fork()
    if not recording:
        ours.close()
        os.close(heard)
        os.close(said)
        recorder(theirs)
    serving = os.fork()
    if not serving:
        theirs.close()
        os.close(heard)
        if lying:
            _lie()
        gateway(config, ours, said, first, _exchange)
    ours.close()
    theirs.close()
    os.close(said)
    safe = NUMBER.unpack(os.read(heard, NUMBER.size))[0]
    time.sleep(random.random() * LONGEST_SECONDS)  # the moment is the point
    os.kill(serving, signal.SIGKILL)
    if both:
        os.kill(recording, signal.SIGKILL)
    while told := os.read(heard, NUMBER.size):
        (safe,) = NUMBER.unpack(told)
    os.close(heard)
    os.waitpid(serving, 0)
    os.waitpid(recording, 0)
    return int(safe)


def tear(folder: Path) -> int:
    """Leave half a line at the end of a session file, as a power cut does; return how many."""
    paths = sorted(folder.glob("*/*.jsonl"))
    for path in paths[:1]:
        with path.open("ab") as file:
            file.write(HALF)
    return len(paths[:1])


async def _end(config: SessionRecording, folder: Path, writers: list[str]) -> int:
    """Let a gateway begin and end as it should; between the two, everything is put in order.

    Returns how many exchanges are in session files and, at the end, not in the database.
    """
    process = RecordingProcess(config, Telemetry())
    await process.open()
    apart = 0
    if {"jsonl", "sqlite"} <= set(writers):
        files = set(KINDS["jsonl"].read(folder / "jsonl"))
        until = time.monotonic() + RECONCILING_SECONDS
        while (apart := len(files - set(KINDS["sqlite"].read(folder / "sqlite")))) and (
            time.monotonic() < until
        ):
            await process.flush()
    await process.shutdown()
    return apart


def _broken(folder: Path) -> int:
    """Count the lines of session files that are not whole."""
    lines = [line for path in folder.glob("*/*.jsonl") for line in path.open("rb")]
    return sum(not line.endswith(b"}\n") or HALF in line for line in lines)


def run(folder: Path, kills: int, seed: int, writers: list[str]) -> dict[str, Any]:
    """Return how many exchanges were acknowledged, and which of them are missing where.

    ``torn`` lines were left by somebody, ``broken`` ones are still there at the end, and
    ``apart`` counts the exchanges of session files that did not get into the database.
    """
    random.seed(seed)
    Prices().load()  # what is imported here is there in every fork
    assert threading.active_count() == 1
    config = SessionRecording(
        jsonl=Jsonl(enabled="jsonl" in writers, directory=str(folder / "jsonl")),
        sqlite=Sqlite(enabled="sqlite" in writers, path=str(folder / "sqlite" / "sessions.db")),
    )
    acknowledged: set[tuple[str, str]] = set()
    first = 0
    lying = "liar" in writers
    torn = 0
    for kill in range(kills):
        safe = _one_life(config, first, both=bool(kill % 2), lying=lying)
        acknowledged |= {(f"sess_{number % 5}", f"req_{number}") for number in range(first, safe)}
        first = safe + 100_000
        if kill % 10 == 0:  # where the recorder has come to its own end, nobody writes now
            torn += tear(folder / "jsonl")
    apart = asyncio.run(_end(config, folder, writers))
    kept = {name: set(KINDS[name].read(folder / name)) for name in writers if name != "liar"}
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "missing": {name: sorted(acknowledged - found) for name, found in kept.items()},
        "torn": torn,
        "broken": _broken(folder / "jsonl"),
        "apart": apart,
    }


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
    )
