"""Each trap of a textbook aiohttp proxy, sprung: one test, or several, for each row of the list."""

from __future__ import annotations

import asyncio
import gzip
import json

import aiohttp
import pytest

from gateway_sessions.config.schema import Upstream as UpstreamConfig
from tests.web.harness import (
    ANSWER,
    LIMIT,
    QUESTION,
    Connection,
    Received,
    answers,
    answers_and_closes,
    chunked,
    gateway,
    request,
    response,
    stream,
    upstream,
)

# A `Content-Encoding: gzip` request is decompressed while its headers pass on.


async def test_a_compressed_request_reaches_the_upstream_as_it_was_sent() -> None:
    body = gzip.compress(QUESTION)
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        await gw.ask(request(body, "Content-Encoding: gzip"))
        assert up.requests[0].body == body
        assert up.requests[0].header("content-encoding") == ["gzip"]
        (exchange,) = await gw.exchanges()
        assert exchange.session is not None
        assert exchange.message_count == 1


async def test_a_compressed_response_reaches_the_client_as_it_was_sent() -> None:
    body = gzip.compress(ANSWER)
    reply = response(body, "Content-Encoding: gzip")
    async with upstream(answers(reply)) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        assert answer.body == body
        assert answer.header("content-encoding") == ["gzip"]


# The client leaves: handler and upstream run on.


async def test_when_the_client_leaves_before_the_answer_the_upstream_is_closed() -> None:
    reached = asyncio.Event()

    async def silent(connection: Connection, received: Received) -> None:
        reached.set()
        await connection.reader.read()

    async with upstream(silent) as up, gateway(up.url) as gw:
        async with gw.peer() as peer:
            peer.send(request())
            await asyncio.wait_for(reached.wait(), LIMIT)
        await asyncio.wait_for(up.connections[0].closed.wait(), LIMIT)
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "client_closed"


async def test_when_the_client_leaves_a_stream_the_upstream_is_closed_and_the_rest_recorded() -> (
    None
):
    async def endless(connection: Connection, received: Received) -> None:
        connection.writer.write(stream(b'data: {"choices": []}\n\n')[:-5])
        await connection.reader.read()

    async with upstream(endless) as up, gateway(up.url) as gw:
        async with gw.peer() as peer:
            peer.send(request())
            await peer.head()
            await peer.reader.readuntil(b"\n\n")
        await asyncio.wait_for(up.connections[0].closed.wait(), LIMIT)
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "client_closed"
        assert exchange.response.size > 0


# 413 above 1 MiB; 300 s total timeout; pool of 100.


async def test_a_body_above_the_limit_of_aiohttp_passes() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * (3 << 20)}]})
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        answer = await gw.ask(request(body.encode()))
        assert answer.status == 200
        assert up.requests[0].body == body.encode()
        (exchange,) = await gw.exchanges()
        assert exchange.session is not None


async def test_more_requests_than_aiohttps_pool_has_connections_are_open_at_once() -> None:
    count = 120
    all_there, release = asyncio.Event(), asyncio.Event()
    waiting = 0

    async def together(connection: Connection, received: Received) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == count:
            all_there.set()
        await release.wait()
        connection.writer.write(response())

    async with upstream(together) as up, gateway(up.url) as gw:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(gw.ask(request())) for _ in range(count)]
            await asyncio.wait_for(all_there.wait(), LIMIT)
            release.set()
        assert {task.result().status for task in asked} == {200}


async def test_nothing_limits_how_long_a_stream_may_take() -> None:
    silence, default_total = 1234.0, 300

    async def endless(connection: Connection, received: Received) -> None:
        connection.writer.write(stream(b"data: 1\n\n")[:-5])
        await connection.reader.read()

    async with (
        upstream(endless) as up,
        gateway(UpstreamConfig(url=up.url, timeout_seconds=silence)) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        await peer.reader.readuntil(b"data: 1\n\n")
        loop = asyncio.get_running_loop()
        timers = loop._scheduled  # type: ignore[attr-defined]
        due = [timer.when() - loop.time() for timer in timers if not timer.cancelled()]
        assert [seconds for seconds in due if abs(seconds - silence) < 10]
        assert not [seconds for seconds in due if abs(seconds - default_total) < 10]


# Adds Accept, Accept-Encoding, User-Agent; rewrites %7E; loses repeats; drops the reason.


async def test_the_upstream_gets_the_headers_that_the_client_sent_and_no_others() -> None:
    lines = ["x-MiXeD: 1", "X-Repeat: a", "x-repeat: b", "X-Repeat: c", "X-Latin: caf\xe9"]
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        await gw.ask(request(QUESTION, *lines))
        sent = request(QUESTION, *lines).split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        host = up.url.removeprefix("http://")
        assert up.requests[0].lines[:-1] == [*sent[:1], f"Host: {host}", *sent[2:]]
        assert up.requests[0].lines[-1].startswith("X-Gateway-Session-Id: sess_")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/%7Euser/%2F%2e%2E/a%20b?q=%7E&empty=&+",
        "/v1/models?",
        "/a/../b/./c//d",
        "/v1/a;b=c:d@e,f$g!h'i(j)*k",
        "/%0A/%0d%0aX:1",
        "/",
    ],
)
async def test_a_path_is_not_rewritten(target: str) -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        answer = await gw.ask(request(b"", target=target, method="GET", length=False))
        assert answer.status == 200
        assert up.requests[0].lines[0] == f"GET {target} HTTP/1.1"


async def test_status_reason_and_headers_of_a_response_are_kept() -> None:
    lines = [
        "Server: up",
        "Date: Mon, 01 Jan 2024 00:00:00 GMT",
        "Set-Cookie: a=1",
        "x-lower: 1",
        "set-cookie: b=2",
        "Set-Cookie: c=3",
        "X-Latin: caf\xe9",
    ]
    reply = response(b"{}", *lines, status="429 Slow Down, Please")
    async with upstream(answers(reply)) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        sent = reply.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        assert answer.status_line == sent[0]
        own = [f"{name}: {value}" for name, value in answer.fields]
        assert [line for line in own if not line.startswith("X-Gateway-")] == sent[1:]


async def test_nothing_is_added_to_a_bare_response() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with (
        upstream(answers(reply)) as up,
        gateway(up.url, response_headers="none") as gw,
    ):
        answer = await gw.ask(request())
        assert answer.fields == [("Content-Length", "2")]


# iter_any() merges chunks.


async def test_chunks_that_come_together_leave_apart() -> None:
    events = [b'data: {"n": %d}\n\n' % number for number in range(50)]
    async with upstream(answers(stream(*events))) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        assert answer.chunks == events


async def test_each_event_leaves_when_it_comes() -> None:
    go_on = asyncio.Event()

    async def script(connection: Connection, received: Received) -> None:
        whole = stream(b"data: 1\n\n", b"data: 2\n\n")
        cut = whole.index(b"data: 2") - 3
        connection.writer.write(whole[:cut])
        await go_on.wait()
        connection.writer.write(whole[cut:])

    async with upstream(script) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request())
        await peer.head()
        first = await asyncio.wait_for(peer.reader.readuntil(b"\n\n\r\n"), LIMIT)
        assert first.endswith(b"data: 1\n\n\r\n")
        go_on.set()
        assert (await asyncio.wait_for(peer.reader.readuntil(b"0\r\n\r\n"), LIMIT)).endswith(
            b"data: 2\n\n\r\n0\r\n\r\n"
        )


async def test_the_head_of_a_stream_does_not_wait_for_its_first_event() -> None:
    go_on = asyncio.Event()

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(stream(b"data: 1\n\n").split(b"\r\n\r\n")[0] + b"\r\n\r\n")
        await go_on.wait()
        connection.writer.write(chunked(b"data: 1\n\n"))

    async with upstream(script) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request())
        assert (await peer.head()).status == 200
        go_on.set()


# A pooled connection that the upstream just closed gives 500.


@pytest.mark.parametrize("breaking", ["close", "reset"])
async def test_a_post_on_a_connection_that_dies_is_a_502_and_is_not_sent_again(
    breaking: str,
) -> None:
    async def script(connection: Connection, received: Received) -> None:
        if len(up.requests) == 1:
            connection.writer.write(response())
        elif breaking == "reset":
            connection.reset()
        else:
            connection.writer.close()

    async with upstream(script) as up, gateway(up.url) as gw:
        assert (await gw.ask(request())).status == 200
        answer = await gw.ask(request())
        assert answer.status == 502
        assert len(up.requests) == 2
        assert len(up.connections) == 1
        assert (await gw.ask(request(QUESTION))).status == 502


async def test_a_get_on_a_connection_that_dies_is_sent_again() -> None:
    async def script(connection: Connection, received: Received) -> None:
        if len(up.requests) == 2:
            connection.reset()
        else:
            connection.writer.write(response())

    async with upstream(script) as up, gateway(up.url) as gw:
        get = request(b"", method="GET", target="/v1/models", length=False)
        assert (await gw.ask(get)).status == 200
        assert (await gw.ask(get)).status == 200
        assert len(up.requests) == 3


async def test_a_connection_that_the_upstream_closed_is_not_used_again() -> None:
    async with upstream(answers_and_closes(response())) as up, gateway(up.url) as gw:
        for _ in range(3):
            assert (await gw.ask(request())).status == 200
            await asyncio.wait_for(up.connections[-1].closed.wait(), LIMIT)
        assert len(up.connections) == 3


# HTTP/1.0 + Transfer-Encoding, Content_Length, absolute-form: see test_smuggling.py as well.


AMBIGUOUS = {
    "chunked-1.0": (
        request(chunked(b"x"), "Transfer-Encoding: chunked", version="1.0", length=False),
        400,
    ),
    "underscore": (request(b"x", "Content_Length: 1"), 400),
    "absolute": (request(b"", target="http://other.example/v1/models", method="GET"), 400),
    "connection": (request(QUESTION, "Connection: authorization", "Authorization: Bearer k"), 400),
}


@pytest.mark.parametrize(("data", "status"), AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_ambiguous_requests_are_refused_and_the_connection_closed(
    data: bytes, status: int
) -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(data)
        assert (await peer.answer()).status == status
        assert await peer.rest() == b""
        assert up.requests == []


# A middleware sees a streamed response only after it is prepared.


async def test_streams_carry_the_tag_headers() -> None:
    async with upstream(answers(stream(b"data: [DONE]\n\n"))) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        (exchange,) = await gw.exchanges()
        assert exchange.session is not None
        assert answer.header("x-gateway-session-id") == [exchange.session.session_id]
        assert answer.header("x-gateway-session-relation") == ["first"]
        assert answer.header("x-gateway-request-id") == [exchange.request_id]


# Floor: aiohttp ≥ 3.14.3.


def test_aiohttp_is_new_enough() -> None:
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:3])
    assert version >= (3, 14, 3)
