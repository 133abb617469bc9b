"""The pages: an address is asked, the database answers, a template shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway_sessions import (
    RecordedExchange,
    Search,
    Series,
    SessionFilter,
    WrongQuery,
    dollars,
    latency_plot,
    parse_filter,
    plots_over_time,
    round_dollars,
    short,
    stacked,
)
from interceptors.dashboard import figures, questions, raw, story, usage
from interceptors.dashboard.database import Database, Problem
from interceptors.dashboard.rendering import HEADERS, page
from interceptors.dashboard.texts import clipped


class Pages:
    """Makes the pages.  ``active`` says how many sessions the gateway holds now."""

    def __init__(
        self,
        database: Database,
        session_files: Path | None,
        active: Callable[[], int],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._session_files = session_files
        self._active = active
        self._clock = clock

    async def overview(self, request: web.Request, base: str) -> web.Response:
        """Show a period: figures, plots, how requests found their session, newest sessions."""
        period = questions.period_of(request.query)
        now, active = self._clock(), self._active()
        found = await self._database.ask(
            lambda connection: figures.overview(connection, period, now, active)
        )
        span = (_slot(now - period.length, period), _slot(now, period))
        cost, requests, tokens = plots_over_time(found.slots, found.models, span)
        return page(
            "overview.html",
            base,
            here="overview",
            found=found,
            period=period,
            periods=figures.PERIODS.values(),
            plots={"cost": cost, "requests": requests, "tokens": tokens},
            latency=latency_plot(found.latencies, found.latency),
        )

    async def sessions(self, request: web.Request, base: str) -> web.Response:
        """Show a page of sessions, and the form that chooses them."""
        given = {name: value for name, value in request.query.items() if value}
        values: dict[str, Any] = {"here": "sessions", "given": given, "found": None, "error": ""}
        try:
            wanted = parse_filter(request.query.items(), now=self._clock(), called=questions.label)
        except WrongQuery as error:
            return page("sessions.html", base, status=400, **values | {"error": str(error)})
        wanted = questions.of_page_size(wanted)
        found = await self._database.ask(lambda connection: questions.sessions(connection, wanted))
        is_filtered = bool(given.keys() - {"sort", "order", "page", "page_size"})
        return page(
            "sessions.html",
            base,
            **values | {"found": found, "wanted": wanted, "is_filtered": is_filtered},
        )

    async def session(self, request: web.Request, base: str) -> web.Response:
        """Show one session: its figures, its tree, a page of its turns."""
        session_id = request.match_info["session_id"]
        number = questions.whole(request.query, "page")
        found = await self._database.ask(
            lambda connection: story.story(connection, session_id, number)
        )
        return page("session.html", base, here="sessions", found=found, plots=_turn_plots(found))

    async def exchange(self, request: web.Request, base: str) -> web.Response:
        """Show one exchange with all that is recorded of it."""
        found = await self.raw(request)
        bodies = {
            "Request": _body(found.request and found.request.request_json),
            "Response": _body(found.response and found.response.response_json),
        }
        texts = {
            "Request": clipped(found.exchange.request_text, raw.SHOWN_BYTES),
            "Response": clipped(found.exchange.response_text, raw.SHOWN_BYTES),
        }
        return page("exchange.html", base, here="sessions", found=found, bodies=bodies, texts=texts)

    async def models(self, request: web.Request, base: str) -> web.Response:
        """Show what models and tools did in a period."""
        period = questions.period_of(request.query)
        now = self._clock()
        found = await self._database.ask(lambda connection: usage.use(connection, period, now))
        return page(
            "models.html",
            base,
            here="models",
            found=found,
            period=period,
            periods=figures.PERIODS.values(),
        )

    async def tail(self, request: web.Request, base: str) -> web.Response:
        """Show the newest exchanges; a script adds those that come."""
        del request
        found = await self._database.ask(_newest)
        return page("tail.html", base, here="tail", found=found)

    async def raw(self, request: web.Request) -> raw.RawExchange:
        """Return the exchange that an address names, with what its session's file holds."""
        session_id = request.match_info["session_id"]
        request_id = request.match_info["request_id"]
        found = await self._database.ask(
            lambda connection: raw.exchange(connection, session_id, request_id)
        )
        return await asyncio.to_thread(raw.with_events, found, self._session_files)


def shown_problem(base: str, error: Exception) -> web.Response:
    """Return the page for what can not be shown."""
    problem = _problem(error)
    return page("problem.html", base, problem.status, here="", problem=problem)


def json_problem(error: Exception) -> web.Response:
    """Return the same as JSON."""
    problem = _problem(error)
    return web.json_response({"error": problem.sentence}, status=problem.status, headers=HEADERS)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    missing = str(error).startswith("No such")
    title = "Not recorded" if missing else "That can not be shown"
    return Problem(title, str(error), 404 if missing else 400)


def _newest(connection: Any) -> list[RecordedExchange]:
    search = Search(connection)
    newest, _ = search.in_flight(0)
    return search.newest(search.where(SessionFilter()), questions.TAIL, upto=newest, but=())[::-1]


def _slot(moment: datetime, period: figures.Period) -> str:
    return figures.text_time(moment)[: period.digits]


def _body(recorded: Any) -> Mapping[str, Any]:
    """Return a body as text, as much of it as a page holds."""
    text = raw.pretty(recorded)
    shown = clipped(text, raw.SHOWN_BYTES)
    return {"text": shown, "is_cut": shown != text}


def _turn_plots(found: story.Story) -> Mapping[str, Any]:
    """Return the plots of a session's tokens and cost, turn by turn."""
    first = found.total - len(found.points) + 1
    labels = [str(number) for number in range(first, found.total + 1)]
    names = [f"turn {number}" for number in labels]
    points = found.points

    def series(name: str, colour: int, of: Callable[[story.Point], float]) -> Series:
        return Series(name, tuple(float(of(point)) for point in points), colour)

    tokens = [
        series("cached input", 2, lambda point: point.cache_read_tokens),
        series("input", 1, lambda point: point.input_tokens - point.cache_read_tokens),
        series("output", 3, lambda point: point.output_tokens - point.thinking_tokens),
        series("thinking", 4, lambda point: point.thinking_tokens),
    ]
    cost = [series("cost", 1, lambda point: point.cost_usd or 0.0)]
    return {
        "tokens": stacked(names, labels, tokens, short),
        "cost": stacked(names, labels, cost, dollars, tick=round_dollars),
    }
