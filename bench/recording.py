"""What recording takes: of the request path, and of the process beside it.

The cost of `Recorder.record_event` is timed call by call, with two writers that only keep what
they get.  The rate is that of the whole way: milestones into the queue, through the socket,
events made of them, session files and database; they are offered as fast as the writers take
them, and all must arrive.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench import report
from gateway_sessions.config.recording import Jsonl, SessionRecording, Sqlite
from gateway_sessions.conversation import Usage
from gateway_sessions.events import RequestCompleted, SessionEvent
from gateway_sessions.exchange import Client, Request, Response, SessionTag
from gateway_sessions.milestones import AnyMilestone, Arrived, Finished
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.recording.recorder import Recorder
from gateway_sessions.telemetry import Dropped, Telemetry, Written

CALLS = 20_000
EXCHANGES = 50_000
TURNS = 5
"""Exchanges of a session."""
WAITING = 5_000
"""Events that may wait for a writer before no more are offered, half of what it holds."""

WRITERS = {
    "session files": {"jsonl"},
    "database": {"sqlite"},
    "both": {"jsonl", "sqlite"},
}


class Stalled:
    """A writer that never comes back from its first batch."""

    def open(self) -> None:
        """Do nothing."""

    def write(self, batch: Sequence[SessionEvent]) -> None:
        """Hang."""
        del batch
        threading.Event().wait()

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Kept(Stalled):
    def __init__(self) -> None:
        self.events: list[SessionEvent] = []

    def write(self, batch: Sequence[SessionEvent]) -> None:
        self.events.extend(batch)


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    calls, exchanges = (2_000, 1_000) if quick else (CALLS, EXCHANGES)
    times = asyncio.run(_calls(calls))
    cost = [[f"{statistics.median(times):.2f}", f"{statistics.quantiles(times, n=100)[98]:.2f}"]]
    rows = []
    for name, writers in WRITERS.items():
        rows.append([name, *_rate(exchanges, writers)])
    heads = ["written to", "events", "events/s", "dropped", "CPU µs an event"]
    return "\n\n".join(
        [
            report.machine(),
            report.table(["`record_event`, median µs", "p99 µs"], cost),
            report.table(heads, rows),
        ]
    )


async def _calls(count: int) -> list[float]:
    """Return what single calls take, in microseconds, with time to write in between."""
    recorder = Recorder([_Kept(), _Kept()], channel_buffer_size=count)
    event = RequestCompleted(
        session_id="sess_a",
        request_id="req_a",
        timestamp="2026-01-01T00:00:00.000000Z",
        success=True,
        total_duration_ms=1.0,
    )
    times: list[float] = []
    gc.disable()
    while len(times) < count:
        for _ in range(100):
            began = time.perf_counter_ns()
            recorder.record_event(event)
            times.append((time.perf_counter_ns() - began) / 1000)
        await recorder.flush()
    gc.enable()
    await recorder.shutdown()
    return times


def _rate(exchanges: int, writers: set[str]) -> list[str]:
    """Return events, events per second, drops and the recorder's CPU time per event."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        config = SessionRecording(
            jsonl=Jsonl(enabled="jsonl" in writers, directory=f"{folder}/sessions"),
            sqlite=Sqlite(enabled="sqlite" in writers, path=str(Path(folder) / "sessions.db")),
        )
        seconds, written, dropped = asyncio.run(_through(config, _milestones(exchanges)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    events = max(written.values())
    return [f"{events:,}", f"{events / seconds:,.0f}", str(dropped), f"{cpu / events * 1e6:.0f}"]


async def _through(
    config: SessionRecording, milestones: Sequence[AnyMilestone]
) -> tuple[float, dict[str, int], int]:
    """Record milestones; return seconds, events by writer, and drops."""
    telemetry = Telemetry()
    written: dict[str, int] = {}
    dropped: list[int] = []
    telemetry.listen(
        Written,
        lambda e: written.__setitem__(e.interceptor, written.get(e.interceptor, 0) + e.count),
    )
    telemetry.listen(Dropped, lambda e: dropped.append(e.count))
    process = RecordingProcess(config, telemetry)
    await process.open()
    began = time.perf_counter()
    for number, milestone in enumerate(milestones):
        process.record(milestone)
        if number % 50 == 0:
            await _at_most(process, WAITING)
    await _at_most(process, 0)
    seconds = time.perf_counter() - began
    await process.shutdown()
    return seconds, written, sum(dropped)


async def _at_most(process: RecordingProcess, count: int) -> None:
    """Return when no more than ``count`` events wait for any writer."""
    while max(process.queued().values()) > count:  # noqa: ASYNC110 - told by another process
        await asyncio.sleep(0.002)


def _milestones(exchanges: int) -> list[AnyMilestone]:
    """Return the milestones of short conversations, each request with its history."""
    found: list[AnyMilestone] = []
    history: list[dict[str, str]] = []
    for number in range(exchanges):
        turn = number % TURNS
        if not turn:
            history = []
        history.append({"role": "user", "content": f"What about number {number}? " + "x" * 200})
        answer = {"role": "assistant", "content": f"The answer to {number}. " + "y" * 400}
        found += _exchange(number, turn, history, answer)
        history = [*history, answer]
    return found


def _exchange(
    number: int, turn: int, history: list[dict[str, str]], answer: dict[str, str]
) -> list[AnyMilestone]:
    session, at = f"sess_{number // TURNS:020d}", 1_700_000_000.0 + number / 100
    tag = SessionTag(
        session_id=session,
        relation="continue" if turn else "first",
        source="prefix" if turn else "new",
        confidence=1.0,
        root_session_id=session,
    )
    body = json.dumps({"model": "gpt-4o", "messages": history}).encode()
    choice = {"index": 0, "message": answer, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100 * turn, "completion_tokens": 90, "total_tokens": 90 + 100 * turn}
    reply = json.dumps({"model": "gpt-4o", "choices": [choice], "usage": usage}).encode()
    response = Response(
        200,
        (("Content-Type", "application/json"),),
        reply,
        len(reply),
        800.0,
        790.0,
        streamed=False,
        usage=Usage(100 * turn, 90),
        model="gpt-4o",
        finish_reason="stop",
    )
    arrived = Arrived(
        session_id=session,
        request_id=f"req_{number:020d}",
        at=at,
        session=tag,
        client=Client("192.0.2.1", "b"),
        request=Request("POST", "/v1/chat/completions", (("User-Agent", "b"),), body, len(body)),
        dialect="openai_chat",
        provider="openai",
        model="gpt-4o",
        stream=False,
        message_count=2 * turn + 1,
        new_messages=2 if turn else 1,
        detection_ms=0.05,
    )
    finished = Finished(
        session_id=session,
        request_id=arrived.request_id,
        at=at + 0.8,
        session=tag,
        dialect=arrived.dialect,
        provider=arrived.provider,
        model=arrived.model,
        response=response,
        overhead_ms=0.5,
        detection_ms=0.05,
    )
    return [arrived, finished]
