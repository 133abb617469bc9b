"""The ASGI middleware: hand-written apps for the protocol, Starlette on uvicorn for the world."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway_sessions.exchange import Refusal
from gateway_sessions.web import asgi
from gateway_sessions.web.asgi import SCOPE_KEY, App, Message, Receive, Scope, Send
from tests.web.harness import ANSWER, CHAT, LIMIT, QUESTION
from tests.web.test_middleware import EVENTS, Notes, make_gateway


def scope(path: str = CHAT, method: str = "POST", **more: Any) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"x"), (b"authorization", b"Bearer k")],
        "client": ("192.0.2.7", 4711),
        **more,
    }


class Call:
    """One request to an app, and what it answered."""

    def __init__(self, *pieces: bytes, then: Message | None = None) -> None:
        self.sent: list[Message] = []
        last = len(pieces) - 1
        self._messages: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": at < last}
            for at, piece in enumerate(pieces)
        ]
        self._messages.append(then or {"type": "http.disconnect"})

    async def receive(self) -> Message:
        return self._messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def answers_with(*pieces: bytes, kind: bytes = b"application/json") -> App:
    """Return an app that reads its request, and answers in so many messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        )
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    return app


@asynccontextmanager
async def wrapped(
    app: App, notes: Notes | None = None
) -> AsyncIterator[tuple[asgi.SessionASGIMiddleware, Notes]]:
    notes = notes or Notes()
    gateway = make_gateway(notes)
    yield asgi.SessionASGIMiddleware(app, gateway, trusted_proxies=["192.0.2.0/24"]), notes
    await gateway.close()


@pytest.mark.parametrize("pieces", [(QUESTION,), (QUESTION[:9], QUESTION[9:]), (b"", QUESTION)])
async def test_the_app_gets_the_request_as_it_came(pieces: tuple[bytes, ...]) -> None:
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope[SCOPE_KEY].relation == "first"
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            seen.append(message["body"])

    async with wrapped(app) as (middleware, notes):
        await middleware(scope(), (call := Call(*pieces)).receive, call.send)
        assert tuple(seen) == pieces
        assert notes.finished[0].request.body == QUESTION


async def test_a_response_is_tagged_and_observed() -> None:
    async with wrapped(answers_with(ANSWER)) as (middleware, notes):
        forwarded = [*scope()["headers"], (b"x-forwarded-for", b"203.0.113.9")]
        call = Call(QUESTION)
        await middleware(scope(headers=forwarded), call.receive, call.send)
        (exchange,) = notes.finished
        assert exchange.session is not None
        assert call.headers[b"x-gateway-session-id"] == exchange.session.session_id.encode()
        assert call.headers[b"content-type"] == b"application/json"
        assert call.body == ANSWER
        assert exchange.client.ip == "203.0.113.9"
        assert exchange.response is not None
        assert exchange.response.body == ANSWER
        assert exchange.response.error is None


async def test_each_message_of_a_stream_is_passed_on_as_it_is() -> None:
    async with wrapped(answers_with(*EVENTS, kind=b"text/event-stream")) as (middleware, notes):
        await middleware(scope(), (call := Call(QUESTION)).receive, call.send)
        assert [message["body"] for message in call.sent[1:-1]] == EVENTS
        response = notes.finished[0].response
        assert response is not None
        assert json.loads(response.body)["choices"][0]["message"]["content"] == "Hi"


@pytest.mark.parametrize(
    "other",
    [scope("/v1/embeddings"), scope(method="GET"), {**scope(), "type": "websocket"}],
    ids=["path", "method", "websocket"],
)
async def test_other_requests_are_left_alone(other: Scope) -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope[SCOPE_KEY], receive, send))

    async with wrapped(app) as (middleware, notes):
        call = Call(QUESTION)
        await middleware(other, call.receive, call.send)
        assert seen == [None, call.receive, call.send]
        assert notes.finished == []


async def test_a_body_that_is_too_long_passes_without_a_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi, "INSPECTION_LIMIT", len(QUESTION) - 1)
    async with wrapped(answers_with(ANSWER)) as (middleware, notes):
        await middleware(scope(), (call := Call(QUESTION[:9], QUESTION[9:])).receive, call.send)
        assert call.body == ANSWER
        assert notes.finished[0].session is None


async def test_a_client_that_leaves_is_recorded_as_such() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise asyncio.CancelledError

    async with wrapped(app) as (middleware, notes):
        call = Call(QUESTION)
        with pytest.raises(asyncio.CancelledError):
            await middleware(scope(), call.receive, call.send)
        response = notes.finished[0].response
        assert response is not None
        assert response.error == "client_closed"


async def test_an_app_that_fails_is_recorded_as_such() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a bug of the app")

    async with wrapped(app) as (middleware, notes):
        call = Call(QUESTION)
        with pytest.raises(ValueError, match="a bug"):
            await middleware(scope(), call.receive, call.send)
        response = notes.finished[0].response
        assert response is not None
        assert response.error == "upstream_aborted"


async def test_a_refusal_is_answered_in_place_of_the_app() -> None:
    notes = Notes(Refusal(429, "Too fast.", (("Retry-After", "2"),)))
    async with wrapped(answers_with(ANSWER), notes) as (middleware, _):
        await middleware(scope(), (call := Call(QUESTION)).receive, call.send)
        assert call.sent[0]["status"] == 429
        assert call.headers[b"Retry-After"] == b"2"
        assert json.loads(call.body)["error"]["message"] == "Too fast."
        assert notes.finished[0].response is not None
        assert notes.finished[0].response.error == "refused"


class TestLifespan:
    @staticmethod
    def call() -> Call:
        found = Call()
        found._messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        return found

    async def test_the_gateway_lives_as_long_as_the_app(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert (await receive())["type"] == "lifespan.startup"
            assert notes.is_open
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            assert notes.is_open
            await send({"type": "lifespan.shutdown.complete"})

        async with wrapped(app) as (middleware, notes):
            call = self.call()
            await middleware({"type": "lifespan"}, call.receive, call.send)
            assert not notes.is_open
            assert [message["type"] for message in call.sent] == [
                "lifespan.startup.complete",
                "lifespan.shutdown.complete",
            ]

    async def test_an_app_without_a_lifespan_gets_none(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise KeyError("method")

        async with wrapped(app) as (middleware, notes):
            call = self.call()
            await middleware({"type": "lifespan"}, call.receive, call.send)
            assert not notes.is_open
            assert len(call.sent) == 2

    async def test_a_gateway_that_can_not_open_keeps_the_server_from_starting(self) -> None:
        async def refuse() -> None:
            raise OSError("no folder")

        middleware = asgi.SessionASGIMiddleware(
            answers_with(ANSWER), make_gateway(Notes()), opened=refuse
        )
        call = self.call()
        await middleware({"type": "lifespan"}, call.receive, call.send)
        assert call.sent == [{"type": "lifespan.startup.failed", "message": "no folder"}]


@asynccontextmanager
async def uvicorn_serving(app: Callable[..., Any]) -> AsyncIterator[str]:
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()
        running = loop.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait_for(running, LIMIT)


async def test_starlette_on_uvicorn() -> None:
    applications = pytest.importorskip("starlette.applications")
    responses = pytest.importorskip("starlette.responses")
    routing = pytest.importorskip("starlette.routing")

    async def chat(request: Any) -> Any:
        assert (await request.json())["messages"]
        tag = request.scope[SCOPE_KEY]

        async def events() -> AsyncIterator[bytes]:
            for event in EVENTS:
                yield event

        return responses.StreamingResponse(
            events(), media_type="text/event-stream", headers={"X-Seen": tag.session_id}
        )

    app = applications.Starlette(routes=[routing.Route(CHAT, chat, methods=["POST"])])
    async with (
        wrapped(app) as (middleware, notes),
        uvicorn_serving(middleware) as url,
        ClientSession() as session,
    ):
        response = await session.post(url + CHAT, data=QUESTION)
        assert await response.read() == b"".join(EVENTS)
        assert response.headers["X-Gateway-Session-Id"] == response.headers["X-Seen"]
        exchange = await notes.one()
        assert exchange.response is not None
        assert exchange.response.streamed
