"""Requests on their way to the upstream."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from gateway_sessions.exchange import Exchange, Headers, Refusal
from gateway_sessions.web.bodies import INSPECTION_LIMIT
from tests.web.harness import (
    ANSWER,
    CHAT,
    LIMIT,
    QUESTION,
    Connection,
    Received,
    Running,
    answers,
    chunked,
    gateway,
    request,
    response,
    upstream,
)

DEEP = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"messages": [{"role": "user", "content": "hi"}',
        b'\xef\xbb\xbf{"messages": []}',
        b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": NaN}]}',
        b'{"messages": 1, "messages": []}',
        b'{"messages": [{"role": "user", "content": 1' + b"0" * 5000 + b"}]}",
        DEEP,
        b"\0" * 10_000,
        b'[{"role": "user"}]',
        b'"text"',
    ],
    ids=[
        "empty",
        "text",
        "cut",
        "bom",
        "utf-8",
        "surrogate",
        "nan",
        "duplicate",
        "huge-int",
        "deep",
        "zeros",
        "list",
        "string",
    ],
)
async def test_a_body_that_can_not_be_read_passes_as_it_is(body: bytes) -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        answer = await gw.ask(request(body))
        assert answer.status == 200
        assert answer.body == ANSWER
        assert up.requests[0].body == body


async def test_a_chunked_body_stays_chunked() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        body = chunked(QUESTION[:10], QUESTION[10:])
        await gw.ask(request(body, "transfer-encoding: Chunked", length=False))
        assert up.requests[0].body == QUESTION
        assert up.requests[0].header("transfer-encoding") == ["Chunked"]
        assert up.requests[0].header("content-length") == []
        (exchange,) = await gw.exchanges()
        assert exchange.session is not None


async def test_an_empty_chunked_body_stays_so() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        answer = await gw.ask(request(chunked(), "Transfer-Encoding: chunked", length=False))
        assert answer.status == 200
        assert up.requests[0].body == b""


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_above_the_inspection_limit_is_streamed_through(framing: str) -> None:
    piece, count = bytes(range(256)) * 256, INSPECTION_LIMIT // 65536 + 8
    wanted = hashlib.sha256(piece * count).hexdigest()
    lengthy = framing == "length"
    header = f"Content-Length: {len(piece) * count}" if lengthy else "Transfer-Encoding: chunked"
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(request(b"", header, length=False))
        for _ in range(count):
            peer.send(piece if lengthy else b"%x\r\n%b\r\n" % (len(piece), piece))
            await peer.writer.drain()
        peer.send(b"" if lengthy else b"0\r\n\r\n")
        assert (await peer.answer()).status == 200
        assert hashlib.sha256(up.requests[0].body).hexdigest() == wanted
        assert (await peer.ask(request())).status == 200
        exchange = (await gw.exchanges(2))[0]
        assert exchange.session is None
        assert exchange.parse_error


class TestLargeUploads:
    """Bodies above the inspection limit, whose two ends do not go along."""

    size = INSPECTION_LIMIT + 1

    def head(self) -> bytes:
        return request(b"", f"Content-Length: {self.size}", length=False)

    async def test_an_early_answer_is_passed_on(self) -> None:
        async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response(b"{}", status="413 Too Large"))
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(early, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, gateway(url) as gw, gw.peer() as peer:
            peer.send(self.head() + bytes(1000))
            assert (await peer.answer()).status == 413

    async def test_a_client_that_leaves_halfway_leaves_no_complete_request(self) -> None:
        begun = asyncio.Event()
        seen = asyncio.get_running_loop().create_future()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            seen.set_result(len(await reader.read()))
            writer.close()

        server = await asyncio.start_server(count, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, gateway(url) as gw:
            async with gw.peer() as peer:
                peer.send(self.head() + bytes(100_000))
                await asyncio.wait_for(begun.wait(), LIMIT)
            assert await asyncio.wait_for(seen, LIMIT) < self.size
            (exchange,) = await gw.exchanges()
            assert exchange.response is not None
            assert exchange.response.error == "client_closed"

    async def test_a_malformed_chunk_ends_the_upload_as_an_error(self) -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, gateway(url) as gw, gw.peer() as peer:
            peer.send(request(b"", "Transfer-Encoding: chunked", length=False))
            peer.send(b"%x\r\n%b\r\nnonsense\r\n" % (self.size, bytes(self.size)))
            assert (await peer.answer()).status == 400


async def test_a_malformed_chunk_is_a_400() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw:
        answer = await gw.ask(
            request(b"5\r\nabcde\r\nXX\r\n", "Transfer-Encoding: chunked", length=False)
        )
        assert answer.status == 400
        assert up.requests == []


async def test_so_is_one_that_comes_after_the_rest() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        lines = ("Transfer-Encoding: chunked", "Expect: 100-continue")
        peer.send(request(b"", *lines, length=False))
        assert (await peer.head()).status == 100
        peer.send(b"5\r\nabcde\r\nXX\r\n")
        assert (await peer.answer()).status == 400
        assert await peer.rest() == b""
        assert up.requests == []


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def numbered(connection: Connection, received: Received) -> None:
        connection.writer.write(response(received.lines[0].encode()))

    async with upstream(numbered) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(b"".join(request(b"", target=f"/{number}") for number in range(20)))
        for number in range(20):
            assert (await peer.answer()).body == f"POST /{number} HTTP/1.1".encode()
        assert len(up.connections) == 1


async def test_the_next_request_finds_the_reply_however_fast_it_comes() -> None:
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        messages = json.loads(QUESTION)["messages"]
        reply = json.loads(ANSWER)["choices"][0]["message"]
        sessions = set()
        for _ in range(10):
            answer = await peer.ask(request(json.dumps({"messages": messages}).encode()))
            sessions |= set(answer.header("x-gateway-session-id"))
            messages += [reply, {"role": "user", "content": "more"}]
        assert len(sessions) == 1


class Guest:
    """An interceptor that adds headers, some of which must not get through."""

    def upstream_headers(self, exchange: Exchange) -> Headers:
        return (("X-Guest", "up"),)

    def client_headers(self, exchange: Exchange) -> Headers:
        return (("X-Guest", "down"),)

    def request_started(self, exchange: Exchange) -> Refusal | None:
        return Refusal(403, "Not you.") if "refuse" in exchange.request.path else None


async def test_interceptors_add_headers_both_ways() -> None:
    async with (
        upstream(answers(response())) as up,
        gateway(up.url, interceptors=(Guest(),), response_headers="none") as gw,
    ):
        answer = await gw.ask(request())
        assert answer.header("x-guest") == ["down"]
        assert answer.header("x-gateway-session-id") == []
        assert up.requests[0].header("x-guest") == ["up"]


async def test_interceptors_can_refuse() -> None:
    async with upstream(answers(response())) as up:
        async with gateway(up.url, interceptors=(Guest(),)) as gw, gw.peer() as peer:
            answer = await peer.ask(request(target="/refuse" + CHAT))
            assert answer.status == 403
            assert json.loads(answer.body)["error"]["message"] == "Not you."
            assert answer.header("server") == ["gateway-sessions"]
            assert (await peer.ask(request())).status == 200
            exchange = (await gw.exchanges(2))[0]
            assert exchange.response is not None
            assert exchange.response.error == "refused"
        assert len(up.requests) == 1


async def test_the_address_of_a_client_behind_a_trusted_proxy() -> None:
    async def address(gw: Running) -> str:
        await gw.ask(request(QUESTION, "X-Forwarded-For: 192.0.2.9"))
        return (await gw.exchanges())[0].client.ip

    async with upstream(answers(response())) as up:
        async with gateway(up.url) as gw:
            assert await address(gw) == "127.0.0.1"
        async with gateway(up.url, trusted_proxies=["127.0.0.0/8"]) as gw:
            assert await address(gw) == "192.0.2.9"
        assert [one.header("x-forwarded-for") for one in up.requests] == [["192.0.2.9"]] * 2
