"""Where we reach into aiohttp: that what we hold on to is still there and does what we think."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import Mock

import pytest
from aiohttp import (
    ClientPayloadError,
    ClientRequest,
    ClientTimeout,
    SocketTimeoutError,
    StreamReader,
    TCPConnector,
)
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import TimerNoop
from aiohttp.http import StreamWriter
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from gateway_sessions.web import seams


@pytest.fixture
async def reader() -> StreamReader:
    loop = asyncio.get_running_loop()
    return StreamReader(BaseProtocol(loop), 2**16, loop=loop)


async def test_replace_writer(reader: StreamReader) -> None:
    request = make_mocked_request("GET", "/")
    loop = asyncio.get_running_loop()
    writer = StreamWriter(BaseProtocol(loop), loop)
    seams.replace_writer(request, writer)
    assert request.writer is writer


async def test_remember_body(reader: StreamReader) -> None:
    request = make_mocked_request("POST", "/", payload=reader)
    seams.remember_body(request, b'{"a": 1}')
    assert await request.read() == b'{"a": 1}'
    assert await request.json() == {"a": 1}


async def test_put_back(reader: StreamReader) -> None:
    reader.feed_data(b"one")
    reader.feed_data(b"two")
    data = await reader.readany()
    reader.feed_data(b"three")
    seams.put_back(reader, data)
    reader.feed_eof()
    assert await reader.read() == b"onetwothree"


async def test_unread_pieces(reader: StreamReader) -> None:
    reader.feed_data(b"all")
    reader.set_exception(ClientPayloadError())
    with pytest.raises(ClientPayloadError):
        await reader.readany()
    assert list(seams.unread_pieces(reader)) == [b"all"]
    assert list(seams.unread_pieces(reader)) == []


async def test_unread_pieces_keep_their_boundaries(reader: StreamReader) -> None:
    for piece in (b"one", b"two"):
        reader.begin_http_chunk_receiving()
        reader.feed_data(piece)
        reader.end_http_chunk_receiving()
    reader.feed_data(b"half")
    assert await reader.readchunk() == (b"one", True)
    reader.set_exception(ClientPayloadError())
    assert list(seams.unread_pieces(reader)) == [b"two", b"half"]


class TestShortQueue:
    def test_it_is_a_queue(self) -> None:
        queue = seams.ShortQueue([2, 3])
        queue.append(4)
        queue.appendleft(1)
        assert [queue.popleft() for _ in range(4)] == [1, 2, 3, 4]
        with pytest.raises(IndexError):
            queue.popleft()

    async def test_a_stream_goes_on_with_what_it_held(self, reader: StreamReader) -> None:
        request = make_mocked_request("POST", "/", payload=reader)
        content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
        pieces = (b"one", b"two", b"three")
        for piece in pieces[:2]:
            content.begin_http_chunk_receiving()
            content.feed_data(piece)
            content.end_http_chunk_receiving()
        reader.feed_data(b"asked")
        seams.prepare_stream(request, content)
        content.begin_http_chunk_receiving()
        content.feed_data(pieces[2])
        content.end_http_chunk_receiving()
        assert [await content.readchunk() for _ in pieces] == [(each, True) for each in pieces]
        assert await reader.readany() == b"asked"
        assert not hasattr(content._buffer, "maxlen")
        assert not hasattr(reader._buffer, "maxlen")

    async def test_the_timer_of_idle_connections_stops(self, reader: StreamReader) -> None:
        timer = Mock(spec=asyncio.TimerHandle)
        request = make_mocked_request("POST", "/", payload=reader)
        request.protocol._keepalive_handle = timer
        seams.prepare_stream(request, reader)
        timer.cancel.assert_called_once_with()
        assert request.protocol._keepalive_handle is None


class Clock:
    """A loop's time, and the one timer of a connection."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rings_at = 0.0
        self.timers = 0
        self._ring: Callable[[], None] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, ring: Callable[[], None]) -> Clock:
        self.rings_at, self._ring = self.now + seconds, ring
        self.timers += 1
        return self

    def cancel(self) -> None:
        self._ring = None

    def pass_to(self, now: float) -> None:
        """Let time pass; the timer rings on its way."""
        while self._ring is not None and self.rings_at <= now:
            self.now, ring, self._ring = self.rings_at, self._ring, None
            ring()
        self.now = now


PARSING = {"timer": TimerNoop(), "read_until_eof": True, "auto_decompress": False}


def head(length: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, body)


class TestThriftyProtocol:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def protocol(self, clock: Clock) -> seams.ThriftyProtocol:
        made = seams.ThriftyProtocol(cast("Any", clock))
        made.connection_made(Mock(spec=asyncio.Transport, **{"is_closing.return_value": False}))
        return made

    def expect(self, protocol: seams.ThriftyProtocol, *, has_body: bool = True) -> None:
        seams.expect_response(protocol, PARSING, has_body=has_body, read_timeout=10)
        protocol.start_timeout()

    async def test_silence_ends_a_response(
        self, clock: Clock, protocol: seams.ThriftyProtocol
    ) -> None:
        self.expect(protocol)
        clock.pass_to(109.9)
        assert protocol.exception() is None
        clock.pass_to(110)
        assert isinstance(protocol.exception(), SocketTimeoutError)

    async def test_what_comes_puts_it_off_without_a_new_timer(
        self, clock: Clock, protocol: seams.ThriftyProtocol
    ) -> None:
        self.expect(protocol)
        for second in (105, 106, 107):
            clock.pass_to(second)
            protocol.data_received(b"HTTP/1.1 200 OK\r\n\r\n" if second == 105 else b"more")
        assert clock.timers == 1
        clock.pass_to(116.9)
        assert protocol.exception() is None
        clock.pass_to(117)
        assert isinstance(protocol.exception(), SocketTimeoutError)

    async def test_nothing_is_late_between_two_responses(
        self, clock: Clock, protocol: seams.ThriftyProtocol
    ) -> None:
        self.expect(protocol)
        protocol.data_received(head(2, b"ok"))
        clock.pass_to(500)
        assert protocol.exception() is None
        self.expect(protocol)
        clock.pass_to(510)
        assert isinstance(protocol.exception(), SocketTimeoutError)

    async def test_a_closed_connection_leaves_no_timer(
        self, clock: Clock, protocol: seams.ThriftyProtocol
    ) -> None:
        self.expect(protocol)
        protocol.connection_lost(None)
        assert clock._ring is None

    async def test_a_held_up_connection_is_not_late(
        self, clock: Clock, protocol: seams.ThriftyProtocol
    ) -> None:
        self.expect(protocol)
        protocol.data_received(head(9, b"half"))
        protocol.pause_reading()
        clock.pass_to(200)
        protocol.resume_reading()
        assert cast("Mock", protocol.transport).resume_reading.called
        clock.pass_to(209.9)
        assert protocol.exception() is None
        clock.pass_to(210)
        assert isinstance(protocol.exception(), SocketTimeoutError)

    async def test_reading_that_is_not_held_up_is_not_resumed(
        self, protocol: seams.ThriftyProtocol
    ) -> None:
        self.expect(protocol)
        protocol.resume_reading()
        assert not cast("Mock", protocol.transport).resume_reading.called

    async def test_one_parser_makes_out_one_response_after_the_other(
        self, protocol: seams.ThriftyProtocol
    ) -> None:
        parsers = set()
        for body in (b"one", b"three", b""):
            self.expect(protocol)
            protocol.data_received(head(len(body), body))
            message, content = await protocol.read()
            assert (message.code, await content.read()) == (200, body)
            assert not protocol.should_close
            parsers.add(protocol._parser)
        assert len(parsers) == 1

    async def test_a_response_without_its_body_is_none_of_those(
        self, protocol: seams.ThriftyProtocol
    ) -> None:
        for has_body in (True, False, True, False, False):
            self.expect(protocol, has_body=has_body)
            protocol.data_received(head(3, b"one" if has_body else b""))
            _, content = await protocol.read()
            assert await content.read() == (b"one" if has_body else b"")


async def test_use_protocol() -> None:
    made: list[ResponseHandler] = []

    def factory() -> ResponseHandler:
        made.append(ResponseHandler(asyncio.get_running_loop()))
        return made[-1]

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    connector = TCPConnector()
    seams.use_protocol(connector, factory)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with connector, server:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        target = ClientRequest("GET", url, loop=asyncio.get_running_loop())
        connection = await connector.connect(target, [], ClientTimeout())
        assert connection.protocol is made[0]
        connection.close()
