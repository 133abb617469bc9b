"""The pages' figures as JSON, for programs: the same questions, the same filter."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from gateway_sessions import Search, parse_filter
from interceptors.dashboard import figures, messages, questions, usage
from interceptors.dashboard.database import Database
from interceptors.dashboard.pages import Pages
from interceptors.dashboard.rendering import HEADERS


class Answers:
    """Answers with JSON.  Arguments are those of `Pages`, which finds single exchanges."""

    def __init__(
        self,
        database: Database,
        pages: Pages,
        active: Callable[[], int],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._pages = pages
        self._active = active
        self._clock = clock

    async def overview(self, request: web.Request) -> web.Response:
        """Answer with a period's figures."""
        period = questions.period_of(request.query)
        now, active = self._clock(), self._active()
        return json_answer(
            await self._database.ask(
                lambda connection: figures.overview(connection, period, now, active)
            )
        )

    async def sessions(self, request: web.Request) -> web.Response:
        """Answer with a page of sessions; the query is a filter."""
        wanted = parse_filter(request.query.items(), now=self._clock())
        return json_answer(
            await self._database.ask(lambda connection: Search(connection).page(wanted))
        )

    async def session(self, request: web.Request) -> web.Response:
        """Answer with one session and everything in it."""
        session_id = request.match_info["session_id"]
        return json_answer(
            await self._database.ask(lambda connection: _whole(connection, session_id))
        )

    async def exchange(self, request: web.Request) -> web.Response:
        """Answer with one exchange, its events as the session's file has them."""
        found = msgspec.structs.asdict(await self._pages.raw(request))
        # These two are among the events.
        return json_answer({k: v for k, v in found.items() if k not in ("request", "response")})

    async def models(self, request: web.Request) -> web.Response:
        """Answer with the use of models and tools."""
        period = questions.period_of(request.query)
        now = self._clock()
        return json_answer(
            await self._database.ask(lambda connection: usage.use(connection, period, now))
        )


def _whole(connection: sqlite3.Connection, session_id: str) -> dict[str, Any]:
    """Return a session with everything in it, messages that were reported of it too."""
    found = msgspec.structs.asdict(Search(connection).detail(session_id))
    return found | {"messages": messages.every(connection, session_id)}


def json_answer(value: Any) -> web.Response:
    """Return a value as JSON."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, content_type="application/json", headers=HEADERS)
