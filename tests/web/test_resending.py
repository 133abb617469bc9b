"""Logged requests are sent again: in their order, as whole as the log has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway_sessions.exchange_log import LoggedExchange, LoggedRequest, LoggedResponse
from gateway_sessions.web.resending import Resender, Resent

START = datetime(2026, 1, 1, tzinfo=UTC)
PATH = "/v1/chat/completions"


def logged(
    name: str,
    at: float = 0.0,
    *,
    body: Any = None,
    status: int | None = 200,
    duration: float = 0.0,
    headers: dict[str, str | list[str]] | None = None,
    path: str = PATH,
    method: str = "POST",
) -> LoggedExchange:
    """Return an exchange that began and took so many seconds after and from `START`."""
    raw = msgspec.Raw(json.dumps({"said": name} if body is None else body).encode())
    response = None if status is None else LoggedResponse(status, duration_ms=duration * 1000)
    request = LoggedRequest(path, method, headers, raw)
    return LoggedExchange(START + timedelta(seconds=at), request, response, request_id=name)


class Server:
    """Notes what it is asked and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.answer: Callable[[str], Awaitable[web.Response]] = self._at_once
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        said = json.loads(self.bodies[-1])["said"] if self.bodies[-1][:1] == b"{" else ""
        return await self.answer(said)

    async def _at_once(self, said: str) -> web.Response:
        return web.json_response({}, headers={"X-Gateway-Session-Id": f"sess_{said}"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running:
        server.url = str(running.make_url("/")).rstrip("/")
        yield server


async def all_of(resender: Resender, *exchanges: LoggedExchange) -> list[Resent]:
    return [one async for one in resender.resent(exchanges)]


async def test_a_request_is_sent_as_logged_without_what_can_not_be_sent(server: Server) -> None:
    headers: dict[str, str | list[str]] = {
        "X-Twice": ["a", "b"],
        "Authorization": "Bearer ***",
        "Host": "elsewhere",
        "Content-Length": "3",
        "Content-Encoding": "gzip",
        "X-Gateway-Session-Id": "sess_old",
        "Content-Type": "application/json; charset=utf-8",
    }
    resender = Resender(server.url + "/base/", headers={"X-Api-Key": "sk-mine"})
    [one] = await all_of(resender, logged("a", headers=headers, path=PATH + "?x=%7E"))
    [asked] = server.asked
    assert asked.raw_path == "/base" + PATH + "?x=%7E"
    assert server.bodies == [b'{"said": "a"}']
    assert asked.headers.getall("X-Twice") == ["a", "b"]
    assert asked.headers["X-Api-Key"] == "sk-mine"
    assert asked.headers["Content-Type"] == "application/json; charset=utf-8"
    for name in ("Authorization", "Content-Encoding", "X-Gateway-Session-Id"):
        assert name not in asked.headers
    assert (one.status, one.logged_status, one.session_id) == (200, 200, "sess_a")
    assert one.as_logged
    assert one.duration_ms is not None
    assert one.duration_ms >= 0


async def test_a_header_of_ones_own_takes_the_place_of_the_logged_one(server: Server) -> None:
    resender = Resender(server.url, headers={"X-Team": "new"})
    await all_of(resender, logged("a", headers={"x-team": "old"}))
    assert server.asked[0].headers.getall("X-Team") == ["new"]


async def test_what_was_answered_before_is_answered_before_and_the_rest_overlaps(
    server: Server,
) -> None:
    gate, both = asyncio.Event(), asyncio.Event()

    async def answer(said: str) -> web.Response:
        if len(server.asked) == 2:
            both.set()
        await gate.wait()
        return web.json_response({})

    server.answer = answer
    log = (logged("a", 0, duration=5), logged("b", 1, duration=1), logged("c", 3))
    async with asyncio.TaskGroup() as group:
        run = group.create_task(all_of(Resender(server.url), *log))
        await asyncio.wait_for(both.wait(), 10)
        assert {json.loads(body)["said"] for body in server.bodies} == {"a", "b"}
        gate.set()
    # In the order of the log's answers: b was answered before c was asked, a after that.
    assert [one.request_id for one in await run] == ["b", "c", "a"]


async def test_no_more_than_some_are_under_way(server: Server) -> None:
    under_way = most = 0

    async def answer(said: str) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return web.json_response({})

    server.answer = answer
    log = [logged(str(number), duration=60) for number in range(10)]
    assert len(await all_of(Resender(server.url, at_once=3), *log)) == 10
    assert 1 <= most <= 3


async def test_the_pauses_of_the_log_are_kept_at_a_speed(server: Server) -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    resender = Resender(server.url, speed=2, monotonic=lambda: now, sleep=sleep)
    await all_of(resender, logged("a", 0), logged("b", 10), logged("c", 11))
    assert slept == [0, 5, 0.5]


@pytest.mark.parametrize("body", [b'{"truncated":true,"size":9,"text":"{"}', b"null"])
async def test_what_the_log_does_not_hold_is_not_sent(server: Server, body: bytes) -> None:
    part = _with_body(b'{"messages": []}')
    part.request.messages_left_out = 3
    one, other = await all_of(Resender(server.url), _with_body(body), part)
    assert server.asked == []
    assert other.error == one.error
    assert one.status is None
    assert one.error == "the log does not have the whole request"
    assert not one.as_logged


async def test_a_body_that_is_no_json_is_sent_as_it_was(server: Server) -> None:
    await all_of(Resender(server.url), _with_body(b'"not\\njson"'))
    assert server.bodies == [b"not\njson"]


def _with_body(body: bytes) -> LoggedExchange:
    request = LoggedRequest(PATH, body=msgspec.Raw(body))
    return LoggedExchange(START, request, LoggedResponse(), request_id="a")


async def test_a_get_has_no_body(server: Server) -> None:
    models = LoggedExchange(START, LoggedRequest("/v1/models", "GET"), None, request_id="m")
    [one] = await all_of(Resender(server.url), models)
    assert server.bodies == [b""]
    assert one.as_logged  # nothing is logged of the answer, and it was a success


async def test_another_status_is_told_and_a_redirect_is_not_followed(server: Server) -> None:
    async def answer(said: str) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    server.answer = answer
    [one] = await all_of(Resender(server.url), logged("a"))
    assert (one.logged_status, one.status, one.as_logged) == (200, 302, False)
    assert len(server.asked) == 1


async def test_a_server_that_can_not_be_reached_is_told_and_the_rest_goes_on() -> None:
    results = await all_of(Resender("http://127.0.0.1:1"), logged("a"), logged("b", 1))
    assert [one.request_id for one in results] == ["a", "b"]
    assert all(one.status is None and one.error for one in results)
