"""The REST half: batches of events, snapshots, and questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from interceptors.recording_api.openapi import document
from interceptors.recording_api.protocol import (
    STATUS,
    Error,
    Refused,
    event_id_of,
    read_batch,
    read_snapshot,
)
from interceptors.recording_api.service import Service, acknowledged

BODY_EVENTS = 16
"""A body may be as large as so many of the largest events."""
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

IsAdmin = Callable[[web.Request], bool]
Answer = Callable[[web.Request], Awaitable[web.Response]]


class Rest:
    """Handlers, one per route."""

    def __init__(self, service: Service, *, is_admin: IsAdmin) -> None:
        """``is_admin`` tells whether a request may learn of all sessions."""
        self._service = service
        self._is_admin = is_admin
        self._limit = body_limit(service.options.max_event_bytes)

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Return the routes under a prefix."""
        return [
            web.post(f"{prefix}/events", _answered(self._events)),
            web.post(f"{prefix}/snapshot", _answered(self._snapshot)),
            web.get(f"{prefix}/sessions", _answered(self._sessions)),
            web.get(f"{prefix}/session/{{id}}", _answered(self._session)),
            web.get(f"{prefix}/sessions/{{id}}", _answered(self._session)),
            web.get(f"{prefix}/session/{{id}}/recovery", _answered(self._recovery)),
            web.get(f"{prefix}/sessions/{{id}}/recovery", _answered(self._recovery)),
            web.get(f"{prefix}/status", _answered(self._status)),
            web.get(f"{prefix}/openapi.json", _answered(self._openapi)),
        ]

    async def _events(self, request: web.Request) -> web.Response:
        events = read_batch(await self._body(request))
        replies = await self._service.take([bytes(event) for event in events])
        return _json({"processed": acknowledged(replies), "responses": replies})

    async def _snapshot(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        try:
            event = read_snapshot(body)
        except Refused as refused:
            return _refusal(refused.reply(event_id_of(body)))
        reply = await self._service.snapshot(event, len(body))
        return _refusal(reply) if isinstance(reply, Error) else _json(reply)

    async def _sessions(self, request: web.Request) -> web.Response:
        if not self._is_admin(request):
            raise Refused("unauthorized", "All sessions are shown to the admin.token only.")
        sessions = await self._service.active_sessions()
        return _json({"active_sessions": sessions, "total": len(sessions)})

    async def _session(self, request: web.Request) -> web.Response:
        return _json(await self._service.session(request.match_info["id"]))

    async def _recovery(self, request: web.Request) -> web.Response:
        return _json(await self._service.recovery(request.match_info["id"]))

    async def _status(self, request: web.Request) -> web.Response:
        del request
        return _json(await self._service.status())

    async def _openapi(self, request: web.Request) -> web.Response:
        # The path as it was asked for, so that it holds behind admin.prefix too.
        return _json(document(request.path.removesuffix("/openapi.json")))

    async def _body(self, request: web.Request) -> bytes:
        """Read a body up to the limit; raises `Refused`."""
        parts: list[bytes] = []
        size = 0
        async for part in request.content.iter_any():
            size += len(part)
            if size > self._limit:
                raise Refused("too_large", f"The body has more than {self._limit} bytes.")
            parts.append(part)
        return b"".join(parts)


def body_limit(max_event_bytes: int) -> int:
    """Return how many bytes a body, or a WebSocket message, may have."""
    return BODY_EVENTS * max_event_bytes + 1024


def _answered(handler: Answer) -> Answer:
    async def answered(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Refused as refused:
            return _refusal(refused.reply())

    return answered


def _refusal(error: Error) -> web.Response:
    return _json(error, STATUS[error.code])


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json", headers=_HEADERS)
