"""The server around the proxy: slow clients, malformed ones, and the end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway_sessions.web import bodies, server
from tests.web.harness import (
    LIMIT,
    QUESTION,
    Connection,
    Received,
    Running,
    answers,
    gateway,
    request,
    response,
    stream,
    upstream,
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the limits on slow clients short."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
class TestSlowClients:
    async def test_a_head_that_does_not_arrive_is_given_up(self) -> None:
        async with gateway("http://127.0.0.1:9") as gw, gw.peer() as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            assert (await peer.answer()).status == 408
            assert await peer.rest() == b""

    async def test_so_is_a_connection_on_which_nothing_comes(self) -> None:
        async with gateway("http://127.0.0.1:9") as gw, gw.peer() as peer:
            assert (await peer.answer()).status == 408

    async def test_and_a_second_head_on_a_connection_that_was_fine(self) -> None:
        async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
            assert (await peer.ask(request())).status == 200
            peer.send(b"POST / HTTP/1.1\r\n")
            assert (await peer.answer()).status == 408

    async def test_a_body_that_stops_is_given_up(self) -> None:
        async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
            peer.send(request(QUESTION)[:-5])
            assert (await peer.answer()).status == 408
            assert up.requests == []

    async def test_a_connection_may_wait_longer_between_its_requests(self) -> None:
        async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
            assert (await peer.ask(request())).status == 200
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.reader.read(), 0.3)

    async def test_nor_is_a_client_hurried_that_waits_for_its_answer(self) -> None:
        go_on = asyncio.Event()

        async def slow(connection: Connection, received: Received) -> None:
            await go_on.wait()
            connection.writer.write(response())

        async with upstream(slow) as up, gateway(up.url) as gw, gw.peer() as peer:
            peer.send(request())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.reader.read(1), 0.3)
            go_on.set()
            assert (await peer.answer()).status == 200


async def test_a_malformed_request_is_refused_without_repeating_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with gateway("http://127.0.0.1:9") as gw, gw.peer() as peer:
            peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nsecret\r\n\r\n")
            answer = await peer.answer()
            assert answer.status == 400
            assert b"secret" not in answer.body
            assert answer.header("server") == ["gateway-sessions"]
            assert await peer.rest() == b""
    assert "secret" not in caplog.text


async def test_long_lines_in_a_head_pass() -> None:
    reply = response(b"{}", "X-Long: " + "y" * 30_000)
    async with upstream(answers(reply)) as up, gateway(up.url) as gw:
        answer = await gw.ask(request(QUESTION, "Authorization: Bearer " + "x" * 30_000))
        assert answer.header("x-long") == ["y" * 30_000]
        assert up.requests[0].header("authorization") == ["Bearer " + "x" * 30_000]


async def test_100_continue_is_answered_here_and_not_passed_on() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        data = request(QUESTION, "Expect: 100-continue")
        peer.send(data[: -len(QUESTION)])
        assert (await peer.head()).status == 100
        peer.send(QUESTION)
        assert (await peer.answer()).status == 200
        assert up.requests[0].header("expect") == []
        assert up.requests[0].body == QUESTION


async def refuses_connections(gw: Running) -> None:
    """Wait until nobody listens any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", gw.port)
        except OSError:
            return
        writer.close()


class TestStopping:
    async def test_a_stream_may_finish(self) -> None:
        go_on = asyncio.Event()

        async def script(connection: Connection, received: Received) -> None:
            whole = stream(b"data: 1\n\n", b"data: 2\n\n")
            connection.writer.write(whole[:-20])
            await go_on.wait()
            connection.writer.write(whole[-20:])

        async with upstream(script) as up, gateway(up.url, grace_seconds=LIMIT) as gw:
            async with gw.peer() as peer:
                peer.send(request())
                await peer.reader.readuntil(b"data: 1\n\n")
                stopping = asyncio.get_running_loop().create_task(gw.runner.cleanup())
                await refuses_connections(gw)
                go_on.set()
                assert (await peer.rest()).endswith(b"data: 2\n\n\r\n0\r\n\r\n")
                await asyncio.wait_for(stopping, LIMIT)
            (exchange,) = await gw.exchanges()
            assert exchange.response is not None
            assert exchange.response.error is None

    async def test_what_takes_too_long_is_cut_and_not_ended(self) -> None:
        async def endless(connection: Connection, received: Received) -> None:
            connection.writer.write(stream(b"data: 1\n\n")[:-5])
            await connection.reader.read()

        async with upstream(endless) as up, gateway(up.url, grace_seconds=0.1) as gw:
            async with gw.peer() as peer:
                peer.send(request())
                await peer.reader.readuntil(b"data: 1\n\n")
                await asyncio.wait_for(gw.runner.cleanup(), LIMIT)
                assert not (await peer.rest()).endswith(b"0\r\n\r\n")
            await gw.exchanges()

    async def test_idle_connections_do_not_hold_it_up(self) -> None:
        async with (
            upstream(answers(response())) as up,
            gateway(up.url, grace_seconds=60) as gw,
            gw.peer() as peer,
        ):
            await peer.ask(request())
            await asyncio.wait_for(gw.runner.cleanup(), LIMIT)
            assert await peer.rest() == b""
