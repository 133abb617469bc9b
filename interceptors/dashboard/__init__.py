"""The dashboard: what was recorded and what happens now, as pages under ``/sessions``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from gateway_sessions import LOGIN_COOKIE, Context, GatewaySessionsError
from interceptors.dashboard.answers import Answers
from interceptors.dashboard.database import READERS, Database, Problem
from interceptors.dashboard.live import Live
from interceptors.dashboard.pages import Pages, json_problem, shown_problem
from interceptors.dashboard.rendering import LOGGED_IN, serve_static

AREA = "/sessions"
"""The path of the overview; all others lie below it."""

ID = "{{{}:[^/]+}}"
"""Any id; a client may have chosen it, with braces too, which aiohttp leaves out by itself."""

_Show = Callable[[web.Request, str], Awaitable[web.Response]]
_Answer = Callable[[web.Request], Awaitable[web.Response]]


class Dashboard:
    """Shows the database of sessions in a browser, and answers the same as JSON.

    It runs even if the configuration does not list it, unless listed with ``enabled: false``,
    and has no options.
    """

    needs_headers = False
    needs_body = False

    def __init__(self) -> None:
        self._clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._context: Context | None = None
        self._database = Database(None)
        self._live = Live(None)

    def open(self, context: Context) -> None:
        """Learn where sessions are recorded; nothing is read before somebody looks."""
        self._context = context
        self._database = Database(context.database, readers=_readers(context))
        self._live = Live(context.recording, context.stopping)

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def routes(self) -> list[web.RouteDef]:
        """Return the pages, what they load, the live feed, and the answers as JSON."""
        files = None if self._context is None else _session_files(self._context)
        pages = Pages(self._database, files, self._active, self._clock)
        answers = Answers(self._database, pages, self._active, self._clock)
        session = f"/session/{ID.format('session_id')}"
        request = f"{session}/request/{ID.format('request_id')}"
        shown: dict[str, _Show] = {
            "": pages.overview,
            "/list": pages.sessions,
            session: pages.session,
            request: pages.exchange,
            "/models": pages.models,
            "/tail": pages.tail,
        }
        answered: dict[str, _Answer] = {
            "/api/overview": answers.overview,
            "/api/sessions": answers.sessions,
            f"/api{session}": answers.session,
            f"/api{request}": answers.exchange,
            "/api/models": answers.models,
        }
        return [
            *(web.get(AREA + path, _showing(path, show)) for path, show in shown.items()),
            *(web.get(AREA + path, _answering(answer)) for path, answer in answered.items()),
            web.get(f"{AREA}/static/{{name}}", serve_static),
            web.get(f"{AREA}/live", self._live.serve, allow_head=False),
        ]

    def _active(self) -> int:
        if self._context is None:
            return 0
        return int(self._context.stats().get("sessions_active", 0))


def _showing(path: str, show: _Show) -> _Answer:
    """Return a handler that shows a page, or why it can not be shown."""

    async def handle(request: web.Request) -> web.Response:
        resource = request.match_info.route.resource
        assert resource is not None
        # Links have to hold below whatever path the pages were put.
        base = resource.canonical.removesuffix(path.replace(":[^/]+", ""))
        LOGGED_IN.set(LOGIN_COOKIE in request.cookies)
        try:
            return await show(request, base)
        except (Problem, GatewaySessionsError) as error:
            return shown_problem(base, error)

    return handle


def _answering(answer: _Answer) -> _Answer:
    """Return a handler that answers with JSON, or with why there is no answer."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return await answer(request)
        except (Problem, GatewaySessionsError) as error:
            return json_problem(error)

    return handle


def _readers(context: Context) -> int:
    """Return how many connections may read the database at the same time."""
    sqlite = context.effective_config.get("session_recording", {}).get("sqlite", {})
    return int(sqlite.get("max_connections", READERS))


def _session_files(context: Context) -> Path | None:
    """Return the folder of session files, where they are written."""
    jsonl = context.effective_config.get("session_recording", {}).get("jsonl", {})
    folder = jsonl.get("directory") if jsonl.get("enabled") else None
    return Path(folder).expanduser() if folder else None
