"""How long the dashboard's pages take over many recorded sessions, and what they weigh.

Pages are asked for over HTTP by a client on the same machine, one after the other, so that the
times are what a browser waits for, its own work excepted.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from bench import report
from gateway_sessions import Context, Telemetry
from gateway_sessions.storage.migrations import migrate
from gateway_sessions.storage.schema import SQLITE
from gateway_sessions.storage.sqlite import connect, transaction
from interceptors.dashboard import Dashboard

SESSIONS = 100_000
TIMES = 50
"""Requests for each page."""
WARM = 3
"""Requests before them."""
DAYS = 30
_MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "gpt-5-mini", "gpt-5", "gemini-2.5-pro")
_TOOLS = ("read_file", "run_tests", "grep", "edit_file", "bash", "web_search")
_WORDS = ("please", "repair", "the", "failing", "test", "in", "parser", "and", "explain", "totals")

PAGES = {
    "overview, 24 hours": "",
    "overview, hour": "?period=hour",
    "overview, 7 days": "?period=week",
    "overview, 90 days": "?period=quarter",
    "sessions, newest": "/list",
    "sessions, of a model by cost": "/list?model=gpt-5&sort=cost",
    "one session": "/session/{session}",
    "one turn": "/session/{session}/request/{request}",
    "models and tools, 30 days": "/models?period=month",
    "live": "/tail",
}


def run(*, quick: bool) -> str:
    """Measure everything and return it as Markdown."""
    count, times = (2_000, 5) if quick else (SESSIONS, TIMES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        exchanges = record(path, count, datetime.now(UTC))
        rows = asyncio.run(_measure(path, times))
        size = path.stat().st_size
    intro = f"{count:,} sessions with {exchanges:,} exchanges, a database of {size / 1e6:,.0f} MB."
    heads = ["page", "median ms", "p95 ms", "HTML kB", "with style and script kB"]
    return "\n\n".join([report.machine(), intro, report.table(heads, rows)])


async def _measure(path: Path, times: int) -> list[list[str]]:
    dashboard = Dashboard()
    context = Context(Telemetry(), lambda: {"sessions_active": 12}, {}, path.parent)
    dashboard.open(replace(context, database=path))
    app = web.Application()
    app.add_routes(dashboard.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/sessions"
    with closing(sqlite3.connect(path)) as connection:
        session, request = connection.execute(
            "SELECT session_id, request_id FROM session_stats ORDER BY id DESC LIMIT 1"
        ).fetchone()
    try:
        async with ClientSession() as client:
            loaded = 0
            for name in ("dashboard.css", "dashboard.js", "icon.svg"):
                loaded += len(await _get(client, f"{base}/static/{name}"))
            return [
                await _row(
                    client,
                    name,
                    base + place.format(session=session, request=request),
                    times,
                    loaded,
                )
                for name, place in PAGES.items()
            ]
    finally:
        await runner.cleanup()
        dashboard.close()


async def _row(client: ClientSession, name: str, url: str, times: int, loaded: int) -> list[str]:
    body, taken = b"", []
    for _ in range(WARM):
        await _get(client, url)
    for _ in range(times):
        began = time.perf_counter()
        body = await _get(client, url)
        taken.append(1000 * (time.perf_counter() - began))
    p95 = statistics.quantiles(taken, n=20)[18]
    weight, whole = len(body) / 1000, (len(body) + loaded) / 1000
    return [name, f"{statistics.median(taken):.1f}", f"{p95:.1f}", f"{weight:.0f}", f"{whole:.0f}"]


async def _get(client: ClientSession, url: str) -> bytes:
    async with client.get(url) as answer:
        answer.raise_for_status()
        return await answer.read()


def record(path: Path, count: int, now: datetime) -> int:
    """Make a database with so many sessions up to ``now``; return how many exchanges it has."""
    with closing(connect(path)) as connection:
        migrate(connection, SQLITE, lambda: transaction(connection))
        with transaction(connection):
            for number, started in enumerate(_starts(count, now)):
                _session(connection, number, started)
            connection.execute(_BY_DAY)
        (exchanges,) = connection.execute("SELECT COUNT(*) FROM session_stats").fetchone()
    return int(exchanges)


def _starts(count: int, now: datetime) -> Iterator[datetime]:
    step = timedelta(days=DAYS) / count
    return (now - timedelta(days=DAYS) + step * number for number in range(count))


def _session(connection: sqlite3.Connection, number: int, started: datetime) -> None:
    chance = random.Random(number)
    session_id, model = f"sess_{number:020d}", chance.choice(_MODELS)
    text = " ".join(chance.choices(_WORDS, k=60))
    turns = min(40, 1 + int(chance.expovariate(1 / 3.5)))
    total = 0
    for turn in range(turns):
        row = _exchange(chance, turn, model, session_id, _time(started + timedelta(seconds=turn)))
        total += row["total_tokens"]
        _insert(connection, "session_stats", row)
        key = {"session_id": session_id, "request_id": row["request_id"]}
        texts = {"request_text": text, "response_text": text}
        _insert(connection, "session_texts", key | texts)
        if chance.random() < 0.35:
            _insert(connection, "tool_call_executions", key | _call(chance, turn, row))
    _insert(
        connection,
        "sessions",
        {
            "session_id": session_id,
            "root_session_id": session_id,
            "request_id": f"req_{number}_{turns - 1}",
            "started_at": _time(started),
            "last_active_at": _time(started + timedelta(seconds=turns)),
            "completed_at": _time(started + timedelta(seconds=turns)),
            "created_at": _time(started),
            "provider": "openai",
            "model_used": model,
            "success": 1,
            "request_count": turns,
            "total_tokens": total,
            "cost_usd": total * 3e-6,
            "title": text[:60],
            "request_text": text,
        },
    )


def _exchange(
    chance: random.Random, turn: int, model: str, session_id: str, at: str
) -> dict[str, Any]:
    read, said = 300 * (turn + 1) + chance.randrange(400), chance.randrange(20, 900)
    failed = chance.random() < 0.02
    return {
        "session_id": session_id,
        "request_id": f"req_{int(session_id[5:])}_{turn}",
        "created_at": at,
        "provider": "openai",
        "model_name": model,
        "model_requested": model,
        "relation": "continue" if turn else "first",
        "source": "prefix" if turn else "new",
        "confidence": 1.0,
        "provider_latency_ms": chance.lognormvariate(7.3, 0.6),
        "input_tokens": read,
        "output_tokens": said,
        "cache_read_tokens": read // 2 if turn else 0,
        "total_tokens": read + said,
        "cost_usd": (read + said) * 3e-6,
        "status": 529 if failed else 200,
        "success": 0 if failed else 1,
    }


def _call(chance: random.Random, turn: int, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "tool_call_id": f"call_{turn}",
        "tool_name": chance.choice(_TOOLS),
        "execution_time_ms": chance.lognormvariate(5.5, 1.0),
        "input_size_bytes": 40,
        "output_size_bytes": chance.randrange(5_000),
        "success": int(chance.random() > 0.05),
        "created_at": row["created_at"],
        "model_name": row["model_name"],
    }


_BY_DAY = """
INSERT INTO daily_stats (day, provider, model_name, requests, sessions, errors, input_tokens,
    output_tokens, cache_read_tokens, total_tokens, cost_usd)
SELECT substr(created_at, 1, 10), provider, model_name, COUNT(*), SUM(relation = 'first'),
    SUM(success = 0), SUM(input_tokens), SUM(output_tokens), SUM(cache_read_tokens),
    SUM(total_tokens), SUM(cost_usd)
FROM session_stats GROUP BY 1, 2, 3
"""


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"  # noqa: S608 - our own words
    connection.execute(sql, tuple(row.values()))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
