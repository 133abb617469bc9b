"""One of several processes that record at the same time, through one recorder.

Run as ``python -m tests.faults.worker_records SOCKET FOLDER NUMBER EXCHANGES``: it records so many
exchanges of ten sessions, as fast as they are taken, and ends when they are with all writers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from pathlib import Path

import msgspec

from gateway_sessions.config.recording import Jsonl, SessionRecording, Sqlite
from gateway_sessions.recording.child import Connected
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import arrived, finished

SESSIONS = 10
"""Of each worker."""
AT_ONCE = 200
"""Exchanges between two flushes: fewer than fill a queue."""


def config(folder: Path) -> SessionRecording:
    """Return what to record, and where."""
    return SessionRecording(
        jsonl=Jsonl(directory=str(folder / "sessions")),
        sqlite=Sqlite(path=str(folder / "sessions.db")),
    )


async def main(path: Path, folder: Path, worker: int, exchanges: int) -> None:
    """Record."""
    process = RecordingProcess(config(folder), Telemetry(), begin=partial(Connected, path))
    await process.open()
    for number in range(exchanges):
        session = f"sess_{worker}x{number % SESSIONS}"
        name, now = f"req_{worker}x{number}", time.time()
        begun = msgspec.structs.replace(arrived(number, session), request_id=name, at=now)
        done = msgspec.structs.replace(finished(number, session), request_id=name, at=now)
        assert process.record(begun)
        assert process.record(done)
        if number % AT_ONCE == AT_ONCE - 1:
            await process.flush()
    await process.shutdown()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
