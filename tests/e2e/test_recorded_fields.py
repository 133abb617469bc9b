"""Conversations of every kind leave every promised event, field, table, column and index."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions import app
from gateway_sessions.config import load
from gateway_sessions.recording.child import Spawned
from gateway_sessions.recording.process import RecordingProcess
from tests.e2e.all_kinds import SCRIPTED, answer, fill, hold
from tests.e2e.promised import COLUMNS, FIELDS, INDEXES, REASONS
from tests.web.harness import upstream

Json = dict[str, Any]
DYNAMIC = {"by_tool", "by_model", "dropped", "request_headers"}
"""Objects whose keys are names from outside."""


@asynccontextmanager
async def gateway(folder: Path, scripted: str, **changes: Any) -> AsyncIterator[app.Running]:
    """Yield a gateway that records everything there is into a folder."""
    recording = {
        "jsonl": {"directory": str(folder / "sessions")},
        "sqlite": {"path": str(folder / "sessions.db")},
        "include_streaming_events": True,
    }
    source = {
        "server": {"port": 0},
        "upstreams": [
            {"url": "http://127.0.0.1:1", "match": {"headers": {"x-script": "gone"}}},
            {"url": scripted, "match": {"headers": SCRIPTED}},
            {"url": "builtin://echo"},
        ],
        "interceptors": [],
        "logging": {"file": None},
        "state_directory": str(folder / "state"),
        "session_recording": recording | changes.pop("recording", {}),
        **changes,
    }
    running = await app.start(load(source, environ={}))
    try:
        yield running
    finally:
        await running.stop()


def recorder(running: app.Running) -> RecordingProcess:
    """Return what records for a gateway."""
    process = running.assembly.gateway._recording
    assert isinstance(process, RecordingProcess)
    return process


async def _record(folder: Path) -> None:
    async with upstream(answer) as provider:
        async with gateway(folder, provider.url) as running:
            await hold(running.url)
            core = running.assembly.gateway
            core.clock = lambda: time.time() + 7200
            core.stats()  # which looks for sessions that have expired
            core.clock = time.time
            await fill(running.url, 3, 10)
        async with gateway(folder, provider.url, session={"max_sessions": 1}) as running:
            await fill(running.url, 3, 10)
        small = {"worker": {"channel_buffer_size": 20}}
        async with gateway(folder, provider.url, recording=small) as running:
            child = recorder(running)._link._child
            assert isinstance(child, Spawned)
            child.process.send_signal(signal.SIGSTOP)
            await fill(running.url, 40, 100_000)
            child.process.send_signal(signal.SIGCONT)
            await recorder(running).flush()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what was recorded of conversations of every kind."""
    made = tmp_path_factory.mktemp("recorded")
    asyncio.run(_record(made))
    return made


@pytest.fixture(scope="module")
def events(folder: Path) -> list[Json]:
    """Return all events of all session files."""
    paths = (folder / "sessions").glob("*/*.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield the database that was recorded into."""
    with closing(sqlite3.connect(folder / "sessions.db")) as connection:
        yield connection


def fields_in(value: Any, name: str = "") -> Iterator[str]:
    """Yield the names of all fields that are not null, with dots between them."""
    if value is None:
        return
    if name:
        yield name
    if isinstance(value, dict):
        free = name.rpartition(".")[2] in DYNAMIC
        for key, inner in value.items():
            yield from fields_in(inner, ".".join(filter(None, (name, "*" if free else key))))


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_of_every_event_is_recorded(events: list[Json], kind: str) -> None:
    found = {name for event in events if event["type"] == kind for name in fields_in(event)}
    assert FIELDS[kind] - found == set()


def test_answers_that_the_gateway_gives_itself_are_recorded(events: list[Json]) -> None:
    (answer,) = [event for event in events if event.get("status") == 502]
    assert answer["type"] == "response_recorded"
    assert answer["response_headers"]["content-type"] == "application/json"
    assert "can not be reached" in answer["response_json"]["error"]["message"]


def test_sessions_end_for_every_reason(events: list[Json]) -> None:
    assert {event["reason"] for event in events if event["type"] == "completed"} == REASONS


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_of_every_table_is_filled(database: sqlite3.Connection, table: str) -> None:
    empty = [
        column
        for column in COLUMNS[table]
        if not database.execute(
            f"SELECT COUNT(*) FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (0, '')"
        ).fetchone()[0]
    ]
    assert empty == []


def test_every_index_is_there_under_its_name(database: sqlite3.Connection) -> None:
    found = dict(database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'"))
    made = {name: str(sql).partition(" ON ")[2] for name, sql in found.items() if name in INDEXES}
    assert made == INDEXES


def test_texts_can_be_searched(database: sqlite3.Connection) -> None:
    query = "SELECT COUNT(*) FROM session_search WHERE session_search MATCH 'lighthouse'"
    assert database.execute(query).fetchone()[0] > 0
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_times_compare_rightly_with_those_of_the_database(database: sqlite3.Connection) -> None:
    for column in ("started_at", "last_active_at", "completed_at", "created_at"):
        values = database.execute(f"SELECT {column} FROM sessions WHERE {column} NOT NULL")
        shape = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
        assert all(shape.fullmatch(value) for (value,) in values)


def test_files_are_where_and_how_they_are_promised(folder: Path, events: list[Json]) -> None:
    files = list((folder / "sessions").glob("*/*.jsonl"))
    assert {path.stem for path in files} == {event["session_id"] for event in events}
    for path in files:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", path.stem)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        raw = path.read_bytes()
        assert raw.endswith(b"\n")
        lines = [json.loads(line) for line in raw.split(b"\n")[:-1]]
        assert len(raw.decode().splitlines()) == len(lines)
        assert {line["session_id"] for line in lines} == {path.stem}
        assert "record_version" in lines[0]
        assert lines[0]["timestamp"].startswith(path.parent.name)


def test_both_have_the_same_sessions_and_exchanges(
    database: sqlite3.Connection, events: list[Json]
) -> None:
    sessions = {event["session_id"] for event in events if event["type"] == "started"}
    assert {row[0] for row in database.execute("SELECT session_id FROM sessions")} >= sessions
    done = {(e["session_id"], e["request_id"]) for e in events if e["type"] == "request_completed"}
    query = "SELECT session_id, request_id FROM session_stats WHERE success IS NOT NULL"
    assert set(database.execute(query)) == done
