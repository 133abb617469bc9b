"""From the configuration to writers, and every key of it to what it changes."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_sessions.analysis.scribe import Scribe
from gateway_sessions.config import load
from gateway_sessions.config.keys import leaves
from gateway_sessions.config.recording import SessionRecording, WriterEntry
from gateway_sessions.errors import ConfigError
from gateway_sessions.milestones import AnyMilestone, Chunk
from gateway_sessions.personal_data import Personal
from gateway_sessions.recording.process import RecordingProcess
from gateway_sessions.recording.process_main import options_of
from gateway_sessions.recording.recorder import build_from_config, build_recorder
from gateway_sessions.recording.writers import check_writers, entries, make_writers
from gateway_sessions.telemetry import Telemetry
from tests.recording.recordings import WRITER, arrived, finished, lines


def block(text: dict[str, Any]) -> SessionRecording:
    """Return a ``session_recording`` block."""
    return load({"session_recording": text}, environ={}).config.session_recording


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return ``{"a": {"b": value}}`` for ``a.b``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    found: dict[str, Any] = value
    return found


CHANGED: dict[str, Any] = {
    "enabled": False,
    "jsonl.enabled": False,
    "jsonl.directory": "~/elsewhere",
    "jsonl.retention.max_age_days": 31,
    "jsonl.retention.max_total_size_gb": 0.5,
    "jsonl.retention.compress_after_days": 8,
    "jsonl.retention.cleanup_interval_minutes": 61,
    "sqlite.enabled": False,
    "sqlite.path": "/elsewhere.db",
    "sqlite.max_connections": 6,
    "postgres.enabled": True,
    "postgres.url": "postgresql://elsewhere",
    "writers": [{"type": WRITER, "config": {"path": "x"}}],
    "worker.batch_size": 7,
    "worker.batch_timeout_ms": 8,
    "worker.channel_buffer_size": 9,
    "content": "metadata",
    "include_streaming_events": True,
    "capture_user_agent": False,
    "max_user_agent_length": 7,
    "redaction.enabled": True,
    "redaction.mode": "remove",
    "redaction.patterns": {"id": "abc"},
}
"""Another value for every key of the block that is seen below."""

ELSEWHERE = {"prices_file"}
"""Keys whose effect has a test of its own."""

NEEDED: dict[str, dict[str, Any]] = {
    "postgres.enabled": {"postgres": {"url": "postgresql://somewhere"}},
    "postgres.url": {"postgres": {"enabled": True, "url": "postgresql://somewhere"}},
    "redaction.mode": {"redaction": {"enabled": True}},
    "redaction.patterns": {"redaction": {"enabled": True}},
}
"""What must be set besides for a key to matter."""


def seen(config: SessionRecording) -> dict[str, Any]:
    """Return everything that a configuration brings about."""
    process = RecordingProcess(config, Telemetry())
    quiet = msgspec.structs.replace(
        config,
        jsonl=msgspec.structs.replace(config.jsonl, enabled=False),
        sqlite=msgspec.structs.replace(config.sqlite, enabled=False),
        postgres=msgspec.structs.replace(config.postgres, enabled=False),
        writers=(WriterEntry(type=WRITER, config={"path": "never-written"}),),
    )
    recorder = build_recorder(quiet)
    personal: Personal | None = recorder._personal
    limits = [lane._limits for lane in recorder._lanes]
    asyncio.run(recorder.shutdown())
    return {
        "writers": [(entry.type, entry.config) for entry in entries(config)],
        "limits": limits,
        "room": process._lane._limits.max_count,
        "chunks": process.wants_chunks,
        "content": options_of(config),
        "cleaned": personal and personal.text("jane@example.com abc"),
    }


def test_every_key_is_tried() -> None:
    assert {key for key, _ in leaves(SessionRecording)} == set(CHANGED) | ELSEWHERE


@pytest.mark.parametrize("key", CHANGED)
def test_every_key_changes_something(key: str) -> None:
    needed = NEEDED.get(key, {})
    changed: dict[str, Any] = {}
    for source in (needed, nested(key, CHANGED[key])):
        for name, value in source.items():
            merged = changed.get(name, {}) | value if isinstance(value, dict) else value
            changed[name] = merged
    assert seen(block(changed)) != seen(block(needed))


@pytest.mark.parametrize("jsonl", [True, False])
@pytest.mark.parametrize("database", [True, False])
async def test_all_combinations_of_the_two_writers_are_valid(
    tmp_path: Path, jsonl: bool, database: bool
) -> None:
    folder, file = tmp_path / "sessions", tmp_path / "sessions.db"
    config = block(
        {
            "jsonl": {"enabled": jsonl, "directory": str(folder)},
            "sqlite": {"enabled": database, "path": str(file)},
        }
    )
    recorder = build_from_config(config)
    assert (recorder is None) is not (jsonl or database)
    if recorder is not None:
        scribe = Scribe(options_of(config), None)
        for event in [*scribe.take(arrived(1)), *scribe.take(finished(1))]:
            recorder.record_event(event)
        await recorder.shutdown()
    assert (folder.exists(), file.exists()) == (jsonl, database)
    if jsonl:
        (path,) = folder.glob("*/*.jsonl")
        assert lines(path)[0]["type"] == "started"
    if database:
        connection = sqlite3.connect(file)
        assert connection.execute("SELECT COUNT(*) FROM sessions").fetchone() == (1,)
        connection.close()


async def recorded(
    tmp_path: Path, *milestones: AnyMilestone, **options: Any
) -> list[dict[str, Any]]:
    """Return what is recorded of milestones under a configuration."""
    path = tmp_path / "lines"
    off = {"jsonl": {"enabled": False}, "sqlite": {"enabled": False}}
    config = block(off | {"writers": [{"type": WRITER, "config": {"path": str(path)}}]} | options)
    recorder = build_from_config(config)
    assert recorder is not None
    scribe = Scribe(options_of(config), None)
    for milestone in milestones:
        for event in scribe.take(milestone):
            recorder.record_event(event)
    await recorder.shutdown()
    return lines(path)


async def test_what_metadata_and_full_content_are(tmp_path: Path) -> None:
    (_, full, *_) = await recorded(tmp_path / "", arrived(1))
    assert full["request_text"] == "question 1"
    (tmp_path / "lines").unlink()
    (_, facts, *_) = await recorded(tmp_path, arrived(1), content="metadata")
    assert "request_text" not in facts
    assert facts["message_count"] == 1


async def test_chunks_are_recorded_where_that_is_asked_for(tmp_path: Path) -> None:
    piece = Chunk(
        session_id="sess_a", request_id="req_1", at=1.0, sequence=0, elapsed_ms=1.0, data=b"x"
    )
    (*_, last) = await recorded(tmp_path, arrived(1), piece)
    assert last["type"] == "request_recorded"
    (*_, last) = await recorded(tmp_path, arrived(1), piece, include_streaming_events=True)
    assert (last["type"], last["data"]) == ("stream_event", "x")


@pytest.mark.parametrize(
    ("options", "agent"),
    [
        ({}, "tests/1"),
        ({"max_user_agent_length": 3}, "tes"),
        ({"capture_user_agent": False}, None),
    ],
)
async def test_the_user_agent(tmp_path: Path, options: dict[str, Any], agent: str | None) -> None:
    (started, *_) = await recorded(tmp_path, arrived(1), **options)
    assert started["metadata"].get("user_agent") == agent


async def test_personal_data_is_taken_out_where_that_is_asked_for(tmp_path: Path) -> None:
    body = b'{"messages": [{"role": "user", "content": "I am jane@example.com, badge 4711"}]}'
    redaction = {"enabled": True, "mode": "mask", "patterns": {"badge": "badge [0-9]+"}}
    found = await recorded(tmp_path, arrived(1, body=body), redaction=redaction)
    assert found[1]["request_text"] == "I am [EMAIL], [BADGE]"
    text = (tmp_path / "lines").read_text()
    assert "jane" not in text
    assert "4711" not in text


def test_writers_of_the_same_type_have_names_of_their_own(tmp_path: Path) -> None:
    entry = {"type": WRITER, "config": {"path": str(tmp_path / "x")}}
    off = {"jsonl": {"enabled": False}, "sqlite": {"enabled": False}}
    names = [name for name, _ in make_writers(block(off | {"writers": [entry, entry]}))]
    assert names == [WRITER, f"{WRITER}-2"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"writers": [{"type": "jsonlx"}]}, "there is no type 'jsonlx'; did you mean 'jsonl'"),
        ({"writers": [{"type": WRITER}]}, "option 'path' is missing"),
        (
            {"writers": [{"type": WRITER, "enabled": False, "config": {"paht": 1}}]},
            "option 'path' is missing",
        ),
        ({"redaction": {"patterns": {"id": "("}}}, "'id' is no valid RE2 expression"),
        ({"postgres": {"enabled": True}}, r"session_recording\.postgres\.url is missing"),
    ],
)
def test_mistakes_are_told_before_anything_starts(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_writers(block(options))
