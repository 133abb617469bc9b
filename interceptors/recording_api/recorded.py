"""Reported sessions as events for the recorder, so that they stand beside those detected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from gateway_sessions import session_events
from interceptors.recording_api.protocol import Message
from interceptors.recording_api.rows import SessionRow
from interceptors.recording_api.upkeep import Parcel

ORIGIN = "recording_api"
"""The listener of reported sessions, and the beginning of their request ids."""


def events_of(parcel: Parcel, *, texts: bool) -> Iterator[session_events.SessionEvent]:
    """Yield what the recorder is to have, in order; ``texts`` false leaves out what was said."""
    session = parcel.session
    if not session.told:
        yield _started(session)
    yield _reported(session, texts=texts)
    at = timestamp(session.last_activity)
    for message_id in parcel.removed:
        yield session_events.MessageRemoved(
            session_id=session.session_id,
            request_id=f"{ORIGIN}:{message_id}",
            timestamp=at,
            message_id=message_id,
        )
    for row, message in parcel.messages:
        yield _message(session, row.size, message, at, texts=texts)
    if session.ended_at is not None and parcel.is_all:
        yield _completed(session)


def timestamp(milliseconds: int) -> str:
    """Return Unix milliseconds as events write times."""
    seconds, rest = divmod(milliseconds, 1000)
    whole = datetime.fromtimestamp(seconds, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{rest:03d}000Z"


def _started(session: SessionRow) -> session_events.Started:
    return session_events.Started(
        session_id=session.session_id,
        request_id=ORIGIN,
        timestamp=timestamp(session.started_at),
        model_requested=session.model or "",
        provider=session.provider,
        listener=ORIGIN,
        is_streaming=False,
        root_session_id=session.session_id,
        relation="first",
        source="explicit",
        confidence=1.0,
        metadata=session_events.Metadata(request_headers={}, external_id=session.session_id),
    )


def _reported(session: SessionRow, *, texts: bool) -> session_events.SessionReported:
    return session_events.SessionReported(
        session_id=session.session_id,
        request_id=ORIGIN,
        timestamp=timestamp(session.last_activity),
        provider=session.provider,
        message_count=session.message_count,
        model=session.model,
        title=session.title if texts else None,
        workspace_id=session.workspace_id,
        workspace_path=session.workspace_path,
        metadata=_raw(session.metadata) if texts else None,
    )


def _message(
    session: SessionRow, size: int, message: Message, at: str, *, texts: bool
) -> session_events.MessageRecorded:
    return session_events.MessageRecorded(
        session_id=session.session_id,
        request_id=f"{ORIGIN}:{message.message_id}",
        timestamp=at,
        message_id=message.message_id,
        role=message.role,
        created_at=timestamp(message.created_at),
        is_complete=message.is_complete,
        content_characters=size,
        content=message.content if texts else None,
        model=message.model,
        parent_id=message.parent_id,
        metadata=msgspec.Raw(msgspec.json.encode(message.metadata))
        if texts and message.metadata is not None
        else None,
    )


def _completed(session: SessionRow) -> session_events.Completed:
    assert session.ended_at is not None
    return session_events.Completed(
        session_id=session.session_id,
        request_id=ORIGIN,
        timestamp=timestamp(session.ended_at),
        success=True,
        reason=session.end_reason or "ended",
        final_stats=_no_stats(session, float(session.ended_at - session.started_at)),
        total_input=0,
        total_output=0,
        total_thinking=0,
        total_reasoning=0,
        grand_total=0,
    )


def _no_stats(session: SessionRow, duration_ms: float) -> session_events.FinalStats:
    """Return the figures of a session whose exchanges nobody saw."""
    return session_events.FinalStats(
        total_duration_ms=duration_ms,
        provider_time_ms=0.0,
        proxy_overhead_ms=0.0,
        request_count=0,
        total_tokens=session_events.TotalTokens(
            total_input=0,
            total_output=0,
            thinking=0,
            reasoning=0,
            cache_read=0,
            cache_creation=0,
            audio_input=0,
            audio_output=0,
            grand_total=0,
            by_model={},
        ),
        tool_summary=session_events.ToolSummary(
            total_tool_calls=0,
            unique_tool_count=0,
            by_tool={},
            total_tool_time_ms=0.0,
            tool_error_count=0,
        ),
        performance=session_events.Performance(
            avg_provider_latency_ms=0.0,
            p50_latency_ms=0.0,
            p95_latency_ms=0.0,
            p99_latency_ms=0.0,
            max_latency_ms=0.0,
            min_latency_ms=0.0,
            avg_pre_processing_ms=0.0,
            avg_post_processing_ms=0.0,
            proxy_overhead_percentage=0.0,
        ),
        estimated_cost=session_events.EstimatedCost(
            provider=session.provider,
            model=session.model or "",
            input_cost_usd=None,
            output_cost_usd=None,
            total_cost_usd=None,
            cost_per_1k_tokens=None,
        ),
    )


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
