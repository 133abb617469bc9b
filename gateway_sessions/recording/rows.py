"""Events to rows, the same for every SQL database: what each event brings into which row."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from gateway_sessions import events
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.known_rows import KnownRows
from gateway_sessions.recording.row_changes import MS_PARTS, USD_PARTS, Changes, rounded
from gateway_sessions.recording.tables import ExchangeRow, Tables

MAX_TEXT = 1_000_000
"""Characters of a text that the database keeps; the session files have all of it."""
MAX_TITLE = 80
"""Characters of a session's title."""


def apply(batch: Sequence[SessionEvent], database: Tables, known: KnownRows | None = None) -> None:
    """Put events into the tables, all of them or, where it raises, none.

    ``known`` is what earlier batches have left, for a database that nobody else writes to.
    Raises what the database raises, and `ValueError`, `TypeError` or `KeyError` for an event
    that has no sense; the transaction must then be undone, and what is known be forgotten.
    """
    changes = Changes(database, KnownRows() if known is None else known)
    changes.read(batch)
    for event in batch:
        _TAKE[type(event)](changes, event)
    changes.write()


@lru_cache(maxsize=1024)
def sql_time(timestamp: str) -> str:
    """Return an event's time as ``YYYY-MM-DD HH:MM:SS.ffffff`` in UTC; raises `ValueError`."""
    # Kept for a while: the events of an exchange have few times between them.
    if len(timestamp) == 27 and timestamp[10] == "T" and timestamp[26] == "Z":
        return f"{timestamp[:10]} {timestamp[11:26]}"
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        raise ValueError(f"{timestamp!r} has no time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def text_size(event: SessionEvent) -> int:
    """Return how many characters of texts an event brings into the tables."""
    text = _TEXT.get(type(event))
    return 0 if text is None else len(text(event) or "")


def _started(changes: Changes, event: events.Started) -> None:
    at = sql_time(event.timestamp)
    row, _ = changes.session(event, at)
    row.started_at = min(row.started_at, at)
    if event.parent_session_id is not None:  # not told again when a session is taken up again
        row.parent_session_id = event.parent_session_id
        row.root_session_id = event.root_session_id
    row.provider = event.provider
    row.listener = event.listener
    row.model_requested = row.model_requested or event.model_requested
    row.is_streaming |= event.is_streaming
    row.client_ip = event.metadata.client_ip
    row.user_agent = event.metadata.user_agent


def _request_recorded(changes: Changes, event: events.RequestRecorded) -> None:
    at = sql_time(event.timestamp)
    session, newest = changes.session(event, at)
    session.is_streaming |= event.is_streaming
    text = _text(event.request_text)
    if text is not None:
        session.title = session.title or _title(text)
        changes.text(event, request=text)
    if newest:
        session.request_id = event.request_id
        session.model_requested = event.model_requested
        session.request_text = text if text is not None else session.request_text
        session.completed_at = None
    row = changes.exchange(event, session, at)
    row.model_requested = event.model_requested
    row.model_name = row.model_name or event.model_requested
    row.relation, row.source = event.relation, event.source
    row.confidence = event.confidence
    row.estimated_tokens = event.estimated_tokens
    row.pre_processing_ms = _ms(event.pre_processing_ms)
    row.request_size_bytes = event.request_size_bytes
    row.message_count = event.message_count
    row.history_messages = event.history_messages
    row.has_system_prompt = int(event.has_system_prompt)
    row.has_tools = int(event.has_tools)
    row.tool_count = event.tool_count
    row.is_streaming = int(event.is_streaming)


def _stream_started(changes: Changes, event: events.StreamStarted) -> None:
    at = sql_time(event.timestamp)
    session, _ = changes.session(event, at)
    session.is_streaming = 1
    row = changes.exchange(event, session, at)
    row.is_streaming = 1
    row.time_to_first_token_ms = _ms(event.time_to_first_token_ms)
    _stream(changes, row, at, None)


def _stream_event(changes: Changes, event: events.StreamEvent) -> None:
    at = sql_time(event.timestamp)
    changes.session(event, at)
    changes.chunks.append(
        (
            event.session_id,
            event.request_id,
            event.sequence,
            _ms(event.elapsed_ms),
            event.size_bytes,
            _text(event.data),
            at,
        )
    )


def _response_recorded(changes: Changes, event: events.ResponseRecorded) -> None:
    at = sql_time(event.timestamp)
    session, newest = changes.session(event, at)
    text = _text(event.response_text)
    if newest:
        session.model_used = event.model_used
        session.response_text = text if text is not None else session.response_text
    changes.text(event, response=text)
    row = changes.exchange(event, session, at)
    row.model_name = event.model_used
    row.status = event.status
    stats = event.stats
    row.provider_latency_ms = _ms(stats.provider_latency_ms)
    row.post_processing_ms = _ms(stats.post_processing_ms)
    row.proxy_overhead_ms = _ms(stats.total_proxy_overhead_ms)
    row.response_size_bytes = stats.response_size_bytes
    row.content_blocks = stats.content_blocks
    row.tool_call_count = len(stats.tool_calls)
    row.has_refusal = int(stats.has_refusal)
    row.cost_usd = None if stats.cost_usd is None else rounded(stats.cost_usd, USD_PARTS)
    _tokens(row, stats.tokens or event.tokens)
    if stats.is_streaming:
        session.is_streaming = row.is_streaming = 1
        row.chunk_count = stats.chunk_count
        row.streaming_duration_ms = _ms(stats.streaming_duration_ms)
        if stats.time_to_first_token_ms is not None:
            row.time_to_first_token_ms = _ms(stats.time_to_first_token_ms)
        _stream(changes, row, at, stats.chunk_latency)


def _tokens(row: ExchangeRow, tokens: events.Tokens | None) -> None:
    if tokens is None:
        return
    row.input_tokens = tokens.input_tokens
    row.output_tokens = tokens.output_tokens
    row.thinking_tokens = tokens.thinking_tokens
    row.reasoning_tokens = tokens.reasoning_tokens
    row.cache_read_tokens = tokens.cache_read_tokens
    row.cache_creation_tokens = tokens.cache_creation_tokens
    row.audio_input_tokens = tokens.audio_input_tokens
    row.audio_output_tokens = tokens.audio_output_tokens
    row.total_tokens = tokens.total_tokens
    row.tokens_per_second = _ms(tokens.tokens_per_second)
    row.thinking_percentage = _ms(tokens.thinking_percentage)


def _stream(changes: Changes, row: ExchangeRow, at: str, latency: events.Latency | None) -> None:
    times = (None,) * 6 if latency is None else tuple(map(_ms, msgspec.structs.astuple(latency)))
    changes.streams.append(
        (
            row.session_id,
            row.request_id,
            row.model_name,
            row.time_to_first_token_ms,
            row.chunk_count,
            row.streaming_duration_ms,
            *times,
            at,
        )
    )


def _tool_call_recorded(changes: Changes, event: events.ToolCallRecorded) -> None:
    at = sql_time(event.timestamp)
    changes.session(event, at)
    exchange = changes.known_exchange(event)
    changes.tools.append(
        (
            event.session_id,
            event.request_id,
            event.tool_call_id,
            event.tool_name,
            _raw(event.tool_arguments),
            _ms(event.execution_time_ms),
            event.input_size_bytes,
            event.output_size_bytes,
            _flag(event.success),
            at,
            None if exchange is None else exchange.model_name,
        )
    )


def _request_completed(changes: Changes, event: events.RequestCompleted) -> None:
    at = sql_time(event.timestamp)
    session, newest = changes.session(event, at)
    if newest:
        session.success = int(event.success)
        session.error_message = event.error
        session.finish_reason = event.finish_reason
    row = changes.exchange(event, session, at)
    row.success = int(event.success)
    row.error_message = event.error or row.error_message
    row.finish_reason = event.finish_reason
    row.total_duration_ms = _ms(event.total_duration_ms)


def _error(changes: Changes, event: events.Error) -> None:
    at = sql_time(event.timestamp)
    session, newest = changes.session(event, at)
    if newest:
        session.error_message = event.error_message
    exchange = changes.known_exchange(event)
    if exchange is not None:
        exchange.error_message = event.error_message


def _completed(changes: Changes, event: events.Completed) -> None:
    at = sql_time(event.timestamp)
    session, newest = changes.session(event, at)
    if newest:
        session.completed_at = at
        session.success = int(event.success)
        session.error_message = event.error
        session.finish_reason = event.finish_reason


def _loop_recorded(changes: Changes, event: events.LoopRecorded) -> None:
    changes.loops.take(event, sql_time(event.timestamp))


def _session_reported(changes: Changes, event: events.SessionReported) -> None:
    row, newest = changes.session(event, sql_time(event.timestamp))
    if newest:
        row.provider = event.provider
        row.title = _title(event.title or "") or row.title
        row.model_requested = event.model or row.model_requested
        row.model_used = row.model_used or event.model


def _message_recorded(changes: Changes, event: events.MessageRecorded) -> None:
    at = sql_time(event.timestamp)
    session, newest = changes.session(event, at)
    text = _text(event.content)
    asked = event.role == "user"
    if asked:
        session.title = session.title or _title(text or "")
        changes.text(event, request=text)
    else:
        changes.text(event, response=text)
    if newest and text:
        setattr(session, "request_text" if asked else "response_text", text)
    changes.messages[event.session_id, event.message_id] = (
        event.session_id,
        event.message_id,
        event.role,
        text,
        event.content_characters,
        event.model,
        event.parent_id,
        _raw(event.metadata),
        int(event.is_complete),
        sql_time(event.created_at),
        at,
    )


def _message_removed(changes: Changes, event: events.MessageRemoved) -> None:
    at = sql_time(event.timestamp)
    changes.session(event, at)
    key = event.session_id, event.message_id
    changes.messages.pop(key, None)
    changes.removed[key] = at
    changes.forget_text(event)


def _nothing(changes: Changes, event: SessionEvent) -> None:
    """Leave out what the tables have in another form, or no place for."""
    del changes, event


def _ms(value: float | None) -> float | None:
    return None if value is None else rounded(value, MS_PARTS)


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _text(text: str | None) -> str | None:
    return text if text is None else text[:MAX_TEXT]


def _raw(raw: msgspec.Raw | None) -> str | None:
    return None if raw is None else bytes(raw).decode("utf-8", "replace")[:MAX_TEXT]


def _title(text: str) -> str | None:
    words = " ".join(text[: MAX_TITLE * 5].split())
    return words if len(words) <= MAX_TITLE else f"{words[: MAX_TITLE - 1]}…"


_TEXT: dict[type[SessionEvent], Callable[[Any], Sized | None]] = {
    events.RequestRecorded: attrgetter("request_text"),
    events.ResponseRecorded: attrgetter("response_text"),
    events.StreamEvent: attrgetter("data"),
    events.ToolCallRecorded: attrgetter("tool_arguments"),
    events.MessageRecorded: attrgetter("content"),
}
"""The one text of an event."""

_TAKE: dict[type[SessionEvent], Callable[[Changes, Any], None]] = {
    events.Started: _started,
    events.RequestRecorded: _request_recorded,
    events.StreamStarted: _stream_started,
    events.StreamEvent: _stream_event,
    events.ResponseRecorded: _response_recorded,
    events.ToolCallRecorded: _tool_call_recorded,
    events.RequestCompleted: _request_completed,
    events.StatsSnapshot: _nothing,
    events.Completed: _completed,
    events.Error: _error,
    events.Gap: _nothing,
    events.LoopRecorded: _loop_recorded,
    events.SessionReported: _session_reported,
    events.MessageRecorded: _message_recorded,
    events.MessageRemoved: _message_removed,
}
