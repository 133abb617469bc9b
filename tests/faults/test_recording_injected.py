"""The system refuses what writers ask of it, call by call; the books stay right."""

from __future__ import annotations

import resource
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.config.recording import Jsonl, SessionRecording, Sqlite, Worker
from gateway_sessions.recording.jsontext import json_line
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.recording.recordable import Recordable
from gateway_sessions.telemetry import Telemetry
from tests.faults.test_recording import Books
from tests.recording.recordings import arrived, ended, finished, lines, missing
from tests.recording.writers import Ledger

needs_strace = pytest.mark.needs("strace", "apt-get install strace")

DAY = "2023-11-14"
"""On which the events of tests happen."""
FEW, MANY = "2..4", "2..12"
"""Calls that fail: fewer than a writer tries again while somebody waits for a flush, and more."""


class Injected:
    """A recorder process whose system calls fail, and what became of what it was given."""

    def __init__(self, process: RecordingProcess, telemetry: Telemetry) -> None:
        self.ledger = Ledger(telemetry)
        self.process = process

    async def record(self, *items: Recordable) -> None:
        """Record items and wait until they are written or given up."""
        for item in items:
            assert self.process.record(item)
        await self.process.flush()


@asynccontextmanager
async def injected(
    folder: Path, injection: str, path: Path, monkeypatch: pytest.MonkeyPatch, **writer: Any
) -> AsyncIterator[Injected]:
    """Yield a recorder with one writer, under strace: calls on ``path`` get what is injected."""
    traced = folder / "python"
    options = f"-f -qqq -o {folder}/calls -P {path} -e trace=file,desc -e inject={injection}"
    traced.write_text(f'#!/bin/sh\nexec strace {options} {sys.executable} "$@"\n')
    traced.chmod(0o700)
    telemetry = Telemetry()
    config = SessionRecording(worker=Worker(batch_size=10, batch_timeout_ms=1), **writer)
    process = RecordingProcess(config, telemetry)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(traced))
        await process.open()
    try:
        yield Injected(process, telemetry)
    finally:
        await process.shutdown()


def files(folder: Path) -> dict[str, Any]:
    """Return the configuration of a recorder that writes session files only."""
    jsonl = Jsonl(directory=str(folder / "sessions"))
    return {"jsonl": jsonl, "sqlite": Sqlite(enabled=False)}


def events(items: Sequence[dict[str, Any]]) -> list[str]:
    """Return the request ids of what is no gap."""
    return [item["request_id"] for item in items if item["type"] != "gap"]


@needs_strace
@pytest.mark.parametrize("call", ["write", "fsync"])
async def test_files_after_a_few_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "sessions" / DAY / "sess_a.jsonl"
    injection = f"{call}:error=EIO:when={FEW}"
    async with injected(tmp_path, injection, path, monkeypatch, **files(tmp_path)) as under_test:
        for number in range(6):
            await under_test.record(ended(number))
        assert under_test.process.problems() == []
    assert (tmp_path / "calls").read_text().count("EIO") >= 3
    assert under_test.ledger.dropped == {}
    assert under_test.ledger.written == {"jsonl": 6}
    assert events(lines(path)) == [f"req_{number}" for number in range(6)]


@needs_strace
async def test_files_after_more_errors_than_anybody_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sessions" / DAY / "sess_a.jsonl"
    injection = f"write:error=EIO:when={MANY}"
    offered = 0
    problems: set[str] = set()
    async with injected(tmp_path, injection, path, monkeypatch, **files(tmp_path)) as under_test:
        while not offered or under_test.process.problems() or offered < 5:
            await under_test.record(ended(offered), ended(offered + 1, "sess_b"))
            offered += 2
            problems.update(under_test.process.problems())
    assert any("Input/output error" in problem for problem in problems)
    dropped = sum(under_test.ledger.dropped.values())
    assert 0 < dropped < offered
    assert under_test.ledger.written["jsonl"] + dropped == offered
    found = [line for file in path.parent.iterdir() for line in lines(file)]
    assert missing(found) == dropped
    assert len(events(found)) == offered - dropped


@needs_strace
async def test_files_where_calls_take_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sessions" / DAY / "sess_a.jsonl"
    injection = "write:retval=0:when=1+2"  # every second call says that it took no byte
    async with injected(tmp_path, injection, path, monkeypatch, **files(tmp_path)) as under_test:
        for number in range(6):
            await under_test.record(ended(number))
    assert under_test.ledger.dropped == {}
    assert events(lines(path)) == [f"req_{number}" for number in range(6)]


async def test_files_where_calls_take_a_part(tmp_path: Path) -> None:
    """Half a line is no event, and nothing stays of it."""
    books = Books(tmp_path)
    await books.process.open()
    line = len(json_line(ended(1)))
    books.offer("sess_a")
    await books.process.flush()
    for number in range(1, 3):
        books.limit(2 * number * line + line // number)
        books.offer("sess_a", "sess_a", "sess_a")
        await books.process.flush()
        books.limit(resource.RLIM_INFINITY)
        books.offer("sess_a")
        await books.process.flush()
    await books.process.shutdown()
    dropped = sum(books.ledger.dropped.values())
    assert dropped > 0
    assert books.ledger.written["jsonl"] + dropped == books.offered
    assert missing(books.written) == dropped
    assert len(events(books.written)) == books.ledger.written["jsonl"]


@needs_strace
@pytest.mark.parametrize(("call", "when"), [("pwrite64", "200..202"), ("fsync", "2..4")])
async def test_a_database_after_a_few_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    """They begin after the database is open: who can not make one refuses to start."""
    database = tmp_path / "sessions.db"
    wal = database.with_name("sessions.db-wal")
    injection = f"{call}:error=EIO:when={when}"
    settings: dict[str, Any] = {"jsonl": Jsonl(enabled=False), "sqlite": Sqlite(path=str(database))}
    async with injected(tmp_path, injection, wal, monkeypatch, **settings) as under_test:
        for number in range(30):
            await under_test.record(arrived(number), finished(number))
        assert under_test.process.problems() == []
    assert (tmp_path / "calls").read_text().count("EIO") >= 3
    assert under_test.ledger.dropped == {}
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT COUNT(*) FROM session_stats WHERE success IS NOT NULL"
        assert connection.execute(query).fetchone() == (30,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
