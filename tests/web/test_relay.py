"""Framing: the client gets what it would have got without us."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AbstractAsyncContextManager
from unittest.mock import Mock, call

import pytest
from aiohttp import ClientPayloadError, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion11, RawResponseMessage
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from gateway_sessions.web import relay
from gateway_sessions.web.client import UpstreamResponse
from gateway_sessions.web.relay import Sent
from gateway_sessions.web.streams import Tee
from tests.web.harness import (
    ANSWER,
    LIMIT,
    QUESTION,
    Connection,
    Received,
    Running,
    answers,
    answers_and_closes,
    chunked,
    gateway,
    request,
    response,
    stream,
    upstream,
)


def bare(url: str) -> AbstractAsyncContextManager[Running]:
    """Run a gateway that adds nothing to a response."""
    return gateway(url, response_headers="none")


@pytest.mark.parametrize(
    ("method", "reply", "wanted"),
    [
        ("GET", response(b"ok"), response(b"ok")),
        ("GET", stream(b"a", b"b"), stream(b"a", b"b")),
        ("GET", response(b""), response(b"")),
        ("GET", stream(), stream()),
        ("HEAD", response(b"ok")[:-2], response(b"ok")[:-2]),
        ("HEAD", stream().split(b"\r\n\r\n")[0] + b"\r\n\r\n", None),
        ("GET", b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 9\r\n\r\n", None),
        ("DELETE", b"HTTP/1.1 204 Gone\r\nContent-Length: 0\r\n\r\n", None),
        (
            "GET",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            + response(b"ok"),
            response(b"ok"),
        ),
        ("GET", b"HTTP/1.1 307 Go\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", None),
    ],
    ids=[
        "length",
        "chunked",
        "empty",
        "empty-chunked",
        "head",
        "head-chunked",
        "204",
        "304",
        "204-length",
        "1xx",
        "307",
    ],
)
async def test_a_response_is_framed_as_the_upstream_framed_it(
    method: str, reply: bytes, wanted: bytes | None
) -> None:
    follow_up = response(b"the next one")
    async with (
        upstream(answers(reply, follow_up)) as up,
        bare(up.url) as gw,
        gw.peer() as peer,
    ):
        data = request(b"", method=method, length=False, target="/v1/x")
        peer.send(data)
        expected = wanted or reply
        assert await asyncio.wait_for(peer.reader.readexactly(len(expected)), LIMIT) == expected
        # Nothing is left over: the next response begins right after.
        peer.send(request(b"", method="GET", length=False, target="/v1/x"))
        whole = await asyncio.wait_for(peer.reader.readexactly(len(follow_up)), LIMIT)
        assert whole == follow_up


async def test_a_length_on_a_204_is_dropped() -> None:
    reply = b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"
    async with upstream(answers_and_closes(reply)) as up, bare(up.url) as gw:
        answer = await gw.ask(request())
        assert answer.fields == []


async def test_hop_by_hop_headers_of_a_response_end_here() -> None:
    reply = response(
        ANSWER,
        "Connection: keep-alive, X-Mine, Content-Type",
        "Keep-Alive: timeout=5",
        "X-Mine: 1",
        "Trailer: X-T",
        "Proxy-Authenticate: Basic",
        "X-Kept: 1",
    )
    async with upstream(answers(reply)) as up, bare(up.url) as gw:
        answer = await gw.ask(request())
        assert [name for name, _ in answer.fields] == ["Content-Type", "X-Kept", "Content-Length"]


async def test_the_upstreams_own_tags_give_way_to_ours() -> None:
    reply = response(ANSWER, "X-Gateway-Session-Id: sess_other", "x-gateway-other: 1")
    async with upstream(answers(reply)) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        (found,) = answer.header("x-gateway-session-id")
        assert found != "sess_other"
        assert answer.header("x-gateway-other") == ["1"]


class TestOldClients:
    async def test_a_chunked_response_ends_with_the_connection(self) -> None:
        async with (
            upstream(answers(stream(b"one", b"two"))) as up,
            gateway(up.url) as gw,
            gw.peer() as peer,
        ):
            answer = await peer.ask(request(version="1.0"))
            assert answer.status_line == "HTTP/1.0 200 OK"
            assert answer.header("transfer-encoding") == []
            assert answer.body == b"onetwo"

    async def test_keep_alive_works_where_the_length_is_known(self) -> None:
        async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
            old = request(QUESTION, "Connection: keep-alive", version="1.0")
            for _ in range(2):
                answer = await peer.ask(old)
                assert answer.header("connection") == ["keep-alive"]
                assert answer.body == ANSWER

    async def test_without_keep_alive_the_connection_is_closed(self) -> None:
        async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
            await peer.ask(request(version="1.0"))
            assert await peer.rest() == b""


async def test_a_client_that_asks_for_it_gets_its_connection_closed() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        answer = await peer.ask(request(QUESTION, "Connection: close"))
        assert answer.header("connection") == ["close"]
        assert await peer.rest() == b""


async def test_a_slow_reader_holds_the_upstream_back() -> None:
    size = 64 * 1024 * 1024
    sent = asyncio.Event()

    async def flood(connection: Connection, received: Received) -> None:
        connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            connection.writer.write(bytes(65536))
            await connection.writer.drain()
        sent.set()

    loop = asyncio.get_running_loop()
    async with upstream(flood) as up, gateway(up.url) as gw:
        with socket.create_connection(("127.0.0.1", gw.port)) as sock:
            sock.setblocking(False)
            await loop.sock_sendall(sock, request())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sent.wait(), 0.3)
            assert gw.runner.server is not None
            (connection,) = gw.runner.server.connections
            assert connection.transport is not None
            assert connection.transport.get_write_buffer_size() < 1024 * 1024
            _, _, body = (await loop.sock_recv(sock, 65536)).partition(b"\r\n\r\n")
            left = size - len(body)
            async with asyncio.timeout(30):
                while left:
                    left -= len(await loop.sock_recv(sock, 1 << 20))


async def test_bytes_that_come_together_with_a_break_arrive() -> None:
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    content.feed_data(b"the last words")
    content.set_exception(ClientPayloadError())
    tee = Mock(spec=Tee)
    assert await relay._pump(content, tee) == "upstream_aborted"
    tee.relay_chunk.assert_called_once_with(b"the last words")


@pytest.mark.parametrize(
    ("error", "finished"), [(None, None), (OSError("reset"), "upstream_aborted")]
)
async def test_a_body_that_ends_with_its_connection_and_came_with_its_head(
    error: OSError | None, finished: str | None
) -> None:
    """Whether that was its end, only the connection can tell."""
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    content.feed_data(b"all of it?")
    content.feed_eof()
    named = CIMultiDictProxy(CIMultiDict({"X-A": "1"}))
    raw = ((b"X-A", b"1"),)
    message = RawResponseMessage(
        HttpVersion11,
        200,
        "OK",
        named,
        raw,
        True,
        None,
        False,
        False,
    )
    link = Mock(**{"protocol.exception.return_value": error})
    upstream = UpstreamResponse(message, content, Mock(), link)
    tee = Mock(spec=Tee, output_size=0, error=None, transit=Mock())
    tee.tags.return_value = ()
    sent = await relay.relay(make_mocked_request("GET", "/"), upstream, tee)
    tee.relay_chunk.assert_called_once_with(b"all of it?")
    assert tee.finish.call_args_list == ([call(finished)] if finished else [])
    assert sent.keep_alive is (finished is None)


def test_a_sent_response_is_nothing_that_aiohttp_would_send_again() -> None:
    sent = Sent(200, "OK", keep_alive=True, size=5)
    assert sent.prepared
    assert sent.keep_alive
    assert sent.body_length == 5


async def test_a_large_chunk_arrives_whole() -> None:
    body = bytes(range(256)) * 8192
    reply = response(b"")[: -len("Content-Length: 0\r\n\r\n")]
    reply += b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body)
    async with upstream(answers(reply)) as up, gateway(up.url) as gw:
        assert (await gw.ask(request())).body == body
