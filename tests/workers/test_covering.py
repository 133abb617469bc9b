"""Connections of a worker that is down are taken by another one, and given back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway_sessions.workers.covering import StandIn

LIMIT = 30.0


class Greeter(asyncio.Protocol):
    """Says hello to whoever connects."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def greeted(listener: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_connections_are_served_until_it_stops(listener: socket.socket) -> None:
    stand_in = StandIn(listener, Greeter)
    assert await asyncio.wait_for(greeted(listener), LIMIT) == b"hello"
    stand_in.stop()
    waiting = asyncio.get_running_loop().create_task(greeted(listener))
    _, pending = await asyncio.wait([waiting], timeout=0.05)
    assert pending  # it waits in the socket's queue, for the worker itself
    StandIn(listener, Greeter)
    assert await asyncio.wait_for(waiting, LIMIT) == b"hello"
    asyncio.get_running_loop().remove_reader(listener)


async def test_a_connection_that_another_worker_took_is_no_error(listener: socket.socket) -> None:
    stand_in = StandIn(listener, Greeter)
    stand_in._accept()  # as if it had been told of one that is no longer there
    assert await asyncio.wait_for(greeted(listener), LIMIT) == b"hello"
    stand_in.stop()
