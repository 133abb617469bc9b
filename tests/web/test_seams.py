"""Where we reach into aiohttp: that what we hold on to is still there and does what we think."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import (
    ClientPayloadError,
    ClientRequest,
    ClientTimeout,
    StreamReader,
    TCPConnector,
)
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
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
