"""The configuration's blocks about recording sessions and about clients that report their own."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway_sessions.config import checks
from gateway_sessions.config.keys import FREE_FORM, Key, Section

Whole = Annotated[int, Meta(ge=1)]
"""A count of which there is at least one."""


class Retention(Section, frozen=True, kw_only=True):
    """How long recorded sessions are kept."""

    max_age_days: Annotated[Whole, Key("Days after which a session file is deleted.")] = 30
    max_total_size_gb: Annotated[
        float, Meta(gt=0), Key("Gigabytes of session files, oldest deleted first.")
    ] = 10.0
    compress_after_days: Annotated[Whole, Key("Days after which a day's files are compressed.")] = 7
    cleanup_interval_minutes: Annotated[Whole, Key("Minutes between two clean-ups.")] = 60


class Jsonl(Section, frozen=True, kw_only=True):
    """One file of events per session."""

    enabled: Annotated[bool, Key("Write session files.")] = True
    directory: Annotated[str, Key("Folder of the session files.")] = "~/.gateway-sessions/sessions"
    retention: Retention = Retention()


class Sqlite(Section, frozen=True, kw_only=True):
    """A database of sessions to query."""

    enabled: Annotated[bool, Key("Write the database.")] = True
    path: Annotated[str, Key("File of the database.")] = "~/.gateway-sessions/sessions.db"
    max_connections: Annotated[Whole, Key("Readers at the same time.")] = 5


class Postgres(Section, frozen=True, kw_only=True):
    """The same tables in PostgreSQL."""

    enabled: Annotated[bool, Key("Write to PostgreSQL.")] = False
    url: Annotated[str | None, Key("URL of the database.", secret=True)] = None


class Worker(Section, frozen=True, kw_only=True):
    """How events travel from the requests to the writers."""

    batch_size: Annotated[Whole, Key("Events written at once.")] = 100
    batch_timeout_ms: Annotated[
        Whole, Key("Milliseconds until a part-filled batch is written.")
    ] = 100
    channel_buffer_size: Annotated[Whole, Key("Events that wait at most.")] = 10_000


class Redaction(Section, frozen=True, kw_only=True):
    """Personal data in what is recorded."""

    enabled: Annotated[bool, Key("Take personal data out.")] = False
    mode: Annotated[
        Literal["mask", "remove", "tokenize", "partial"], Key("What is put in its place.")
    ] = "mask"
    patterns: Annotated[
        dict[str, str], Key("Further things to take out: {name: RE2 expression}.")
    ] = msgspec.field(default_factory=dict)


class WriterEntry(Section, frozen=True, kw_only=True):
    """A writer of session events of your own."""

    type: Annotated[str, Key("Name of an installed writer, or module:Class.")]
    enabled: Annotated[bool, Key("Run it.")] = True
    config: Annotated[FREE_FORM, Key("Its own options.")] = msgspec.field(default_factory=dict)


class SessionRecording(Section, frozen=True, kw_only=True):
    """Recording of every session, event by event."""

    enabled: Annotated[bool, Key("Record sessions; false wins over the writers' own switches.")] = (
        True
    )
    jsonl: Jsonl = Jsonl()
    sqlite: Sqlite = Sqlite()
    postgres: Postgres = Postgres()
    writers: Annotated[tuple[WriterEntry, ...], Key("Further writers of session events.")] = ()
    worker: Worker = Worker()
    content: Annotated[
        Literal["full", "metadata"], Key("Record texts too, or only facts about them.")
    ] = "full"
    include_streaming_events: Annotated[bool, Key("Record each chunk of a stream.")] = False
    capture_user_agent: Annotated[bool, Key("Record the client's User-Agent.")] = True
    max_user_agent_length: Annotated[
        int, Meta(ge=0), Key("Characters of the User-Agent that are kept.")
    ] = 255
    prices_file: Annotated[
        str | None, Key("File with prices of your own: {model: {input: 0.2, output: 0.4}}.")
    ] = None
    redaction: Redaction = Redaction()


class RecordingApi(Section, frozen=True, kw_only=True):
    """Sessions that editors and agents report themselves."""

    enabled: Annotated[bool, Key("Accept them.")] = True
    token: Annotated[
        str | None,
        Key(
            "Bearer token for clients that only report; the admin.token is good for it too.",
            secret=True,
            check=checks.not_blank,
        ),
    ] = None
    persist_interval_secs: Annotated[
        float, Meta(gt=0), Key("Seconds until changed sessions are recorded.")
    ] = 5.0
    max_memory_messages: Annotated[
        Whole, Key("Changed messages of a session that are recorded at once.")
    ] = 100
    session_timeout_secs: Annotated[
        float, Meta(gt=0), Key("Silence after which a session is closed.")
    ] = 3600.0
    max_event_bytes: Annotated[Whole, Key("Bytes of one event at most.")] = 1_048_576
