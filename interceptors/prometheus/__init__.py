"""Metrics: ``/metrics`` for Prometheus, and the same numbers as JSON."""

from __future__ import annotations

import asyncio
import time
from importlib import metadata
from typing import Any

from aiohttp import web
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from gateway_sessions import Context, Exchange
from interceptors.prometheus import views
from interceptors.prometheus.metrics import Metrics
from interceptors.prometheus.together import TOPIC, Together, packed

_FORMATS = {"json": views.JSON, "prometheus": views.TEXT, "openmetrics": views.OPENMETRICS}


class Prometheus:
    """Counts what happens and serves it at ``/metrics`` and ``/metrics/prometheus``.

    It runs even if the configuration does not list it, unless listed with ``enabled: false``,
    and has no options.
    """

    needs_headers = False
    needs_body = False

    def __init__(self) -> None:
        self._metrics = Metrics(_version(), time.time, time.monotonic)
        # Its own registry: a host application's metrics are none of ours, nor ours theirs.
        self.registry = CollectorRegistry()
        self.registry.register(self._metrics)
        ProcessCollector(registry=self.registry)
        self._together: Together | None = None

    def open(self, context: Context) -> None:
        """Subscribe to everything that is announced, and add up what workers have counted."""
        self._metrics.connect(context)
        company, own = context.company, self.registry
        if company is None:
            return
        if company.is_main:
            self._together = Together(own.collect, company)
            self._together.start()
            self.registry = CollectorRegistry()
            self.registry.register(self._together)
        else:
            company.answer(TOPIC, lambda who, question: packed(own.collect()))

    def close(self) -> None:
        """Stop adding up."""
        if self._together is not None:
            self._together.stop()

    def exchange_finished(self, exchange: Exchange) -> None:
        """Count an exchange."""
        self._metrics.exchange(exchange)

    def routes(self) -> list[web.RouteDef]:
        """Return the two endpoints."""
        return [
            web.get("/metrics", self._serve),
            web.get("/metrics/prometheus", self._serve_text),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what ``/metrics`` answers as JSON."""
        return views.as_json(self.registry, time.time())

    async def _serve(self, request: web.Request) -> web.Response:
        name = request.query.get("format")
        if name is not None and name not in _FORMATS:
            error = f"There is no format {name!r}; take json, prometheus or openmetrics."
            return web.json_response({"error": error}, status=400)
        form = _FORMATS[name] if name else views.wanted(request.headers.get("Accept", ""))
        if self._together is not None:
            await self._together.ask()
        if form == views.JSON:
            return web.json_response(await asyncio.to_thread(self.as_json))
        return await self._text(form)

    async def _serve_text(self, request: web.Request) -> web.Response:
        if self._together is not None:
            await self._together.ask()
        form = views.wanted(request.headers.get("Accept", ""))
        return await self._text(views.TEXT if form == views.JSON else form)

    async def _text(self, form: str) -> web.Response:
        # Off the event loop: a thousand series take milliseconds to print.
        body, content_type = await asyncio.to_thread(views.exposition, self.registry, form)
        return web.Response(body=body, headers={"Content-Type": content_type})


def _version() -> str:
    try:
        return metadata.version("gateway-sessions")
    except metadata.PackageNotFoundError:
        return "unknown"
