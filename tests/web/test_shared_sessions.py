"""Where sessions are shared, the end of a reply waits until others know of it; nothing else does.

A stand-in for the shared store lets go when a test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway_sessions.detection.plan import Plan
from gateway_sessions.exchange import Refusal
from gateway_sessions.gateway import Gateway
from gateway_sessions.tracker import Tracked
from gateway_sessions.web.asgi import App, Message, Receive, Scope, Send, SessionASGIMiddleware
from gateway_sessions.web.middleware import setup
from tests.traffic import chunks
from tests.web.harness import (
    ANSWER,
    CHAT,
    LIMIT,
    QUESTION,
    Connection,
    Received,
    Running,
    answers,
    answers_and_closes,
    gateway,
    request,
    response,
    stream,
    upstream,
)
from tests.web.test_asgi import Call, answers_with, scope
from tests.web.test_middleware import Notes, make_gateway

T_ = TypeVar("T_")

MOMENT = 0.05
"""Seconds within which anything that is not held back would have come."""


class Slow:
    """A store that takes as long as the test wants."""

    def __init__(self) -> None:
        self.fetched: list[float] = []
        self.asked = asyncio.Event()
        self.stored = asyncio.Event()
        self.commits: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def fetch(self, plan: Plan, now: float) -> None:
        self.fetched.append(now)
        await asyncio.sleep(0)

    def remembered(self, tracked: Tracked, now: float) -> None:
        pass

    def problems(self) -> list[str]:
        return []

    def settled(self, tracked: Tracked) -> Awaitable[None] | None:
        self.asked.set()
        self.commits.append(asyncio.get_running_loop().create_task(self._commit()))
        return self.commits[-1]

    async def _commit(self) -> None:
        await self.stored.wait()


class Quick(Slow):
    """A store that has nothing to wait for."""

    def settled(self, tracked: Tracked) -> Awaitable[None] | None:
        self.asked.set()
        return None


@asynccontextmanager
async def sharing(
    url: str, store: Slow, interceptors: tuple[object, ...] = ()
) -> AsyncIterator[Running]:
    async with gateway(url, interceptors=interceptors) as running:
        running.gateway.tracker.shared = store
        yield running


async def held(store: Slow, then: Coroutine[Any, Any, T_]) -> T_:
    """Return what comes once the store has let go; fail if anything comes before."""
    await asyncio.wait_for(store.asked.wait(), LIMIT)
    waiting = asyncio.get_running_loop().create_task(then)
    done, _ = await asyncio.wait({waiting}, timeout=MOMENT)
    assert not done
    store.stored.set()
    return await asyncio.wait_for(waiting, LIMIT)


async def test_a_plain_reply_waits() -> None:
    store = Slow()
    async with (
        upstream(answers(response())) as up,
        sharing(up.url, store) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        assert (await held(store, peer.answer())).body == ANSWER
    assert len(store.fetched) == 1


async def test_the_pieces_before_the_last_do_not_wait() -> None:
    """Of a reply that comes in two pieces the first leaves at once, head and all."""
    store, go_on = Slow(), asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        whole = response()
        connection.writer.write(whole[:-9])
        await go_on.wait()
        connection.writer.write(whole[-9:])

    async with upstream(script) as up, sharing(up.url, store) as gw, gw.peer() as peer:
        peer.send(request())
        await peer.head()
        assert await peer.reader.readexactly(len(ANSWER) - 9) == ANSWER[:-9]
        assert not store.asked.is_set()
        go_on.set()
        assert await held(store, peer.reader.readexactly(9)) == ANSWER[-9:]


async def test_of_a_stream_its_end_marker_waits() -> None:
    store = Slow()
    *before, done = chunks("Hel", "lo!")
    async with (
        upstream(answers(stream(*before, done))) as up,
        sharing(up.url, store) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        await peer.head()
        for event in before:
            assert event in await peer.reader.readuntil(b"\n\n\r\n")
        rest = await held(store, peer.reader.readuntil(b"0\r\n\r\n"))
        assert done in rest


async def test_a_stream_without_an_end_marker_waits_with_its_end() -> None:
    store = Slow()
    events = chunks("Hello!", done=False)
    async with (
        upstream(answers(stream(*events))) as up,
        sharing(up.url, store) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        await peer.head()
        for _ in events:
            await peer.reader.readuntil(b"\n\n\r\n")
        end = await held(store, peer.reader.readexactly(5))
        assert end == b"0\r\n\r\n"


@pytest.mark.parametrize("reply", [response(b"{}"), response(b'{"error": {}}', status="500 No")])
async def test_a_reply_that_says_nothing_waits_too(reply: bytes) -> None:
    store = Slow()
    async with (
        upstream(answers(reply)) as up,
        sharing(up.url, store) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        answer = await held(store, peer.answer())
        assert reply.startswith(answer.status_line.encode())


async def test_a_reply_that_breaks_off_waits_with_its_close() -> None:
    store = Slow()
    cut = stream(*chunks("Hel"))[:-40]
    async with (
        upstream(answers_and_closes(cut)) as up,
        sharing(up.url, store) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        await peer.head()
        await peer.reader.readuntil(b"\n\n\r\n")
        await held(store, peer.reader.read())


class Refuses:
    """An interceptor that wants no request."""

    def request_started(self, exchange: object) -> Refusal:
        return Refusal(429, "Enough.")


@pytest.mark.parametrize(("interceptors", "status"), [((Refuses(),), 429), ((), 502)])
async def test_answers_of_our_own_wait_too(interceptors: tuple[object, ...], status: int) -> None:
    store = Slow()
    away = "http://127.0.0.1:9"
    async with sharing(away, store, interceptors) as gw, gw.peer() as peer:
        peer.send(request())
        assert (await held(store, peer.answer())).status == status


async def test_a_client_that_leaves_does_not_end_the_commit() -> None:
    store = Slow()
    async with upstream(answers(response())) as up, sharing(up.url, store) as gw:
        async with gw.peer() as peer:
            peer.send(request())
            await asyncio.wait_for(store.asked.wait(), LIMIT)
        await gw.exchanges()
        assert not store.commits[0].done()
        store.stored.set()
        await asyncio.wait_for(store.commits[0], LIMIT)


async def test_what_is_nothing_to_wait_for_is_not_waited_for() -> None:
    store = Quick()
    async with upstream(answers(response())) as up, sharing(up.url, store) as gw:
        assert (await gw.ask(request())).body == ANSWER
    assert store.asked.is_set()


async def test_what_has_no_session_asks_for_nothing() -> None:
    store = Slow()
    async with upstream(answers(response(b"[]"))) as up, sharing(up.url, store) as gw:
        assert (await gw.ask(request(b"{}", target="/v1/embeddings"))).body == b"[]"
    assert not store.fetched
    assert not store.asked.is_set()


async def test_a_count_of_tokens_asks_what_others_know_and_changes_nothing() -> None:
    store = Slow()
    counting = request(target="/v1/messages/count_tokens")
    async with upstream(answers(response(b"{}"))) as up, sharing(up.url, store) as gw:
        assert (await gw.ask(counting)).body == b"{}"
    assert len(store.fetched) == 1
    assert not store.asked.is_set()


async def test_a_handler_of_a_host_app_waits_at_its_end() -> None:
    store, began = Slow(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        *before, done = chunks("Hello!")
        for event in before:
            await answer.write(event)
        began.set()
        await answer.write(done)
        return answer

    app = web.Application()
    setup(app, _sharing_gateway(store))
    app.router.add_post(CHAT, handler)
    async with TestClient(TestServer(app)) as client, client.post(CHAT, data=QUESTION) as answer:
        await asyncio.wait_for(began.wait(), LIMIT)
        assert (await held(store, answer.read())).endswith(b"data: [DONE]\n\n")


def _sharing_gateway(store: Slow) -> Gateway:
    made = make_gateway(Notes())
    made.tracker.shared = store
    return made


async def _broken(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("no more")


class TestASGI:
    @pytest.mark.parametrize(
        ("app", "early"),
        [(answers_with(ANSWER[:9], ANSWER[9:]), [b"", ANSWER[:9], ANSWER[9:]]), (_broken, [b""])],
    )
    async def test_the_end_waits(self, app: App, early: list[bytes]) -> None:
        store = Slow()
        middleware = SessionASGIMiddleware(app, _sharing_gateway(store))
        call = Call(QUESTION)
        serving = asyncio.get_running_loop().create_task(
            middleware(scope(), call.receive, call.send)
        )
        await asyncio.wait_for(store.asked.wait(), LIMIT)
        assert [message.get("body", b"") for message in call.sent] == early
        assert not serving.done()
        store.stored.set()
        done, _ = await asyncio.wait({serving}, timeout=LIMIT)
        assert done
        if app is _broken:
            assert isinstance(serving.exception(), RuntimeError)
        else:
            assert call.body == ANSWER

    async def test_a_piece_that_completes_the_reply_waits_itself(self) -> None:
        store = Slow()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            length = (b"content-length", b"%d" % len(ANSWER))
            start: Message = {"type": "http.response.start", "status": 200, "headers": [length]}
            await send(start)
            await send({"type": "http.response.body", "body": ANSWER, "more_body": True})
            await send({"type": "http.response.body"})

        middleware = SessionASGIMiddleware(app, _sharing_gateway(store))
        call = Call(QUESTION)
        serving = asyncio.get_running_loop().create_task(
            middleware(scope(), call.receive, call.send)
        )
        await asyncio.wait_for(store.asked.wait(), LIMIT)
        assert len(call.sent) == 1
        store.stored.set()
        await asyncio.wait_for(serving, LIMIT)
        assert call.body == ANSWER
