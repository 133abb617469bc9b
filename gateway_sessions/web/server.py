"""The HTTP server around an app, with the settings that a proxy needs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from gateway_sessions.web import seams
from gateway_sessions.web.client import HEAD_LIMIT, HEADER_COUNT
from gateway_sessions.web.fallback import past_router
from gateway_sessions.web.headers import SERVER_NAME

logger = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
"""Longest time for a request's head, from its first byte, or on a new connection from the
start.  Slow clients are milliseconds late; only who wants to hold a connection needs more."""
KEEP_ALIVE_SECONDS = 75.0
"""How long a connection may wait for its next request: longer than the idle limit of usual
load balancers (60), so that they close it and not we, at the moment in which they use it."""
GRACE_SECONDS = 30.0
"""How long exchanges may go on after the server was told to stop."""


def make_runner(app: web.Application, *, grace_seconds: float = GRACE_SECONDS) -> web.AppRunner:
    """Return a runner for an app; sites are added to it as to any `aiohttp.web.AppRunner`.

    ``cleanup()`` stops listening, lets exchanges finish for ``grace_seconds``, and then
    cancels what is left.
    """
    return _Runner(app, shutdown_timeout=grace_seconds, access_log=None)


_OPTIONS: dict[str, Any] = {
    # Bodies go on as they came; decoding them would contradict their headers.
    "auto_decompress": False,
    "keepalive_timeout": KEEP_ALIVE_SECONDS,
    "max_line_size": HEAD_LIMIT,
    "max_field_size": HEAD_LIMIT,
    "max_headers": HEADER_COUNT,
    "access_log": None,
}


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return _Server(
            past_router(self.app, plain.request_handler),
            request_factory=plain.request_factory,
            # A client that leaves takes its exchange with it, and that the upstream's work.
            handler_cancellation=True,
            loop=asyncio.get_running_loop(),
            **_OPTIONS,
        )


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **_OPTIONS)


class _Connection(RequestHandler):
    """A client's connection that does not wait forever for the head of a request."""

    __slots__ = ("_head_timer",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._messages = seams.short_queue()
        self._head_timer: asyncio.TimerHandle | None = None

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp asks for it after every piece of a body, though it is rarely held up.
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._stop_timer()
            self._fail_body()
        elif self._head_timer is None and self._waiter is not None:
            # Bytes, and nobody but the parser waits for them: a head has begun.
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _fail_body(self) -> None:
        """Tell who reads a body that it is malformed: the parser in C only queues an error."""
        request = self._current_request
        if request is None or request.content.is_eof():
            return
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            request.content.set_exception(RequestPayloadError("malformed body"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP without repeating it, neither to the sender nor in a log."""
        if status == 500:
            return super().handle_error(request, status, exc, message)
        logger.info("a malformed request was refused: %s", type(exc).__name__)
        response = web.Response(status=status, text="Bad request.", headers={"Server": SERVER_NAME})
        response.force_close()
        return response

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport is not None:
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        self.force_close()
