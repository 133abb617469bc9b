"""Requests that none of an app's own routes can want go past its router.

Nearly every request is one to be forwarded, and for each the router would build what tells
handlers apart, at a tenth of the price of the whole way through the gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_urldispatcher import AbstractResource

_FALLBACK = web.AppKey("gateway_sessions.fallback", tuple[AbstractResource, Handler])

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def add_fallback(app: web.Application, handler: Handler) -> None:
    """Let ``handler`` answer whatever no other route of ``app`` takes.

    Nothing that it does may depend on the route: requests that come by `past_router` have none.
    """
    # Any path, also one with an escaped line break, which a plain dot would not match.
    route = app.router.add_route("*", "/{path:(?s:.*)}", handler)
    assert route.resource is not None
    app[_FALLBACK] = route.resource, handler


def past_router(app: web.Application, routed: Handle) -> Handle:
    """Return what answers the requests of a frozen app.

    ``routed`` is the app's own way.  It is taken where the path begins like that of any route,
    and where it might by being written in another way; where there is no fallback, always.
    """
    if _FALLBACK not in app:
        return routed
    last, fallback = app[_FALLBACK]
    others = (resource for resource in app.router.resources() if resource is not last)
    taken = tuple({_beginning(resource) for resource in others})

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        path = request.raw_path
        if (
            path.startswith(taken)
            or not path.startswith("/")
            or "%" in path
            or "Expect" in request.headers  # aiohttp answers it on the way to a route
        ):
            return routed(request)
        return fallback(cast("web.Request", request))

    return handle


def _beginning(resource: AbstractResource) -> str:
    """Return what all paths of a resource begin with, at least a slash."""
    fixed = resource.canonical.partition("{")[0]
    return fixed if fixed.startswith("/") else "/"
