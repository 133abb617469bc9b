"""Logging in with a browser, on a listener that asks for a token."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from gateway_sessions.web.admin import AdminGuard, admin_routes
from gateway_sessions.web.login import LOGIN_COOKIE, LOGIN_SECONDS, MAX_FORM_BYTES, Logins

TOKEN = "a-token-of-some-length"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
Client = TestClient[web.Request, web.Application]


async def shown(request: web.Request) -> web.Response:
    return web.Response(text=f"page of {request.path}")


@asynccontextmanager
async def serving(token: str | None = TOKEN, prefix: str = "") -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(
        admin_routes(
            version="1",
            started_at=0.0,
            effective_config={},
            problems=list,
            extra=[
                web.get("/sessions", shown),
                web.get("/sessions/list", shown),
                web.get("/metrics", shown),
            ],
            guard=AdminGuard(token, prefix=prefix),
            prefix=prefix,
        )
    )
    async with TestClient(TestServer(app)) as client:
        yield client


async def log_in(client: Client, token: str = TOKEN, after: str = "", **headers: str) -> Any:
    return await client.post(
        "/sessions/login",
        data={"token": token, "next": after},
        headers=headers,
        allow_redirects=False,
    )


async def test_whoever_has_the_token_gets_pages_and_nothing_else() -> None:
    async with serving() as client:
        form = await client.get("/sessions/list?page=2", headers=BROWSER)
        assert form.status == 401
        text = await form.text()
        assert 'name="next" value="/sessions/list?page=2"' in text
        assert 'action="/sessions/login"' in text
        answer = await log_in(client, after="/sessions/list?page=2")
        assert answer.status == 303
        assert answer.headers["Location"] == "/sessions/list?page=2"
        cookie = answer.headers["Set-Cookie"]
        for part in ("HttpOnly", "SameSite=Strict", "Path=/sessions", "Max-Age=43200"):
            assert part in cookie
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert (await client.get("/sessions/list")).status == 200
        value = client.session.cookie_jar.filter_cookies(client.make_url("/sessions"))
        own = {"Cookie": f"{LOGIN_COOKIE}={value[LOGIN_COOKIE].value}"}
        for path in ("/metrics", "/config", "/health"):
            assert (await client.get(path, headers=own)).status == 401


async def test_the_form_runs_and_loads_nothing() -> None:
    async with serving() as client:
        form = await client.get("/sessions", headers=BROWSER)
        policy = form.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert form.headers["Cache-Control"] == "no-store"
        text = await form.text()
        assert not re.search(r"<script|\ssrc=|<link", text)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "é\udcff"])
async def test_a_wrong_token(token: str) -> None:
    async with serving() as client:
        answer = await client.post(
            "/sessions/login", data=f"token={token}".encode("utf-8", "surrogatepass")
        )
        assert answer.status == 401
        assert "That is not the token." in await answer.text()
        assert "Set-Cookie" not in answer.headers
        assert (await client.get("/sessions")).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_pages_of_other_sites_can_use_no_login(headers: dict[str, str]) -> None:
    async with serving() as client:
        assert (await log_in(client, **headers)).status == 403
        assert (await log_in(client)).status == 303
        assert (await client.get("/sessions")).status == 200
        assert (await client.get("/sessions", headers=headers)).status == 401
        # The socket of the live feed is opened with GET, too.
        await client.post("/sessions/logout", headers=headers, allow_redirects=False)
        assert (await client.get("/sessions")).status == 200


async def test_own_pages_may_say_where_they_come_from() -> None:
    async with serving() as client:
        own = f"http://{client.host}:{client.port}"
        assert (await log_in(client, Origin=own)).status == 303
        assert (await client.get("/sessions", headers={"Origin": own})).status == 200
        fetched = {"Sec-Fetch-Site": "same-origin"}
        assert (await client.get("/sessions", headers=fetched)).status == 200


async def test_after_logging_out_the_cookie_is_gone() -> None:
    async with serving() as client:
        await log_in(client)
        answer = await client.post("/sessions/logout", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/sessions")
        assert (await client.get("/sessions")).status == 401


@pytest.mark.parametrize(
    "after",
    [
        "",
        "https://evil.example/",
        "//evil.example/sessions",
        "/sessionsevil",
        "/metrics",
        "/sessions/\r\nSet-Cookie: a=b",
        "/sessions\\evil",
        "/sessions/é",
    ],
)
async def test_a_login_never_leads_elsewhere(after: str) -> None:
    async with serving() as client:
        answer = await log_in(client, after=after)
        assert (answer.status, answer.headers["Location"]) == (303, "/sessions")


async def test_over_https_the_cookie_stays_there() -> None:
    async with serving() as client:
        answer = await log_in(client, **{"X-Forwarded-Proto": "https"})
        assert "; Secure" in answer.headers["Set-Cookie"]


async def test_too_much_is_not_read() -> None:
    async with serving() as client:
        answer = await client.post("/sessions/login", data=b"token=" + b"x" * MAX_FORM_BYTES)
        assert answer.status == 413


async def test_programs_get_json_and_not_a_form() -> None:
    async with serving() as client:
        for headers in ({}, {"Accept": "application/json"}):
            answer = await client.get("/sessions", headers=headers)
            assert (answer.status, answer.content_type) == (401, "application/json")
        elsewhere = await client.get("/metrics", headers=BROWSER)
        assert (elsewhere.status, elsewhere.content_type) == (401, "application/json")
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.get("/sessions", headers=bearer)).status == 200


async def test_below_a_prefix() -> None:
    async with serving(prefix="/own") as client:
        form = await client.get("/own/sessions", headers=BROWSER)
        assert 'action="/own/sessions/login"' in await form.text()
        answer = await client.post(
            "/own/sessions/login", data={"token": TOKEN}, allow_redirects=False
        )
        assert answer.headers["Location"] == "/own/sessions"
        assert (await client.get("/own/sessions")).status == 200
        assert (await client.get("/sessions/login")).status == 404


async def test_without_a_token_there_is_nothing_to_log_in_to() -> None:
    async with serving(None) as client:
        assert (await client.post("/sessions/login", data={"token": "x"})).status == 404
        assert (await client.get("/sessions")).status == 200


@pytest.mark.parametrize(
    ("spoil", "good"),
    [
        (lambda value: value, True),
        (lambda value: f"9{value}", False),
        (lambda value: value[:-1], False),
        (lambda value: value.partition(".")[2], False),
        (lambda value: "", False),
        (lambda value: "é.é", False),
    ],
)
def test_only_cookies_that_were_given_count(spoil: Any, good: bool) -> None:
    logins = Logins(b"token", clock=lambda: 1000.0)
    assert logins._is_good(spoil(logins._issue())) is good


def test_a_login_ends_by_itself_and_with_the_process() -> None:
    now = 1000.0
    logins = Logins(b"token", clock=lambda: now)
    cookie = logins._issue()
    request = make_mocked_request(
        "GET", "/sessions", headers={"Cookie": f"{LOGIN_COOKIE}={cookie}", "Host": "here"}
    )
    assert logins.allows(request)
    assert not Logins(b"token", clock=lambda: now).allows(request)
    now += LOGIN_SECONDS
    assert not logins.allows(request)


def test_a_cookie_only_reads() -> None:
    logins = Logins(b"token")
    headers = {"Cookie": f"{LOGIN_COOKIE}={logins._issue()}", "Host": "here"}
    assert logins.allows(make_mocked_request("HEAD", "/sessions/list", headers=headers))
    for method in ("POST", "PUT", "DELETE"):
        assert not logins.allows(make_mocked_request(method, "/sessions", headers=headers))
