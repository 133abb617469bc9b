"""One request to an upstream, over a connection of `gateway_sessions.web.pool`.

`aiohttp.ClientSession` is not used: it writes headers through a text mapping, which replaces a
header that is repeated in other letters, drops bytes that are not UTF-8 and adds headers of
its own, and it runs a task for every body.  Its parts below that, what opens connections and
the response parser, are; so the bytes of a head are written here and nowhere else.

aiohttp's errors are translated in this module: above it there is `UpstreamFailed` only.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import (
    BaseConnector,
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientRequest,
    ServerTimeoutError,
    SocketTimeoutError,
    StreamReader,
    TCPConnector,
    UnixConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import TimerNoop
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from yarl import URL

from gateway_sessions.web import seams
from gateway_sessions.web.pool import Link, Pool

POOL_LIMIT = 0
"""Connections open at a time: as many as there are requests.  A stream holds its connection
for minutes, so any limit would make new requests wait in silence behind old streams; clients'
own connections are the bound."""
READ_BUFFER = 64 * 1024
"""Bytes after which an upstream is no longer read while its client is slow."""
HEAD_LIMIT = 64 * 1024
"""Bytes of a line of a head, either direction: tokens of 8 KB and more exist."""
HEADER_COUNT = 256
COPIED_BODY = 32 * 1024
"""Bytes up to which head and body are joined into one write."""
RESENDABLE = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that may be sent again when a pooled connection turns out to be closed."""


class UpstreamFailed(Exception):
    """An upstream did not give an answer that can be passed on.

    ``status`` is what the client gets (502 or 504) and ``error`` the value for
    `Response.error`; the text is one sentence without credentials.
    """

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


@dataclass(slots=True, eq=False)
class UpstreamResponse:
    """A response whose head has arrived."""

    message: RawResponseMessage
    content: StreamReader
    pool: Pool
    link: Link
    upload: asyncio.Task[None] | None = None
    """The request's body, if it is still on its way."""
    over: bool = False
    """Whether the connection is somebody else's by now, or closed."""

    def broken(self) -> bool:
        """Tell, after a body that ends with its connection, whether that ended by an error."""
        return isinstance(self.link.protocol.exception(), OSError)

    def done(self) -> None:
        """Give the connection back to the pool; the body must have been read to its end."""
        if self.upload is not None and not self.upload.done():
            self.close()
        elif not self.over:
            self.over = True
            self.pool.give_back(self.link)

    def close(self) -> None:
        """Close the connection, whatever is still on it.  Harmless after `done`."""
        if self.over:
            return
        self.over = True
        if self.upload is not None:
            self.upload.cancel()
        self.link.close()


class Origin:
    """Where the requests of one upstream go."""

    def __init__(self, url: str, connector: BaseConnector, timeout_seconds: float) -> None:
        """Take an ``http(s)`` URL, with a base path if the upstream has one.

        ``timeout_seconds`` is the longest silence, before the head of a response and between
        its bytes; the whole may take as long as it likes.  A user and password in the URL
        become the credentials of clients that bring none.  Needs a running event loop.
        """
        parts = urlsplit(url)
        self.base = parts.path.rstrip("/").encode()
        self.label = parts.netloc.rpartition("@")[2]
        """Host and port, for messages."""
        self.authorization = _basic(parts.username, parts.password)
        bare = URL(f"{parts.scheme}://{self.label}", encoded=True)
        # The connector wants a request to know where to connect to; this one is never sent.
        loop = asyncio.get_running_loop()
        target = ClientRequest("GET", bare, loop=loop)
        self.host = target.headers["Host"].encode()
        self._pool = Pool(connector, target, loop)
        self._timeout_seconds = timeout_seconds

    def close(self) -> None:
        """Close the connections that wait for a request; the connector is the caller's."""
        self._pool.close()

    async def send(
        self,
        method: str,
        head: bytes,
        body: bytes | AsyncIterable[bytes] = b"",
        *,
        chunked: bool = False,
        upgrade: bool = False,
    ) -> UpstreamResponse:
        """Send a request and return the response as soon as its head is there.

        ``head`` is everything up to and with the empty line, ``chunked`` says that it announces
        a chunked body, and ``body`` is the content without framing.  Bytes go out in the same
        write as the head.  An iterable is sent piece by piece while the response may already
        come; an error that it raises ends the request and is raised here.  1xx responses are
        passed over, except for 101 with ``upgrade``.

        Raises `UpstreamFailed`.
        """
        source = None if isinstance(body, bytes) else body
        pieces = _framed(head, body, chunked) if isinstance(body, bytes) else [head]
        try:
            try:
                return await self._attempt(method, pieces, source, chunked, upgrade)
            except _LOST as error:
                # A connection from the pool may have been closed while we took it.  Whether
                # the request was read nobody knows, so only harmless ones are sent again.
                if source is not None or method not in RESENDABLE or _is_final(error):
                    raise
                return await self._attempt(method, pieces, source, chunked, upgrade)
        except (ClientError, HttpProcessingError, OSError) as error:
            raise self._failure(error) from error

    async def _attempt(
        self,
        method: str,
        pieces: list[bytes],
        source: AsyncIterable[bytes] | None,
        chunked: bool,
        upgrade: bool,
    ) -> UpstreamResponse:
        link = self._pool.idle() or await self._pool.opened()
        protocol, upload = link.protocol, None
        try:
            seams.expect_response(
                protocol, _PARSING, has_body=method != "HEAD", read_timeout=self._timeout_seconds
            )
            link.transport.writelines(pieces)
            if source is None:
                protocol.start_timeout()
            else:
                loop = asyncio.get_running_loop()
                upload = loop.create_task(self._upload(protocol, source, chunked))
            while True:
                message, content = await protocol.read()
                if message.code >= 200 or (upgrade and message.code == 101):
                    _check_coding(message)
                    return UpstreamResponse(message, content, self._pool, link, upload)
        except BaseException:
            if upload is not None:
                upload.cancel()
            link.close()
            raise

    async def _upload(
        self, protocol: ResponseHandler, source: AsyncIterable[bytes], chunked: bool
    ) -> None:
        """Send a body piece by piece; an error goes to whoever waits for the response."""
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        if chunked:
            writer.enable_chunking()
        try:
            async for piece in source:
                async with asyncio.timeout(self._timeout_seconds):
                    await writer.write(piece)
            await writer.write_eof()
            protocol.start_timeout()
        except Exception as error:  # noqa: BLE001 - whatever it is, the response's reader gets it
            late = isinstance(error, TimeoutError)
            protocol.set_exception(SocketTimeoutError() if late else error)
            if protocol.transport is not None:
                protocol.transport.abort()

    def _failure(self, error: Exception) -> UpstreamFailed:
        if isinstance(error, ServerTimeoutError):
            text = f"The upstream {self.label} was silent for {self._timeout_seconds:g} seconds."
            return UpstreamFailed(504, "upstream_timeout", text)
        if isinstance(error, TimeoutError):
            text = f"The upstream {self.label} did not accept a connection in time."
            return UpstreamFailed(504, "upstream_timeout", text)
        if isinstance(error, ClientConnectorError):
            text = f"The upstream {self.label} can not be reached."
        elif isinstance(error, HttpProcessingError):
            text = f"The upstream {self.label} did not answer in HTTP."
        else:
            text = f"The upstream {self.label} closed the connection without an answer."
        return UpstreamFailed(502, "upstream_unreachable", text)


def make_connector() -> TCPConnector:
    """Return what opens the connections to all upstreams.  Needs a running event loop."""
    connector = TCPConnector(limit=POOL_LIMIT)
    seams.use_protocol(connector, partial(_Protocol, loop=asyncio.get_running_loop()))
    return connector


def local_connector(path: Path) -> UnixConnector:
    """Return what opens connections to a local socket.  Needs a running event loop."""
    connector = UnixConnector(str(path), limit=POOL_LIMIT)
    seams.use_protocol(connector, partial(_Protocol, loop=asyncio.get_running_loop()))
    return connector


class _Protocol(seams.ThriftyProtocol):
    """A connection whose faults reach the reader of a body as well.

    aiohttp tells them to whoever waits for a head only; a body with a malformed chunk would
    just never go on.
    """

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        super().set_exception(exc, *(() if exc_cause is None else (exc_cause,)))
        if self._payload is not None and not self._payload.is_eof():
            known = isinstance(exc, ClientError)
            self._payload.set_exception(exc if known else ClientPayloadError(str(exc)))


_LOST = (ClientConnectionError, ConnectionError)
_PARSING: Mapping[str, Any] = {
    "timer": TimerNoop(),
    "read_until_eof": True,
    "auto_decompress": False,
    "read_bufsize": READ_BUFFER,
    "max_line_size": HEAD_LIMIT,
    "max_field_size": HEAD_LIMIT,
    "max_headers": HEADER_COUNT,
}


def _is_final(error: Exception) -> bool:
    """Tell whether trying again would only fail again, later."""
    return isinstance(error, (ServerTimeoutError, ClientConnectorError))


def _check_coding(message: RawResponseMessage) -> None:
    """Refuse a body in a transfer coding that we did not ask for and can not name onwards."""
    for value in message.headers.getall("Transfer-Encoding", ()):
        if value.strip().lower() != "chunked":
            raise HttpProcessingError(message="unknown transfer coding")


def _framed(head: bytes, body: bytes, chunked: bool) -> list[bytes]:
    pieces = [head, body]
    if chunked:
        size = b"%x\r\n" % len(body)
        pieces = [head, size, body, b"\r\n0\r\n\r\n"] if body else [head, b"0\r\n\r\n"]
    # One packet for what fits into one; a large body is not copied for it.
    return pieces if len(body) > COPIED_BODY else [b"".join(pieces)]


def _basic(user: str | None, password: str | None) -> bytes | None:
    if user is None:
        return None
    return b"Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode())
