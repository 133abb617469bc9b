"""From the ``session_recording`` block of the configuration to writers of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from gateway_sessions import plugins
from gateway_sessions.config.recording import SessionRecording, WriterEntry
from gateway_sessions.errors import ConfigError
from gateway_sessions.personal_data import Personal
from gateway_sessions.recording.event_lane import EventWriter


def entries(config: SessionRecording) -> list[WriterEntry]:
    """Return what is to be written to: those in the box that are on, then the user's own.

    Nothing where recording as a whole is off.
    """
    if not config.enabled:
        return []
    found: list[WriterEntry] = []
    if config.jsonl.enabled:
        found.append(_entry("jsonl", _jsonl_options(config)))
    if config.sqlite.enabled:
        found.append(_entry("sqlite", _sqlite_options(config)))
    if config.postgres.enabled:
        if config.postgres.url is None:
            raise ConfigError("session_recording.postgres.url is missing: say where to write.")
        found.append(_entry("postgres", {"url": config.postgres.url}))
    return found + [entry for entry in config.writers if entry.enabled]


def check_writers(config: SessionRecording) -> None:
    """Check types and options of all writers without making any; raises `ConfigError`."""
    if config.redaction.patterns:
        Personal(patterns=config.redaction.patterns)
    for entry in (*entries(config), *config.writers):
        plugins.check(entry, plugins.WRITER)


def make_writers(config: SessionRecording) -> list[tuple[str, EventWriter]]:
    """Return the configured writers by name, made and not opened; raises `ConfigError`."""
    named: list[tuple[str, EventWriter]] = []
    seen: dict[str, int] = {}
    for entry in entries(config):
        seen[entry.type] = count = seen.get(entry.type, 0) + 1
        name = entry.type if count == 1 else f"{entry.type}-{count}"
        named.append((name, cast("EventWriter", plugins.made(entry, plugins.WRITER))))
    return named


def _jsonl_options(config: SessionRecording) -> dict[str, Any]:
    retention = config.jsonl.retention
    return {
        "directory": _path(config.jsonl.directory),
        "max_age_days": retention.max_age_days,
        "max_total_size_gb": retention.max_total_size_gb,
        "compress_after_days": retention.compress_after_days,
        "cleanup_interval_minutes": retention.cleanup_interval_minutes,
    }


def _sqlite_options(config: SessionRecording) -> dict[str, Any]:
    options: dict[str, Any] = {
        "path": _path(config.sqlite.path),
        "max_connections": config.sqlite.max_connections,
    }
    if config.jsonl.enabled:
        options["session_files"] = _path(config.jsonl.directory)
    return options


def _entry(kind: str, options: dict[str, Any]) -> WriterEntry:
    return WriterEntry(type=kind, config=options)


def _path(text: str) -> Path:
    return Path(text).expanduser()
