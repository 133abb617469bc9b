"""Both ends of a gateway under test, on raw sockets: what is sent and what arrives, byte by byte.

`Upstream` answers with bytes that a test gives it; `gateway` runs the real proxy in front of
it; `Peer` is a client that sees everything that the gateway writes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.config.schema import Upstream as UpstreamConfig
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import Exchange
from gateway_sessions.gateway import Gateway
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.web.proxy import proxy_application
from gateway_sessions.web.server import make_runner
from gateway_sessions.web.upstreams import UpstreamTable

LIMIT = 20.0
"""Seconds after which anything that a test waits for counts as hanging."""
BUFFER = 64 * 1024 * 1024

CHAT = "/v1/chat/completions"
QUESTION = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello!"},
                "finish_reason": "stop",
            }
        ],
    }
).encode()


def request(
    body: bytes = QUESTION,
    *extra: str,
    target: str = CHAT,
    method: str = "POST",
    version: str = "1.1",
    length: bool = True,
) -> bytes:
    """Return a request as bytes; ``extra`` are header lines."""
    lines = [f"{method} {target} HTTP/{version}", "Host: client.example", *extra]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def response(body: bytes = ANSWER, *extra: str, status: str = "200 OK") -> bytes:
    """Return a response with a ``Content-Length`` as bytes; ``extra`` are header lines."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *extra]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*chunks: bytes) -> bytes:
    """Return the whole body of a chunked message."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def stream(*chunks: bytes, extra: str = "") -> bytes:
    """Return a chunked event stream as bytes."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{extra}"
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*chunks)


@dataclass
class Received:
    """A request as it reached the upstream."""

    head: bytes
    body: bytes

    @property
    def lines(self) -> list[str]:
        return self.head.decode("latin-1").split("\r\n")

    def header(self, name: str) -> list[str]:
        """Return all values of a header."""
        found = (line.partition(": ") for line in self.lines[1:])
        return [value for key, _, value in found if key.lower() == name.lower()]


class Connection:
    """One connection that the gateway has made to the upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.closed = asyncio.Event()

    async def read_request(self) -> Received:
        """Read a request, whatever its framing."""
        head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        received = Received(head, b"")
        if received.header("transfer-encoding"):
            received.body = await read_chunked(self.reader)
        elif lengths := received.header("content-length"):
            received.body = await self.reader.readexactly(int(lengths[0]))
        return received

    def reset(self) -> None:
        """Break the connection as a crash does: the peer gets an error and no end."""
        no_time = struct.pack("ii", 1, 0)
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
        self.writer.transport.abort()


Script = Callable[[Connection, Received], Awaitable[None]]


class Upstream:
    """A server that does what a test tells it, and remembers what it was sent."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[Received] = []
        self.connections: list[Connection] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections.append(connection)
        try:
            while True:
                received = await connection.read_request()
                self.requests.append(received)
                await self._script(connection, received)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            connection.closed.set()


def answers(*replies: bytes) -> Script:
    """Return a script that answers each request with the next of some bytes, the last for ever."""
    left = list(replies)

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(left.pop(0) if len(left) > 1 else left[0])
        await connection.writer.drain()

    return script


def answers_and_closes(reply: bytes) -> Script:
    """Return a script that answers with some bytes and closes the connection after them."""

    async def script(connection: Connection, received: Received) -> None:
        connection.writer.write(reply)
        connection.writer.close()

    return script


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[Upstream]:
    """Run an upstream."""
    made = Upstream(script)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=BUFFER)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for connection in made.connections:
            connection.writer.transport.abort()
            await asyncio.wait_for(connection.closed.wait(), LIMIT)


@dataclass
class Running:
    """A gateway that listens."""

    port: int
    gateway: Gateway
    runner: web.AppRunner
    finished: list[Exchange] = field(default_factory=list)
    """The exchanges that are over."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def exchanges(self, count: int = 1) -> list[Exchange]:
        """Wait until so many exchanges are over, and return them."""
        async with asyncio.timeout(LIMIT), self.changed:
            await self.changed.wait_for(lambda: len(self.finished) >= count)
        return self.finished

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        """Connect a client."""
        async with connected(self.port) as peer:
            yield peer

    async def ask(self, data: bytes) -> Answer:
        """Send one request over a connection of its own and return the response."""
        async with self.peer() as peer:
            return await peer.ask(data)


class Watcher:
    """An interceptor that keeps finished exchanges."""

    def __init__(self) -> None:
        self.running: Running | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def exchange_finished(self, exchange: Exchange) -> None:
        running = self.running
        assert running is not None
        running.finished.append(exchange)
        task = asyncio.get_running_loop().create_task(self._tell(running))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, running: Running) -> None:
        async with running.changed:
            running.changed.notify_all()


@asynccontextmanager
async def gateway(
    *upstreams: str | UpstreamConfig,
    interceptors: tuple[object, ...] = (),
    grace_seconds: float = 1.0,
    **options: Any,
) -> AsyncIterator[Running]:
    """Run the real gateway in front of some upstreams."""
    watcher, telemetry = Watcher(), Telemetry()
    named = [(type(one).__name__, one) for one in (watcher, *interceptors)]
    chain = InterceptorChain(named, telemetry)
    core = Gateway(DetectionSettings(), secret=b"s" * 32, interceptors=chain, telemetry=telemetry)
    table = UpstreamTable(
        UpstreamConfig(url=one) if isinstance(one, str) else one for one in upstreams
    )
    await core.open()
    runner = make_runner(proxy_application(core, table, **options), grace_seconds=grace_seconds)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    watcher.running = Running(runner.addresses[0][1], core, runner)
    try:
        yield watcher.running
    finally:
        await runner.cleanup()
        await core.close()


@dataclass
class Answer:
    """A response as it reached the client."""

    status_line: str
    fields: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ", 2)[1])

    def header(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


@dataclass
class Peer:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its response."""
        self.send(data)
        return await self.answer(data.split(b" ", 1)[0] == b"HEAD")

    async def head(self) -> Answer:
        """Read the head of a response."""
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LIMIT)
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return Answer(first, [(name, value) for name, _, value in pairs], b"")

    async def answer(self, headless: bool = False) -> Answer:
        """Read a whole response; raises `asyncio.IncompleteReadError` if it is cut short."""
        found = await self.head()
        if headless or found.status in {101, 204, 304}:
            return found
        async with asyncio.timeout(LIMIT):
            if found.header("transfer-encoding"):
                found.chunks = [chunk async for chunk in chunks(self.reader)]
                found.body = b"".join(found.chunks)
            elif lengths := found.header("content-length"):
                found.body = await self.reader.readexactly(int(lengths[0]))
            else:
                found.body = await self.reader.read()
        return found

    async def rest(self) -> bytes:
        """Read until the gateway closes the connection; raises `OSError` for a reset."""
        return await asyncio.wait_for(self.reader.read(), LIMIT)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Peer]:
    """Connect a client to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=BUFFER)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a body as they come."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


async def read_chunked(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body."""
    return b"".join([chunk async for chunk in chunks(reader)])
