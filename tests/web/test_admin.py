from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway_sessions.web.admin import (
    AdminGuard,
    admin_routes,
    exposed,
    has_admin_scope,
    reporting,
)
from tests.web.harness import answers, gateway, request, response, upstream

PATHS = ["/health", "/healthz", "/readyz", "/config", "/metrics"]
TOKEN = "a-token-of-some-length"


async def metrics(request: web.Request) -> web.Response:
    return web.Response(text="metrics 1")


def routes(guard: AdminGuard, prefix: str = "", **options: Any) -> list[web.RouteDef]:
    return admin_routes(
        version="1.2.3",
        started_at=100.0,
        effective_config={"session": {"enabled": True}, "admin": {"token": "***"}},
        guard=guard,
        prefix=prefix,
        clock=lambda: 160.5,
        **{"problems": list, "extra": [web.get("/metrics", metrics)], **options},
    )


@asynccontextmanager
async def serving(
    guard: AdminGuard | None = None, **options: Any
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.add_routes(routes(guard or AdminGuard(None), **options))
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("path", ["/health", "/healthz"])
async def test_health(path: str) -> None:
    async with serving() as client:
        found = await client.get(path)
        assert found.status == 200
        assert await found.json() == {"status": "ok", "version": "1.2.3", "uptime_seconds": 60.5}


async def test_ready() -> None:
    problems: list[str] = []
    async with serving(problems=lambda: problems) as client:
        assert (await client.get("/readyz")).status == 200
        problems.append("The folder ./traces can not be written.")
        found = await client.get("/readyz")
        assert found.status == 503
        assert await found.json() == {"status": "degraded", "problems": problems}


async def test_config() -> None:
    async with serving() as client:
        found = await (await client.get("/config")).json()
        assert found == {"session": {"enabled": True}, "admin": {"token": "***"}}


async def test_routes_of_interceptors_are_served_too() -> None:
    async with serving() as client:
        assert await (await client.get("/metrics")).text() == "metrics 1"


async def test_all_paths_can_be_moved() -> None:
    async with serving(prefix="/gateway") as client:
        for path in PATHS:
            assert (await client.get("/gateway" + path)).status == 200
            assert (await client.get(path)).status == 404


def test_only_plain_routes_can_be_served() -> None:
    with pytest.raises(TypeError):
        admin_routes(
            version="",
            started_at=0.0,
            effective_config={},
            problems=list,
            extra=[web.static("/files", ".")],
            guard=AdminGuard(None),
        )


@pytest.mark.parametrize("path", PATHS)
class TestToken:
    @pytest.mark.parametrize(
        "given",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Basic {TOKEN}",
            TOKEN,
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            "Bearer ünïcödé",
        ],
    )
    async def test_without_it_nothing_is_served(self, path: str, given: str | None) -> None:
        async with serving(AdminGuard(TOKEN)) as client:
            for method in ("GET", "POST", "HEAD", "OPTIONS"):
                headers = {} if given is None else {"Authorization": given}
                found = await client.request(method, path, headers=headers)
                assert found.status == 401
                assert found.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_with_it_any_host_may_ask(self, path: str) -> None:
        async with serving(AdminGuard(TOKEN)) as client:
            headers = {"Authorization": f"bearer {TOKEN}", "Host": "gateway.example"}
            assert (await client.get(path, headers=headers)).status == 200


@pytest.mark.parametrize("admin", [TOKEN, None])
async def test_the_reporting_token_opens_what_is_marked_for_it(admin: str | None) -> None:
    async def scope(request: web.Request) -> web.Response:
        return web.Response(text=str(has_admin_scope(request)))

    guard = AdminGuard(admin, reporting_token="reports")
    extra = [web.get("/marked", reporting(scope)), web.get("/plain", scope)]
    async with serving(guard, extra=extra) as client:

        async def ask(path: str, token: str | None) -> tuple[int, str]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            found = await client.get(path, headers=headers)
            return found.status, await found.text()

        assert await ask("/marked", "reports") == (200, "False")
        assert await ask("/marked", admin) == (200, "True")
        assert await ask("/plain", admin) == (200, "True")
        if admin is not None:
            for path in ("/plain", "/health", "/config"):
                assert (await ask(path, "reports"))[0] == 401
            for token in (None, "wrong", ""):
                assert (await ask("/marked", token))[0] == 401


HOSTS = {
    "localhost": 200,
    "localhost:3000": 200,
    "LOCALHOST": 200,
    "127.0.0.1": 200,
    "127.0.0.1:1": 200,
    "[::1]:3000": 200,
    "gateway.lan": 200,
    "evil.example": 403,
    "localhost.evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "evil.example:80": 403,
    "user@evil.example": 403,
    "localhost@evil.example": 403,
    "192.168.0.1": 403,
    "0.0.0.0": 403,
    "[::]": 403,
    "[": 403,
    "": 403,
}
ORIGINS = {
    "http://localhost:3000": 200,
    "http://127.0.0.1": 200,
    "https://gateway.lan": 200,
    "http://[::1]:3000": 200,
    "https://evil.example": 403,
    "http://localhost.evil.example": 403,
    "http://evil.example/localhost": 403,
    "null": 403,
    "": 403,
    "file://": 403,
    "http://": 403,
    "chrome-extension://abcdef": 403,
}


class TestLoopback:
    guard = AdminGuard(None, ["gateway.lan"])

    @pytest.mark.parametrize(("host", "status"), HOSTS.items())
    async def test_only_our_own_names_are_served(self, host: str, status: int) -> None:
        async with serving(self.guard) as client:
            for path in PATHS:
                found = await client.get(path, headers={"Host": host})
                assert found.status == status
                assert status == 200 or b"uptime" not in await found.read()

    @pytest.mark.parametrize(("origin", "status"), ORIGINS.items())
    async def test_pages_of_other_sites_get_nothing(self, origin: str, status: int) -> None:
        async with serving(self.guard) as client:
            for path in PATHS:
                found = await client.get(path, headers={"Origin": origin})
                assert found.status == status

    async def test_nor_do_their_images_and_links(self) -> None:
        async with serving(self.guard) as client:
            found = await client.get("/config", headers={"Sec-Fetch-Site": "cross-site"})
            assert found.status == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("path", PATHS)
async def test_our_own_paths_are_never_forwarded(path: str, method: str) -> None:
    async with upstream(answers(response())) as up:
        for guard in (AdminGuard(None), AdminGuard(TOKEN)):
            async with gateway(up.url, admin=routes(guard)) as gw:
                await gw.ask(request(b"", method=method, target=path))
                await gw.ask(request(b"", method=method, target=path + "?a=b"))
        assert up.requests == []


async def test_a_method_that_a_path_does_not_know_is_told_those_that_it_does() -> None:
    async with serving(AdminGuard(None)) as client:
        found = await client.request("PURGE", "/health")
    assert found.status == 405
    assert found.headers["Allow"] == "GET, HEAD"


async def test_other_paths_are_forwarded() -> None:
    async with upstream(answers(response())) as up:
        async with gateway(up.url, admin=routes(AdminGuard(None))) as gw:
            for path in ("/health/x", "/", "/v1/config", "/metricsx"):
                assert (await gw.ask(request(b"", target=path))).status == 200
        assert len(up.requests) == 4


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.1", False),
        ("127.1.2.3", False),
        ("::1", False),
        ("[::1]", False),
        ("localhost", False),
        ("LocalHost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.1.1", True),
        ("gateway.example", True),
        ("", True),
    ],
)
def test_exposed(host: str, reachable: bool) -> None:
    assert exposed(host) is reachable
