"""A dashboard on a real port, over databases made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway_sessions import Telemetry
from gateway_sessions.hooks import Context
from gateway_sessions.storage.sqlite import connect, transaction
from interceptors.dashboard import Dashboard
from tests.interceptors.exchanges import context
from tests.storage.recorded import NOW, Talk, record

Client = TestClient[web.Request, web.Application]

_DAYS = """
INSERT INTO daily_stats (day, provider, model_name, requests, sessions, errors, input_tokens,
    output_tokens, thinking_tokens, cache_read_tokens, total_tokens, cost_usd)
SELECT substr(created_at, 1, 10), provider, COALESCE(model_name, model_requested, '(unknown)'),
    COUNT(*), SUM(relation = 'first'), SUM(success = 0), COALESCE(SUM(input_tokens), 0),
    COALESCE(SUM(output_tokens), 0), COALESCE(SUM(thinking_tokens), 0),
    COALESCE(SUM(cache_read_tokens), 0), COALESCE(SUM(total_tokens), 0), SUM(cost_usd)
FROM session_stats GROUP BY 1, 2, 3
"""


def database(path: Path, talks: Iterable[Talk]) -> Path:
    """Make a database whose exchanges came in the order of their sessions, sums of days too."""
    record(path, sorted(talks, key=lambda talk: talk.started))
    with closing(connect(path)) as connection, transaction(connection):
        connection.execute(_DAYS)
    return path


def dashboard(path: Path | None, now: datetime = NOW, **fields: Any) -> Dashboard:
    """Return a dashboard that is open; ``fields`` are of its `Context`."""
    made = Dashboard()
    made._clock = lambda: now
    known: Context = context(Telemetry(), sessions_active=3)
    made.open(replace(known, database=path, **fields))
    return made


@asynccontextmanager
async def serving(path: Path | None, now: datetime = NOW, **fields: Any) -> AsyncIterator[Client]:
    """Serve a dashboard to a client."""
    made = dashboard(path, now, **fields)
    app = web.Application()
    app.add_routes(made.routes())
    try:
        async with TestClient(TestServer(app)) as client:
            yield client
    finally:
        made.close()
