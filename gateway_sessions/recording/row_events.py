"""Rows to events: what the database knows of an exchange, as lines of a session file tell it.

Bodies, headers and new messages are in session files alone; events made of rows are without them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gateway_sessions import events
from gateway_sessions.events import SessionEvent
from gateway_sessions.recording.tables import EXCHANGE_COLUMNS, TEXTS, ExchangeRow
from gateway_sessions.storage.row_values import rfc3339

FIND_EXCHANGES = f"""
SELECT {", ".join(f"e.{column}" for column in EXCHANGE_COLUMNS)},
    {", ".join(f"t.{column}" for column in TEXTS)}
FROM session_stats e LEFT JOIN session_texts t USING (session_id, request_id)
WHERE e.session_id = ? AND e.id > ? AND e.id <= ?
ORDER BY e.id"""  # noqa: S608 - names of columns
"""The exchanges of a session within a range of ids, with their texts."""
_SESSION = (
    "session_id",
    "request_id",
    "started_at",
    "model_requested",
    "provider",
    "listener",
    "is_streaming",
    "parent_session_id",
    "root_session_id",
    "client_ip",
    "user_agent",
)
FIND_SESSION = f"SELECT {', '.join(_SESSION)} FROM sessions WHERE session_id = ?"  # noqa: S608 - as above
_TOOLS = (
    "tool_name",
    "tool_call_id",
    "input_size_bytes",
    "tool_arguments",
    "output_size_bytes",
    "success",
    "execution_time_ms",
    "created_at",
)
FIND_TOOLS = f"""
SELECT {", ".join(_TOOLS)} FROM tool_call_executions
WHERE session_id = ? AND request_id = ? ORDER BY id"""  # noqa: S608 - as above
"""The calls in the answer of an exchange."""

Row = Sequence[Any]


def started(session: Row, first: ExchangeRow) -> events.Started:
    """Return the start of a session, which came with its first exchange."""
    row = dict(zip(_SESSION, session, strict=True))
    return events.Started(
        session_id=row["session_id"],
        request_id=first.request_id,
        timestamp=_time(row["started_at"]),
        model_requested=row["model_requested"] or "",
        provider=row["provider"] or "",
        listener=row["listener"] or "",
        is_streaming=bool(row["is_streaming"]),
        parent_session_id=row["parent_session_id"],
        root_session_id=row["root_session_id"],
        relation=first.relation or "",
        source=first.source or "",
        confidence=first.confidence or 0.0,
        metadata=events.Metadata(
            request_headers={}, client_ip=row["client_ip"], user_agent=row["user_agent"]
        ),
    )


def exchange(row: Row) -> tuple[ExchangeRow, str | None, str | None]:
    """Return an exchange, its question and its answer, of a row that `FIND_EXCHANGES` found."""
    values = dict(zip(EXCHANGE_COLUMNS, row[: len(EXCHANGE_COLUMNS)], strict=True))
    asked, answered = row[len(EXCHANGE_COLUMNS) :]
    return ExchangeRow(**values), asked, answered


def lacking(
    exchange: ExchangeRow,
    asked: str | None,
    answered: str | None,
    tools: Sequence[Row],
    there: Collection[str],
) -> list[SessionEvent]:
    """Return the events of an exchange, in their order, whose types are not among ``there``."""
    found: list[SessionEvent] = []
    if exchange.relation is not None and "request_recorded" not in there:
        found.append(_request(exchange, asked))
    if exchange.status is not None and "response_recorded" not in there:
        calls = [dict(zip(_TOOLS, row, strict=True)) for row in tools]
        found.append(_response(exchange, answered, calls))
        if "tool_call_recorded" not in there:
            found += (_call(exchange, call) for call in calls)
    if exchange.success is not None and "request_completed" not in there:
        found.append(_completed(exchange))
    return found


def _request(row: ExchangeRow, text: str | None) -> events.RequestRecorded:
    return events.RequestRecorded(
        session_id=row.session_id,
        request_id=row.request_id,
        timestamp=_time(row.created_at),
        model_requested=row.model_requested or "",
        relation=row.relation or "",
        source=row.source or "",
        confidence=row.confidence or 0.0,
        estimated_tokens=row.estimated_tokens or 0,
        pre_processing_ms=row.pre_processing_ms or 0.0,
        request_size_bytes=row.request_size_bytes or 0,
        message_count=row.message_count or 0,
        history_messages=row.history_messages or 0,
        has_system_prompt=bool(row.has_system_prompt),
        has_tools=bool(row.has_tools),
        tool_count=row.tool_count or 0,
        is_streaming=bool(row.is_streaming),
        request_text=text,
    )


def _response(
    row: ExchangeRow, text: str | None, calls: Sequence[dict[str, Any]]
) -> events.ResponseRecorded:
    tokens = _tokens(row)
    stats = events.ResponseStats(
        provider_latency_ms=row.provider_latency_ms or 0.0,
        post_processing_ms=row.post_processing_ms or 0.0,
        total_proxy_overhead_ms=row.proxy_overhead_ms or 0.0,
        tokens=tokens,
        tool_calls=tuple(
            events.ToolUse(
                tool_call_id=call["tool_call_id"],
                tool_name=call["tool_name"],
                input_size_bytes=call["input_size_bytes"] or 0,
                tool_arguments=_arguments(call),
            )
            for call in calls
        ),
        response_size_bytes=row.response_size_bytes or 0,
        content_blocks=row.content_blocks or 0,
        has_refusal=bool(row.has_refusal),
        is_streaming=bool(row.is_streaming),
        chunk_count=row.chunk_count,
        streaming_duration_ms=row.streaming_duration_ms,
        time_to_first_token_ms=row.time_to_first_token_ms,
        cost_usd=row.cost_usd,
    )
    return events.ResponseRecorded(
        session_id=row.session_id,
        request_id=row.request_id,
        timestamp=_end(row),
        model_used=row.model_name or "",
        status=row.status or 0,
        stats=stats,
        tokens=tokens,
        response_text=text,
    )


def _tokens(row: ExchangeRow) -> events.Tokens | None:
    if row.total_tokens is None:
        return None
    return events.Tokens(**{name: getattr(row, name) for name in events.Tokens.__struct_fields__})


def _call(row: ExchangeRow, call: dict[str, Any]) -> events.ToolCallRecorded:
    return events.ToolCallRecorded(
        session_id=row.session_id,
        request_id=row.request_id,
        timestamp=_time(call["created_at"]),
        tool_name=call["tool_name"],
        tool_call_id=call["tool_call_id"],
        input_size_bytes=call["input_size_bytes"] or 0,
        tool_arguments=_arguments(call),
    )


def _arguments(call: dict[str, Any]) -> msgspec.Raw | None:
    text = call["tool_arguments"]
    return None if text is None else msgspec.Raw(text.encode())


def _completed(row: ExchangeRow) -> events.RequestCompleted:
    return events.RequestCompleted(
        session_id=row.session_id,
        request_id=row.request_id,
        timestamp=_end(row),
        success=bool(row.success),
        total_duration_ms=row.total_duration_ms or 0.0,
        error=row.error_message,
        finish_reason=row.finish_reason,
    )


def _end(row: ExchangeRow) -> str:
    """Return when an exchange was over, which its row tells as a duration."""
    begin = datetime.fromisoformat(row.created_at)
    end = begin + timedelta(milliseconds=row.total_duration_ms or row.provider_latency_ms or 0.0)
    return _time(end.strftime("%Y-%m-%d %H:%M:%S.%f"))


def _time(text: str) -> str:
    return rfc3339(text) or ""
