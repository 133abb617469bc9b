"""Requests to an upstream, without a gateway around."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway_sessions.web import client as module
from gateway_sessions.web.client import Origin, UpstreamFailed, make_connector
from tests.web.harness import (
    LIMIT,
    Connection,
    Received,
    Script,
    Upstream,
    answers,
    response,
    stream,
    upstream,
)

POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"


@asynccontextmanager
async def origin(script: Script) -> AsyncIterator[tuple[Origin, Upstream]]:
    async with upstream(script) as up:
        connector = make_connector()
        to = Origin(up.url, connector, LIMIT)
        yield to, up
        to.close()
        await connector.close()


@pytest.mark.parametrize("size", [0, 10, module.COPIED_BODY + 1])
async def test_a_body_of_known_length(size: int) -> None:
    async with origin(answers(response())) as (to, up):
        head = POST + b"Content-Length: %d\r\n\r\n" % size
        found = await to.send("POST", head, bytes(size))
        assert (found.message.code, up.requests[0].body) == (200, bytes(size))
        await found.content.read()
        found.done()


async def test_what_comes_unasked_is_no_answer_to_the_next_request() -> None:
    came = asyncio.Event()

    async with origin(answers(response(b"asked for"))) as (to, up):
        first = await to.send("POST", POST + b"Content-Length: 0\r\n\r\n")
        await first.content.read()
        plain = first.link.protocol.data_received

        def noticed(data: bytes) -> None:
            plain(data)
            came.set()

        first.link.protocol.data_received = noticed  # type: ignore[method-assign]
        first.done()
        up.connections[0].writer.write(response(b"not asked for"))
        await asyncio.wait_for(came.wait(), LIMIT)
        second = await to.send("POST", POST + b"Content-Length: 0\r\n\r\n")
        assert await second.content.read() == b"asked for"
        assert len(up.connections) == 2
        second.done()


@pytest.mark.parametrize("size", [0, 10, module.COPIED_BODY + 1])
async def test_a_chunked_body(size: int) -> None:
    async with origin(answers(response())) as (to, up):
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        found = await to.send("POST", head, bytes(size), chunked=True)
        assert up.requests[0].body == bytes(size)
        found.close()


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_piece_by_piece(chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"de"

    async with origin(answers(response())) as (to, up):
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 5"
        found = await to.send("POST", POST + framing + b"\r\n\r\n", pieces(), chunked=chunked)
        assert up.requests[0].body == b"abcde"
        assert found.upload is not None
        found.close()


async def test_an_error_in_a_body_is_raised_and_closes_the_connection() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError("no more")

    async with origin(answers(response())) as (to, up):
        with pytest.raises(LookupError):
            await to.send("POST", POST + b"Content-Length: 5\r\n\r\n", pieces())
        await asyncio.wait_for(up.connections[0].closed.wait(), LIMIT)
        assert up.requests == []


async def test_connections_are_used_again() -> None:
    async with origin(answers(response())) as (to, up):
        for _ in range(3):
            found = await to.send("GET", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await found.content.read()
            found.done()
            found.close()
        assert len(up.connections) == 1


async def test_but_not_one_whose_response_was_not_read_to_its_end() -> None:
    async with origin(answers(stream(b"1")[:-5], response())) as (to, up):
        found = await to.send("GET", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        found.close()
        await asyncio.wait_for(up.connections[0].closed.wait(), LIMIT)


async def test_nor_one_whose_request_is_still_on_its_way() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async def early(connection: Connection, received: Received) -> None:
        raise AssertionError("the request is never complete")

    async with origin(early) as (to, up):
        task = asyncio.get_running_loop().create_task(
            to.send("POST", POST + b"Content-Length: 5\r\n\r\n", never())
        )
        async with asyncio.timeout(LIMIT):
            while not up.connections:
                await asyncio.wait([task], timeout=0.01)
        up.connections[0].writer.write(response(b""))
        found = await task
        found.done()
        await asyncio.wait_for(up.connections[0].closed.wait(), LIMIT)


@pytest.mark.parametrize(
    ("url", "host", "base", "label"),
    [
        ("http://example.com", b"example.com", b"", "example.com"),
        ("http://example.com:80/", b"example.com", b"", "example.com:80"),
        ("https://example.com:8443/v1/", b"example.com:8443", b"/v1", "example.com:8443"),
        ("http://me:secret@[::1]:8080/a%20b", b"[::1]:8080", b"/a%20b", "[::1]:8080"),
    ],
)
async def test_the_parts_of_a_url(url: str, host: bytes, base: bytes, label: str) -> None:
    connector = make_connector()
    async with connector:
        found = Origin(url, connector, 1.0)
        assert (found.host, found.base, found.label) == (host, base, label)
        assert (found.authorization is None) is ("@" not in url)


async def test_a_connection_that_is_not_accepted_in_time_is_a_504(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*args: object) -> None:
        raise TimeoutError

    connector = make_connector()
    monkeypatch.setattr(connector, "connect", never)
    async with connector:
        with pytest.raises(UpstreamFailed) as error:
            await Origin("http://u:p@example.com", connector, 1.0).send("GET", b"")
    assert (error.value.status, error.value.error) == (504, "upstream_timeout")
    assert str(error.value) == "The upstream example.com did not accept a connection in time."
