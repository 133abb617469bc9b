"""Sessions inside of an aiohttp or ASGI application, from a configuration.

``setup(app, config)`` is all that most need: afterwards handlers of LLM endpoints find the
verdict in ``request[SESSION]``.  `session_middleware` is for those who list their middlewares
themselves, and `SessionASGIMiddleware` for FastAPI, Starlette and other ASGI applications.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway_sessions.assembly import Assembly, assemble
from gateway_sessions.config import Source
from gateway_sessions.errors import GatewaySessionsError
from gateway_sessions.web import asgi, middleware
from gateway_sessions.web.middleware import SESSION

__all__ = ["SESSION", "SessionASGIMiddleware", "session_middleware", "setup"]

logger = logging.getLogger(__name__)


def setup(app: web.Application, config: Source = None) -> None:
    """Give the LLM requests of an app their sessions; call it before the app starts.

    ``config`` is the path of a configuration file, a mapping of the same shape, or a `Config`;
    of its blocks ``server.response_headers``, ``server.trusted_proxies``, ``session`` and
    ``interceptors`` count here.  Raises `ConfigError` for a wrong configuration; an interceptor
    that can not be opened raises `StartError` when the app starts.
    """
    assembly = assemble(config)
    server = assembly.config.server
    middleware.setup(
        app,
        assembly.gateway,
        response_headers=server.response_headers,
        trusted_proxies=server.trusted_proxies,
        opened=assembly.open,
    )


class SessionASGIMiddleware(asgi.SessionASGIMiddleware):
    """Gives the LLM requests of an ASGI app their sessions: ``SessionASGIMiddleware(app, config)``.

    Apps find the verdict in ``scope["gateway_sessions"]``, a `SessionTag` or None.  ``config`` is
    as in `setup`.
    """

    def __init__(self, app: asgi.App, config: Source = None) -> None:
        """Wrap ``app``; raises `ConfigError` for a wrong configuration."""
        assembly = assemble(config)
        server = assembly.config.server
        super().__init__(
            app,
            assembly.gateway,
            response_headers=server.response_headers,
            trusted_proxies=server.trusted_proxies,
            opened=assembly.open,
        )


def session_middleware(config: Source = None) -> Middleware:
    """Return the middleware that `setup` adds, for an app that lists its own.

    The gateway opens with the first request, since a middleware is not told when its app
    starts, and closes with the event loop; if it can not be opened, that is logged and the app
    serves on without sessions.  Otherwise as `setup`.
    """
    assembly = assemble(config)
    server = assembly.config.server
    inner = middleware.session_middleware(
        assembly.gateway,
        response_headers=server.response_headers,
        trusted_proxies=server.trusted_proxies,
    )
    lifetime, opening = _lifetime(assembly), asyncio.Lock()
    chosen: list[Middleware] = []

    @web.middleware
    async def sessions(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not chosen:
            async with opening:
                if not chosen:
                    chosen.append(inner if await _opened(lifetime) else _unwatched)
        return await chosen[0](request, handler)

    return sessions


@web.middleware
async def _unwatched(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve a request of a host whose gateway could not be opened."""
    request[SESSION] = None
    return await handler(request)


async def _opened(lifetime: AsyncGenerator[None, None]) -> bool:
    try:
        await anext(lifetime)
    except GatewaySessionsError as error:
        # The host is serving already, and its requests matter more than their sessions.
        logger.error("no sessions: %s", error)  # noqa: TRY400 -- a sentence for the operator
        return False
    return True


async def _lifetime(assembly: Assembly) -> AsyncGenerator[None, None]:
    """Open, wait, close.  The event loop ends generators that wait when it shuts down."""
    await assembly.open()
    try:
        yield
    finally:
        await assembly.close()
