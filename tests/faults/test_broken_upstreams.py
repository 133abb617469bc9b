"""Upstreams that die, stay silent or can not be found: never a false end, always an answer."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from gateway_sessions.config.schema import Upstream as UpstreamConfig
from tests.web.harness import (
    ANSWER,
    CHAT,
    LIMIT,
    QUESTION,
    Connection,
    Received,
    Script,
    gateway,
    request,
    response,
    stream,
    upstream,
)

EVENTS = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]
BARE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

TRANSCRIPTS = {
    "stream": stream(*EVENTS),
    "one chunk": stream(b"".join(EVENTS)),
    "plain": response(),
    "compressible error": response(b'{"error": {"message": "slow down"}}', status="429 Slow"),
}


def cut(transcript: bytes, offset: int, how: str) -> Script:
    """Return a script that sends the first bytes of a transcript and then breaks off."""

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(transcript[:offset])
        await connection.writer.drain()
        if how == "reset":
            connection.reset()
        else:
            connection.writer.close()

    return script


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", list(TRANSCRIPTS))
async def test_a_response_cut_at_any_offset_never_seems_complete(name: str, how: str) -> None:
    transcript = TRANSCRIPTS[name]
    offsets = iter(range(len(transcript)))
    seen: list[bytes] = []

    async def script(connection: Connection, received: Received) -> None:
        await cut(transcript, next(offsets), how)(connection, received)

    async with upstream(script) as up, gateway(up.url) as gw:
        for _ in range(len(transcript)):
            async with gw.peer() as peer:
                peer.send(request())
                head = await peer.head()
                if head.status == 502:
                    continue
                rest = await peer.rest()
                seen.append(rest)
                if head.header("content-length"):
                    assert len(rest) < int(head.header("content-length")[0])
                else:
                    assert not rest.endswith(b"0\r\n\r\n")
        exchanges = await gw.exchanges(len(transcript))
        errors = {exchange.response.error for exchange in exchanges if exchange.response}
        assert errors == {"upstream_unreachable", "upstream_aborted"}
        assert seen


async def test_the_bytes_before_a_break_arrive() -> None:
    whole = stream(*EVENTS)
    async with upstream(cut(whole, len(whole) - 5, "close")) as up, gateway(up.url) as gw:
        async with gw.peer() as peer:
            peer.send(request())
            await peer.head()
            assert await peer.rest() == whole.split(b"\r\n\r\n", 1)[1][:-5]
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "upstream_aborted"
        assert b"Hello" in exchange.response.body


async def test_a_malformed_chunk_is_a_break_too() -> None:
    sent = asyncio.Event()

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(stream(*EVENTS)[:-5])
        await sent.wait()
        connection.writer.write(b"nonsense\r\n\r\n0\r\n\r\n")
        await connection.reader.read()

    async with upstream(script) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request())
        await peer.head()
        await asyncio.wait_for(peer.reader.readuntil(EVENTS[3]), LIMIT)
        sent.set()
        assert not (await peer.rest()).endswith(b"0\r\n\r\n")
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "upstream_aborted"


async def test_a_body_that_ends_with_its_connection_is_complete_after_an_orderly_close() -> None:
    whole = BARE + b"".join(EVENTS)
    async with upstream(cut(whole, len(whole), "close")) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        assert answer.header("transfer-encoding") == ["chunked"]
        assert answer.body == b"".join(EVENTS)


async def test_a_body_that_ends_with_its_connection_is_broken_after_a_reset() -> None:
    sent = asyncio.Event()

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(BARE + EVENTS[0])
        await sent.wait()
        connection.reset()

    async with upstream(script) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request())
        await peer.head()
        await asyncio.wait_for(peer.reader.readuntil(b"\n\n\r\n"), LIMIT)
        sent.set()
        assert await peer.rest() == b""
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "upstream_aborted"


async def test_a_client_of_http_1_0_can_tell_a_break_from_the_end() -> None:
    whole = stream(*EVENTS)
    broken = asyncio.Event()

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(whole[:-5])
        await broken.wait()
        connection.writer.close()

    async with upstream(script) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request(QUESTION, version="1.0"))
        await peer.head()
        await asyncio.wait_for(peer.reader.readuntil(EVENTS[3]), LIMIT)
        broken.set()
        with pytest.raises(ConnectionResetError):
            await peer.rest()


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        (CHAT, ["error"]),
        ("/v1/messages", ["error", "type"]),
    ],
)
async def test_an_upstream_that_is_not_there_is_a_502_in_the_dialects_shape(
    path: str, shape: list[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        async with gateway(f"http://user:pass@{address}") as gw:
            answer = await gw.ask(request(target=path))
            assert answer.status == 502
            assert sorted(set(json.loads(answer.body)) - {"request_id"}) == shape
            assert address in answer.body.decode()
            assert b"pass" not in answer.body
            assert answer.header("x-gateway-request-id")
            (exchange,) = await gw.exchanges()
            assert exchange.response is not None
            assert exchange.response.error == "upstream_unreachable"
            assert exchange.response.status == 502


async def test_a_silent_upstream_is_a_504_at_the_limit() -> None:
    async def silent(connection: Connection, received: Received) -> None:
        await connection.reader.read()

    async with (
        upstream(silent) as up,
        gateway(UpstreamConfig(url=up.url, timeout_seconds=0.1)) as gw,
    ):
        answer = await gw.ask(request())
        assert answer.status == 504
        assert "silent for 0.1 seconds" in json.loads(answer.body)["error"]["message"]
        await asyncio.wait_for(up.connections[0].closed.wait(), LIMIT)
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "upstream_timeout"


async def test_a_stream_that_falls_silent_is_broken_off() -> None:
    async def stuck(connection: Connection, received: Received) -> None:
        connection.writer.write(stream(*EVENTS)[:-5])
        await connection.reader.read()

    async with (
        upstream(stuck) as up,
        gateway(UpstreamConfig(url=up.url, timeout_seconds=0.1)) as gw,
        gw.peer() as peer,
    ):
        peer.send(request())
        await peer.head()
        assert not (await peer.rest()).endswith(b"0\r\n\r\n")
        (exchange,) = await gw.exchanges()
        assert exchange.response is not None
        assert exchange.response.error == "upstream_timeout"


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
    ],
    ids=["other", "both-lengths", "gzip-transfer", "negative", "endless-head"],
)
async def test_an_answer_that_is_not_http_is_a_502(reply: bytes) -> None:
    async with upstream(cut(reply, len(reply), "close")) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        assert answer.status == 502
        assert json.loads(answer.body)["error"]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oops", "503 Busy", "529 Full"])
async def test_errors_of_the_upstream_pass_as_they_are_and_are_not_retried(status: str) -> None:
    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(response(ANSWER, "Retry-After: 7", status=status))

    async with upstream(script) as up, gateway(up.url) as gw:
        answer = await gw.ask(request())
        assert answer.status_line == f"HTTP/1.1 {status}"
        assert answer.header("retry-after") == ["7"]
        assert answer.body == ANSWER
        assert len(up.requests) == 1
