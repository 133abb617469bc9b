"""The gateway's own endpoints, and who may call them.

They stand beside the proxied paths or on a listener of their own; either way every route is
guarded, because what they show (sessions, traces, configuration) is worth stealing, and a
listener on loopback is reachable from any web page that the user opens: a page may point a
name of its own at 127.0.0.1 (DNS rebinding) or just send requests there.  So without a token
only requests to a known host name pass, and none that a foreign page has sent.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway_sessions.web.login import AREA, Logins

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Names under which a loopback listener may be called without a token."""


Problems = Callable[[], list[str] | Awaitable[list[str]]]
"""Returns one sentence for whatever does not work at present."""


class AdminGuard:
    """Decides who may call an endpoint of the gateway's own.

    With a ``token`` the request needs ``Authorization: Bearer TOKEN``, or for a page the cookie
    of somebody who has logged in with it; ``prefix`` is the path before them.  Without one the
    listener must be on loopback (the caller sees to that), and the request's ``Host`` must be
    one of `LOOPBACK_HOSTS` or ``hosts``, on any port, and its ``Origin`` absent or the same.

    ``reporting_token`` opens the handlers that are marked by `reporting` and nothing else; to
    them, `has_admin_scope` says who came with which.
    """

    def __init__(
        self,
        token: str | None,
        hosts: Iterable[str] = (),
        prefix: str = "",
        *,
        reporting_token: str | None = None,
    ) -> None:
        self._token = None if token is None else token.encode()
        self._reporting_token = None if reporting_token is None else reporting_token.encode()
        self._logins = None if token is None else Logins(token.encode(), prefix)
        self._hosts = frozenset(host.strip("[]").lower() for host in (*LOOPBACK_HOSTS, *hosts))

    def refusal(self, request: web.Request, *, reporting: bool = False) -> web.Response | None:
        """Return the answer for a caller who may not pass (401, 403), or None.

        ``reporting`` lets those pass who have the token for that, too.
        """
        if reporting and _has_token(request, self._reporting_token):
            request[_REPORTS_ONLY] = True
            return None
        if self._logins is not None:
            if _has_token(request, self._token) or self._logins.allows(request):
                return None
            return self._logins.form(request) or _unauthorised()
        if not self._is_ours(f"//{request.headers.get('Host', '')}"):
            return _forbidden("This host name is not served here; use localhost or an admin.token.")
        origin = request.headers.get("Origin")
        foreign = origin is not None and not self._is_ours(origin)
        if foreign or request.headers.get("Sec-Fetch-Site") == "cross-site":
            return _forbidden("Pages of other sites may not call this; use an admin.token.")
        return None

    def protect(self, handler: Handler) -> Handler:
        """Return ``handler``, called only for those who may pass."""
        marked = handler in _REPORTING

        async def guarded(request: web.Request) -> web.StreamResponse:
            return self.refusal(request, reporting=marked) or await handler(request)

        return guarded

    def open_routes(self) -> list[web.RouteDef]:
        """Return the routes that need no token: those to log in and out of pages."""
        return [] if self._logins is None else self._logins.routes()

    def _is_ours(self, url: str) -> bool:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            return False
        return host is not None and host in self._hosts


_REPORTS_ONLY = web.RequestKey("reports_only", bool)
_REPORTING: WeakSet[Handler] = WeakSet()


def reporting(handler: Handler) -> Handler:
    """Return ``handler`` so that the token of clients which only report opens it as well."""

    async def marked(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    _REPORTING.add(marked)
    return marked


def has_admin_scope(request: web.Request) -> bool:
    """Tell whether a request that passed the guard may see everything, or only its own."""
    return not request.get(_REPORTS_ONLY, False)


def admin_routes(
    *,
    version: str,
    started_at: float,
    effective_config: Mapping[str, Any],
    problems: Problems,
    extra: Iterable[web.AbstractRouteDef] = (),
    guard: AdminGuard,
    prefix: str = "",
    clock: Callable[[], float] = time.time,
) -> list[web.RouteDef]:
    """Return the routes of our own endpoints, guarded; ``app.add_routes`` takes them.

    They are ``/health`` and ``/healthz`` (the process lives), ``/readyz`` (503 and the list
    while ``problems()`` returns any sentence), ``/config`` (``effective_config``, secrets
    already hidden), and ``extra``, the routes of the interceptors.  ``started_at`` is the Unix
    time of the start and ``prefix`` (empty or ``/something``) goes before every path.

    Each path also answers other methods, with 405, so that nothing under it is ever proxied.
    Raises `TypeError` where ``extra`` has something else than plain routes.
    """
    body = msgspec.json.encode(effective_config)

    async def health(request: web.Request) -> web.Response:
        uptime = max(0.0, clock() - started_at)
        state = {"status": "ok", "version": version, "uptime_seconds": round(uptime, 3)}
        return _json(msgspec.json.encode(state))

    async def ready(request: web.Request) -> web.Response:
        answer = problems()
        found = answer if isinstance(answer, list) else await answer
        state = {"status": "degraded" if found else "ready", "problems": found}
        return _json(msgspec.json.encode(state), 503 if found else 200)

    async def config(request: web.Request) -> web.Response:
        return _json(body)

    own = [
        web.get("/health", health),
        web.get("/healthz", health),
        web.get("/readyz", ready),
        web.get("/config", config),
    ]
    routes = [*own, *extra]
    has_pages = any(isinstance(route, web.RouteDef) and route.path == AREA for route in routes)
    # The open ones first: what is guarded answers every path, and all methods.
    return [*(guard.open_routes() if has_pages else ()), *_guarded(routes, guard, prefix)]


def exposed(host: str) -> bool:
    """Tell whether a listener on ``host`` can be reached from other machines.

    >>> exposed("127.0.0.1"), exposed("localhost"), exposed("0.0.0.0")
    (False, False, True)
    """
    name = host.strip("[]").lower()
    if name == "localhost":
        return False
    try:
        return not ip_address(name).is_loopback
    except ValueError:
        return True


def _guarded(
    routes: Iterable[web.AbstractRouteDef], guard: AdminGuard, prefix: str
) -> list[web.RouteDef]:
    guarded: list[web.RouteDef] = []
    for route in routes:
        if not isinstance(route, web.RouteDef):
            raise TypeError(f"only plain routes can be served among our own endpoints: {route!r}")
        handler = guard.protect(route.handler)
        guarded.append(web.RouteDef(route.method, prefix + route.path, handler, route.kwargs))
    methods: dict[str, set[str]] = {}
    for route in guarded:
        if route.method != "*":
            known = methods.setdefault(route.path, set())
            known.add(route.method)
            if route.method == "GET" and route.kwargs.get("allow_head", True):
                known.add("HEAD")  # aiohttp answers it itself
    return guarded + [
        web.RouteDef("*", path, guard.protect(_method_not_allowed(known)), {})
        for path, known in methods.items()
    ]


def _method_not_allowed(known: set[str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    allowed = ", ".join(sorted(known))

    async def refuse(request: web.Request) -> web.Response:
        del request
        answer = _json(b'{"error":"This endpoint does not know that method."}', 405)
        answer.headers["Allow"] = allowed
        return answer

    return refuse


def _has_token(request: web.Request, token: bytes | None) -> bool:
    if token is None:
        return False
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Compared as bytes: compare_digest refuses text that is not ASCII.
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token)
    return same and scheme.lower() == "bearer"


def _unauthorised() -> web.Response:
    response = _json(b'{"error":"Authorization: Bearer with the admin.token is needed."}', 401)
    response.headers["WWW-Authenticate"] = 'Bearer realm="gateway-sessions"'
    return response


def _forbidden(message: str) -> web.Response:
    return _json(msgspec.json.encode({"error": message}), 403)


def _json(body: bytes, status: int = 200) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=body, status=status, headers=headers)
