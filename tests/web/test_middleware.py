"""The middleware inside of somebody else's app."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import Exchange, Refusal
from gateway_sessions.gateway import Gateway
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.web import bodies
from gateway_sessions.web.middleware import SESSION, session_middleware, setup
from tests.web.harness import ANSWER, CHAT, LIMIT, QUESTION

EVENTS = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


class Notes:
    """An interceptor that keeps what it sees, and may refuse."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.finished: list[Exchange] = []
        self.over = asyncio.Event()
        self.is_open = False
        self._refusal = refusal

    def open(self, context: object) -> None:
        self.is_open = True

    def request_started(self, exchange: Exchange) -> Refusal | None:
        return self._refusal

    def exchange_finished(self, exchange: Exchange) -> None:
        self.finished.append(exchange)
        self.over.set()

    def close(self) -> None:
        self.is_open = False

    async def one(self) -> Exchange:
        """Wait for the first exchange to be over."""
        await asyncio.wait_for(self.over.wait(), LIMIT)
        return self.finished[0]


def make_gateway(notes: Notes) -> Gateway:
    telemetry = Telemetry()
    chain = InterceptorChain([("notes", notes)], telemetry)
    return Gateway(DetectionSettings(), secret=b"s" * 32, interceptors=chain, telemetry=telemetry)


Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serving(
    handler: Handler,
    notes: Notes | None = None,
    prepare: Callable[[web.Application], None] = lambda app: None,
    **server: bool,
) -> AsyncIterator[tuple[Client, Notes]]:
    """Serve one handler on every path, with sessions."""
    notes = notes or Notes()
    app = web.Application()
    prepare(app)
    setup(app, make_gateway(notes))
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestClient(TestServer(app)) as client:
        assert notes.is_open
        yield client, notes
    assert not notes.is_open


async def answer(request: web.Request) -> web.StreamResponse:
    tag = request[SESSION]
    assert tag is not None
    body = await request.json()
    assert body["messages"]
    return web.Response(
        body=ANSWER, content_type="application/json", headers={"X-Seen": tag.session_id}
    )


async def test_a_handler_finds_the_session_and_the_body() -> None:
    async with serving(answer) as (client, notes):
        response = await client.post(CHAT, data=QUESTION)
        assert response.status == 200
        assert await response.read() == ANSWER
        assert response.headers["X-Gateway-Session-Id"] == response.headers["X-Seen"]
        exchange = await notes.one()
        assert exchange.session is not None
        assert exchange.session.session_id == response.headers["X-Seen"]
        assert exchange.response is not None
        assert exchange.response.body == ANSWER
        assert exchange.response.error is None


async def test_a_conversation_is_one_session() -> None:
    async with serving(answer) as (client, _):
        first = await client.post(CHAT, data=QUESTION)
        reply = json.loads(ANSWER)["choices"][0]["message"]
        history = [*json.loads(QUESTION)["messages"], reply, {"role": "user", "content": "more"}]
        second = await client.post(CHAT, json={"model": "m", "messages": history})
        assert second.headers["X-Gateway-Session-Relation"] == "continue"
        assert second.headers["X-Gateway-Session-Id"] == first.headers["X-Gateway-Session-Id"]


async def test_a_token_count_is_shown_with_its_session() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == CHAT:
            return web.Response(body=ANSWER, content_type="application/json")
        return web.json_response({"input_tokens": len(await request.read())})

    async with serving(handler) as (client, _):
        first = await client.post(CHAT, data=QUESTION)
        history = json.loads(QUESTION)["messages"]
        reply = json.loads(ANSWER)["choices"][0]["message"]
        counts = [
            await client.post("/v1/messages/count_tokens", json={"messages": messages})
            for messages in ([*history, reply, *history], [{"role": "user", "content": "other"}])
        ]
        names = [response.headers.get("X-Gateway-Session-Id") for response in counts]
        assert names == [first.headers["X-Gateway-Session-Id"], None]
        assert all([(await response.json())["input_tokens"] for response in counts])


async def test_a_streamed_response_is_tagged_and_observed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
        await response.write_eof()
        return response

    async with serving(handler) as (client, notes):
        response = await client.post(CHAT, data=QUESTION)
        assert response.headers["X-Gateway-Session-Relation"] == "first"
        assert await response.read() == b"".join(EVENTS)
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.streamed
        assert json.loads(exchange.response.body)["choices"][0]["message"]["content"] == "Hi"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_response_that_aiohttp_compresses_is_read_all_the_same(streamed: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        kind = {"Content-Type": "application/json"}
        if not streamed:
            whole = web.Response(body=ANSWER, headers=kind)
            whole.enable_compression(web.ContentCoding.gzip)
            return whole
        response = web.StreamResponse(headers=kind)
        response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        await response.write(ANSWER)
        return response

    async with serving(handler) as (client, notes):
        response = await client.post(CHAT, data=QUESTION)
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == ANSWER
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.body == ANSWER


@pytest.mark.parametrize(
    ("path", "method"), [("/v1/embeddings", "POST"), (CHAT, "GET"), ("/", "GET")]
)
async def test_other_requests_are_left_alone(path: str, method: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request[SESSION] is None
        assert await request.read() == b"{}"
        return web.Response(text="fine")

    async with serving(handler) as (client, notes):
        response = await client.request(method, path, data=b"{}")
        assert await response.text() == "fine"
        assert not [name for name in response.headers if name.startswith("X-Gateway")]
        assert notes.finished == []


async def test_a_body_above_the_apps_own_limit_is_the_apps_to_refuse() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        raise AssertionError("is too long")

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(2 << 20)

    async with serving(handler) as (client, _):
        for body in (io.BytesIO(bytes(2 << 20)), chunks()):
            response = await client.post(CHAT, data=body)
            assert response.status == 413


async def test_a_handler_may_stream_a_body_that_is_too_long_to_look_at() -> None:
    size = 3 << 20

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request[SESSION] is None
        seen = 0
        async for piece in request.content.iter_any():
            seen += len(piece)
        return web.json_response({"seen": seen})

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 65536):
            yield bytes(65536)

    async with serving(handler) as (client, _):
        for body in (io.BytesIO(bytes(size)), chunks()):
            response = await client.post(CHAT, data=body)
            assert await response.json() == {"seen": size}


async def test_a_body_that_the_app_gets_decoded_is_not_decoded_again() -> None:
    async with serving(answer) as (client, notes):
        response = await client.post(
            CHAT, data=gzip.compress(QUESTION), headers={"Content-Encoding": "gzip"}
        )
        assert response.status == 200
        exchange = await notes.one()
        assert exchange.message_count == 1


async def test_an_error_of_the_handler_is_a_response_like_any_other() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTooManyRequests(text='{"error": {}}', headers={"Retry-After": "3"})

    async with serving(handler) as (client, notes):
        response = await client.post(CHAT, data=QUESTION)
        assert (response.status, response.headers["Retry-After"]) == (429, "3")
        assert "X-Gateway-Session-Id" in response.headers
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.status == 429


async def test_a_handler_that_fails_is_recorded_as_the_500_that_the_client_gets() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise ValueError("a bug of the app")

    async with serving(handler) as (client, notes):
        response = await client.post(CHAT, data=QUESTION)
        assert response.status == 500
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.status == 500


async def test_so_is_one_that_can_not_reach_its_own_upstream() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise ConnectionRefusedError

    async with serving(handler) as (client, notes):
        assert (await client.post(CHAT, data=QUESTION)).status == 500
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.error is None


async def test_a_body_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield QUESTION[:5]
        await asyncio.Event().wait()

    async with serving(answer) as (client, _):
        assert (await client.post(CHAT, data=stuck())).status == 408


async def test_a_handler_that_fails_in_a_stream_leaves_it_broken() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(EVENTS[0])
        raise ValueError("a bug of the app")

    async with serving(handler) as (client, notes):
        response = await client.post(CHAT, data=QUESTION)
        with pytest.raises(Exception, match=r"not completed|payload"):
            await response.read()
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.error == "upstream_aborted"


async def test_a_client_that_leaves_is_recorded_as_such() -> None:
    started = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(EVENTS[0])
        started.set()
        while True:
            await asyncio.sleep(0)
            await response.write(b": still there\n\n")

    async with serving(handler) as (client, notes), ClientSession() as leaving:
        response = await leaving.post(client.make_url(CHAT), data=QUESTION)
        await asyncio.wait_for(started.wait(), LIMIT)
        response.close()
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.error == "client_closed"


async def test_a_refusal_is_answered_in_place_of_the_handler() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise AssertionError("must not be called")

    notes = Notes(Refusal(429, "Too fast.", (("Retry-After", "2"),)))
    async with serving(handler, notes) as (client, _):
        response = await client.post(CHAT, data=QUESTION)
        assert (response.status, response.headers["Retry-After"]) == (429, "2")
        assert (await response.json())["error"]["message"] == "Too fast."
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.error == "refused"


async def test_middlewares_outside_of_ours_can_still_change_the_response() -> None:
    @web.middleware
    async def outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers["X-Outer"] = "yes"
        return response

    def prepare(app: web.Application) -> None:
        app.middlewares.append(outer)

    async with serving(answer, prepare=prepare) as (client, _):
        response = await client.post(CHAT, data=QUESTION)
        assert response.headers["X-Outer"] == "yes"
        assert "X-Gateway-Session-Id" in response.headers


async def test_the_middleware_works_without_setup() -> None:
    notes = Notes()
    gateway = make_gateway(notes)
    await gateway.open()
    middleware = session_middleware(gateway, response_headers="id")
    app = web.Application(middlewares=[middleware])
    app.router.add_post(CHAT, answer)
    async with TestClient(TestServer(app)) as client:
        response = await client.post(CHAT, data=QUESTION)
        own = [name for name in response.headers if name.startswith("X-Gateway")]
        assert own == ["X-Gateway-Session-Id"]
    await gateway.close()


async def test_a_gateway_that_can_not_open_keeps_the_app_from_starting() -> None:
    async def refuse() -> None:
        raise RuntimeError("no folder")

    app = web.Application()
    setup(app, make_gateway(Notes()), opened=refuse)
    with pytest.raises(RuntimeError, match="no folder"):
        async with TestServer(app):
            pass
