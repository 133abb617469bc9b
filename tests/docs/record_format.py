"""The tables of events and of the database in docs/recording.md, made from the code.

``python -m tests.docs.record_format`` writes them; a test keeps them so.
"""

from __future__ import annotations

import sqlite3
import tempfile
import types
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from bench import report
from gateway_sessions.events import AnyEvent, Part, SessionEvent
from gateway_sessions.storage.migrations import migrate
from gateway_sessions.storage.schema import SQLITE
from gateway_sessions.storage.sqlite import connect, transaction
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "recording.md"

TABLES = {
    "sessions": "one row per session",
    "session_stats": "one row per request, with its place in the session and its figures",
    "session_texts": "what was asked and answered, one row per request",
    "tool_call_executions": "one row per tool call",
    "tool_calls": "the same, counted per request and tool",
    "stream_events": "one row per streamed response",
    "stream_chunks": "one row per chunk, with `include_streaming_events`",
    "daily_stats": "sums per day, provider and model",
    "loops": "what an agent did: one row per prompt with all that it led to",
    "turns": "one row per request of a loop",
    "messages": "one row per message that a client reported through the recording API",
    "schema_version": "which version of the tables this is",
}
"""What each table is for, in the order of the page."""


def page() -> str:
    """Return the page with its generated parts as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    text = report.insert(text, "events", _events())
    return report.insert(text, "tables", _tables())


def _events() -> str:
    rows = []
    common = set(SessionEvent.__struct_fields__)
    for event in get_args(AnyEvent):
        fields = ", ".join(_fields(event, common))
        what = (event.__doc__ or "").partition("\n")[0].rstrip(".").replace("``", "`")
        rows.append([f"`{event.__struct_config__.tag}`", what, fields])
    return report.table(["type", "when", "fields"], rows, figures=False)


def _fields(kind: type[msgspec.Struct], without: set[str]) -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        if field.name in without:
            continue
        optional = "" if field.required else "?"
        yield f"`{field.encode_name}`{optional}{_inner(hints[field.name])}"


def _inner(hint: Any) -> str:
    """Return the fields of a value that has some, in brackets."""
    if get_origin(hint) in {types.UnionType, tuple, dict}:
        return next(filter(None, map(_inner, get_args(hint))), "")
    if isinstance(hint, type) and issubclass(hint, Part):
        return f" ({', '.join(_fields(hint, set()))})"
    return ""


def _tables() -> str:
    rows = [
        [f"`{table}`", what, ", ".join(f"`{column}`" for column in columns()[table])]
        for table, what in TABLES.items()
    ]
    return report.table(["table", "what", "columns"], rows, figures=False)


def columns() -> dict[str, list[str]]:
    """Return the columns of every table and view of the database, but for the search index."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(connect(Path(folder) / "sessions.db")) as connection,
    ):
        migrate(connection, SQLITE, lambda: transaction(connection))
        return _columns(connection)


def _columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'session_search%' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        for (name,) in names
    }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
