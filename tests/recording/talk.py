"""Events of whole exchanges, as a recorder gets them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from gateway_sessions import events as e
from tests.recording.session_events import completed, started

BEGIN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def stamp(seconds: float = 0.0) -> str:
    """Return the time so many seconds after `BEGIN`."""
    return (BEGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def asked(number: int = 1, session: str = "sess_a", at: float = 0.0, **more: Any) -> Any:
    values: dict[str, Any] = {
        "session_id": session,
        "request_id": f"req_{number}",
        "timestamp": stamp(at),
        "model_requested": "gpt",
        "relation": "first" if number == 1 else "continue",
        "source": "new" if number == 1 else "prefix",
        "confidence": 1.0,
        "estimated_tokens": 10,
        "pre_processing_ms": 0.5,
        "request_size_bytes": 200,
        "message_count": 2 * number - 1,
        "history_messages": 2 * number - 2,
        "has_system_prompt": True,
        "has_tools": False,
        "tool_count": 0,
        "is_streaming": False,
        "request_text": f"question {number}",
    }
    return e.RequestRecorded(**values | more)


def tokens(sent: int = 100, received: int = 50, **more: Any) -> e.Tokens:
    return e.Tokens(input_tokens=sent, output_tokens=received, total_tokens=sent + received, **more)


def answered(
    number: int = 1,
    session: str = "sess_a",
    at: float = 1.0,
    *,
    used: e.Tokens | None = None,
    latency: float = 1000.0,
    cost: float | None = 0.001,
    model: str = "gpt-1",
    streamed: bool = False,
    text: str | None = "an answer",
    **more: Any,
) -> e.ResponseRecorded:
    used = used or tokens()
    stream: dict[str, Any] = {}
    if streamed:
        names = e.Latency.__struct_fields__
        stream = {
            "chunk_count": 7,
            "streaming_duration_ms": 400.0,
            "time_to_first_token_ms": 100.0 * number,
            "chunk_latency": e.Latency(**{name: float(n) for n, name in enumerate(names)}),
        }
    values: dict[str, Any] = {
        "provider_latency_ms": latency,
        "post_processing_ms": 0.25,
        "total_proxy_overhead_ms": 0.75,
        "tokens": used,
        "tool_calls": (),
        "response_size_bytes": 300,
        "content_blocks": 1,
        "has_refusal": False,
        "is_streaming": streamed,
        "cost_usd": cost,
    }
    return e.ResponseRecorded(
        session_id=session,
        request_id=f"req_{number}",
        timestamp=stamp(at),
        model_used=model,
        status=200,
        tokens=used,
        response_text=text,
        stats=e.ResponseStats(**values | stream | more),
    )


def called(
    call: str = "call_1", number: int = 1, session: str = "sess_a", at: float = 1.0
) -> e.ToolCallRecorded:
    return e.ToolCallRecorded(
        session_id=session,
        request_id=f"req_{number}",
        timestamp=stamp(at),
        tool_name="search",
        tool_call_id=call,
        input_size_bytes=13,
        tool_arguments=msgspec.Raw(b'{"q":"ducks"}'),
    )


def returned(
    call: str = "call_1", number: int = 2, session: str = "sess_a", at: float = 2.0, **more: Any
) -> Any:
    values: dict[str, Any] = {
        "session_id": session,
        "request_id": f"req_{number}",
        "timestamp": stamp(at),
        "tool_name": "search",
        "tool_call_id": call,
        "input_size_bytes": 13,
        "output_size_bytes": 40,
        "success": True,
        "execution_time_ms": 900.0,
        "time_is_upper_bound": True,
    }
    return e.ToolCallRecorded(**values | more)


def looped(
    number: int = 1, session: str = "sess_a", at: float = 1.1, **more: Any
) -> e.LoopRecorded:
    """Return the newest turn of a session's one loop, of index ``number`` - 1."""
    loop_id, begin = f"{session}.main.0", BEGIN.timestamp()
    usage: dict[str, Any] = {"input": 100, "output": 50, "total_tokens": 150}
    usage["cost_usd"] = more.pop("cost", 0.001)
    turn = {
        "turn_id": {"loop_id": loop_id, "turn_index": number - 1},
        "triggered_by": "user" if number == 1 else "continuation",
        "usage": usage,
        "started_at": begin + at - 1,
        "ended_at": begin + at,
        "attempts": [{"request_id": f"req_{number}", "started_at": begin + at - 1}],
    }
    loop = {
        "loop_id": loop_id,
        "session_id": session,
        "agent_id": "main",
        "continuation_kind": {"kind": "initial"},
        "started_at": begin,
        "status": "running",
        "turns": [turn],
        "turn_count": number,
        "usage": usage,
    }
    return e.LoopRecorded(
        session_id=session,
        request_id=f"req_{number}",
        timestamp=stamp(at),
        loop=msgspec.Raw(msgspec.json.encode(loop | more)),
    )


def over(number: int = 1, session: str = "sess_a", at: float = 1.1, **more: Any) -> Any:
    values: dict[str, Any] = {
        "session_id": session,
        "request_id": f"req_{number}",
        "timestamp": stamp(at),
        "success": True,
        "total_duration_ms": 1000.75,
        "finish_reason": "stop",
    }
    return e.RequestCompleted(**values | more)


def begun(session: str = "sess_a", at: float = 0.0, **more: Any) -> e.Started:
    return msgspec.structs.replace(started(session, stamp(at)), **more)


def ended(session: str = "sess_a", at: float = 99.0) -> e.Completed:
    return completed(session, stamp(at))


def exchange(number: int = 1, session: str = "sess_a", **of_answer: Any) -> list[e.SessionEvent]:
    """Return the events of an exchange that takes the ``number``-th second."""
    at = float(number)
    return [
        asked(number, session, at),
        answered(number, session, at + 0.5, **of_answer),
        over(number, session, at + 0.6),
    ]


def traffic(exchanges: int, sessions: int = 10, seed: int = 1) -> Iterator[e.SessionEvent]:
    """Yield the interleaved events of many sessions: streams, tools, failures, several models."""
    rng = random.Random(seed)
    counts = [0] * sessions
    for number in range(exchanges):
        which = rng.randrange(sessions)
        name, at = f"sess_{which:020d}", number * 7200.0 / 100
        counts[which] += 1
        if counts[which] == 1:
            yield begun(name, at, provider=("openai", "anthropic")[which % 2])
        streamed = rng.random() < 0.5
        text = " ".join(rng.choices(("duck", "heron", "swan", "grebe", "coot"), k=12))
        yield asked(number, name, at, request_text=text, is_streaming=streamed)
        if counts[which] > 1 and rng.random() < 0.8:
            yield returned(f"{name}-{counts[which] - 1}", number, name, at, success=bool(which % 3))
        if streamed:
            yield e.StreamStarted(
                session_id=name,
                request_id=f"req_{number}",
                timestamp=stamp(at + 0.1),
                time_to_first_token_ms=100.0 * number,
            )
            yield e.StreamEvent(
                session_id=name,
                request_id=f"req_{number}",
                timestamp=stamp(at + 0.1),
                sequence=0,
                elapsed_ms=100.0,
                size_bytes=4,
                data="duck",
            )
        if rng.random() < 0.1:
            yield over(number, name, at + 2, success=False, error="timeout", finish_reason=None)
            continue
        yield answered(
            number,
            name,
            at + 1,
            used=tokens(rng.randrange(1000), rng.randrange(1000), thinking_tokens=which),
            latency=rng.random() * 1000,
            cost=rng.choice((None, rng.random() / 100)),
            model=f"m-{which % 3}",
            streamed=streamed,
        )
        yield called(f"{name}-{counts[which]}", number, name, at + 1)
        yield over(number, name, at + 1.1, total_duration_ms=rng.random() * 1000)
        yield looped(number, name, at + 1.1, cost=rng.choice((None, rng.random())))
    for which in range(0, sessions, 2):
        if counts[which]:
            yield ended(f"sess_{which:020d}", exchanges * 7200.0)


def rows(path: Path, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Return what a query finds in a database, by column."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, values)]


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return everything in a database, without the numbers that it gave to rows."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in tables if not name.startswith(("sqlite_", "session_search"))]
        found: dict[str, list[tuple[Any, ...]]] = {}
        for name in names:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            listed = ", ".join(column for column in columns if column != "id")
            found[name] = sorted(connection.execute(f"SELECT {listed} FROM {name}"), key=repr)
        return found
