"""Recorder processes for tests: what they write, they write into the test's own folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway_sessions.config.recording import (
    Jsonl,
    SessionRecording,
    Sqlite,
    Worker,
    WriterEntry,
)
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import WRITER


def recording(path: Path, **options: Any) -> SessionRecording:
    """Return a configuration whose only writer is a `LineWriter`.

    ``options`` are the writer's; ``worker`` and ``streaming`` are not.
    """
    worker = options.pop("worker", Worker())
    streaming = options.pop("streaming", False)
    return SessionRecording(
        jsonl=Jsonl(enabled=False),
        sqlite=Sqlite(enabled=False),
        writers=(WriterEntry(type=WRITER, config={"path": str(path), **options}),),
        worker=worker,
        include_streaming_events=streaming,
    )


@asynccontextmanager
async def running(
    path: Path, telemetry: Telemetry | None = None, **options: Any
) -> AsyncIterator[RecordingProcess]:
    """Yield a recorder process that is open, and shut it down."""
    process = RecordingProcess(recording(path, **options), telemetry or Telemetry())
    await process.open()
    try:
        yield process
    finally:
        await process.shutdown()
