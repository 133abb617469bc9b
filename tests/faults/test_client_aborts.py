"""Clients that leave in the middle of a stream, many of them: nothing is left behind."""

from __future__ import annotations

import asyncio

from tests.web.harness import LIMIT, Connection, Received, gateway, request, stream, upstream

CLIENTS = 100


async def test_nothing_is_left_of_clients_that_left() -> None:
    async def endless(connection: Connection, received: Received) -> None:
        connection.writer.write(stream(b"data: 1\n\n")[:-5])
        await connection.reader.read()

    async with upstream(endless) as up, gateway(up.url) as gw:
        before = asyncio.all_tasks()

        async def leave() -> None:
            async with gw.peer() as peer:
                peer.send(request())
                await peer.reader.readuntil(b"data: 1\n\n")
                peer.writer.transport.abort()

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(leave())
        async with asyncio.timeout(LIMIT):
            for connection in up.connections:
                await connection.closed.wait()
        exchanges = await gw.exchanges(CLIENTS)
        assert len(exchanges) == CLIENTS
        assert {one.response.error for one in exchanges if one.response} == {"client_closed"}
        assert gw.runner.server is not None
        assert gw.runner.server.connections == []
        await asyncio.gather(*(asyncio.all_tasks() - before - {asyncio.current_task()}))
