"""Which requests go past an app's router, and that it makes no difference to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from yarl import URL

from gateway_sessions.web.fallback import add_fallback, past_router


async def nothing(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("it is not called")


def app_with(*routes: str) -> web.Application:
    app = web.Application()
    for route in routes:
        app.router.add_get(route, nothing)
    return app


def asked(app: web.Application, path: str, **headers: str) -> str:
    """Return which way a request takes."""

    async def routed(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(reason="routed")

    request = SimpleNamespace(raw_path=path, headers=headers)
    coroutine = cast("Any", past_router(app, routed)(cast("Any", request)))
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("str", end.value.reason)
    raise AssertionError("it waits for something")


async def fallback(request: web.Request) -> web.StreamResponse:
    return web.Response(reason="fallback")


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/v1/chat/completions", "fallback"),
        ("/", "fallback"),
        ("//health", "fallback"),
        ("/health", "routed"),
        ("/healthy", "routed"),
        ("/health?x=1", "routed"),
        ("/%68ealth", "routed"),
        ("/sessions/sess_1", "routed"),
        ("/sessions", "fallback"),
        ("http://x/health", "routed"),
        ("*", "routed"),
    ],
)
def test_what_may_be_for_a_route_goes_by_the_router(path: str, way: str) -> None:
    app = app_with("/health", "/sessions/{id}")
    add_fallback(app, fallback)
    assert asked(app, path) == way


def test_what_waits_to_be_asked_to_continue_goes_by_the_router() -> None:
    app = app_with()
    add_fallback(app, fallback)
    assert asked(app, "/a") == "fallback"
    assert asked(app, "/a", Expect="100-continue") == "routed"


def test_a_route_that_takes_everything_leaves_nothing() -> None:
    app = app_with("/{anything}")
    add_fallback(app, fallback)
    assert asked(app, "/a") == "routed"


def test_an_app_without_a_fallback_has_its_router_only() -> None:
    app = app_with("/health")
    assert asked(app, "/a") == "routed"


async def test_the_router_finds_the_fallback_too() -> None:
    app = app_with("/health")
    add_fallback(app, fallback)
    for path in ("/a", "/%0a", "/a%2Fb"):
        match = await app.router.resolve(
            cast("Any", SimpleNamespace(rel_url=URL(path, encoded=True), method="POST"))
        )
        assert match.handler is fallback
