"""Passing an upstream's response on: the same head, the same bytes, the same end.

Every chunk is its own write as soon as it is there, never more is held than the transport's
buffer, and an end is written only where the upstream had one: when it breaks off, the client
gets the bytes so far and a connection that closes in the middle.
"""

from __future__ import annotations

import socket
import struct
from functools import lru_cache
from typing import NamedTuple

from aiohttp import ClientError, SocketTimeoutError, StreamReader, web
from aiohttp.http import HttpVersion11, RawResponseMessage

from gateway_sessions.exchange import Headers
from gateway_sessions.web import seams
from gateway_sessions.web.client import UpstreamResponse
from gateway_sessions.web.headers import (
    ENDS,
    FRAMES,
    PASSES,
    PROTECTED,
    RESPONSE_KINDS,
    TAG_PREFIX,
    connection_names,
    lines,
    texts,
)
from gateway_sessions.web.streams import Tee
from gateway_sessions.web.websocket import SWITCH, tunnel

RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` without time: closing the socket resets the connection instead of ending it."""


_STAYS_OPEN = ["keep-alive"]
"""What most servers say of a connection: it names no other header than one of `HOP_BY_HOP`."""
_NONE: frozenset[bytes] = frozenset()


class Framing(NamedTuple):
    """How a response's body ends."""

    empty: bool
    """There is no body, whatever the headers say."""
    to_close: bool
    """The upstream's body ends with its connection; nothing else tells that it was complete."""
    chunked: bool
    """The client's body is chunked."""
    keep_alive: bool
    """The client's connection stays open after it."""


class Sent(web.StreamResponse):
    """A response that is out already: what aiohttp needs to know of it."""

    def __init__(self, status: int, reason: str, keep_alive: bool, size: int = 0) -> None:
        super().__init__(status=status, reason=reason)
        self._keep_alive = keep_alive
        self._body_length = size
        self._eof_sent = True


async def relay(request: web.BaseRequest, upstream: UpstreamResponse, tee: Tee) -> Sent:
    """Pass a response on to the client and return it for aiohttp's book-keeping.

    Raises `ConnectionError` when the client is gone.
    """
    message = upstream.message
    framing = _framing(request, message)
    _write_head(request, message, framing, tee)
    error = None
    content = upstream.content
    if framing.empty:
        pass
    elif content.is_eof() and not (message.chunked or framing.to_close or content.exception()):
        # All of it came with the head: the usual case where nothing is streamed.
        if content.total_bytes:
            await tee.relay_chunk(content.read_nowait())
    else:
        if not content.total_bytes:
            tee.relay_flush()
        seams.prepare_stream(request, content)
        error = await _pump(content, tee)
        if error is None and framing.to_close and upstream.broken():
            error = "upstream_aborted"
    if error is None:
        upstream.done()
        await tee.relay_end()
        return Sent(message.code, message.reason, framing.keep_alive, tee.output_size)
    await tee.finish(error)
    tee.relay_flush()
    if not framing.chunked and "Content-Length" not in message.headers:
        _reset_on_close(request)
    return Sent(message.code, message.reason, False, tee.output_size)


async def switch(request: web.BaseRequest, upstream: UpstreamResponse, tee: Tee) -> Sent:
    """Pass on an upstream's agreement to speak WebSocket, and then all that is said in it."""
    message = upstream.message
    framing = Framing(empty=True, to_close=False, chunked=False, keep_alive=True)
    _write_head(request, message, framing, tee, SWITCH)
    tee.relay_flush()
    await tunnel(request, upstream)
    await tee.relay_end()
    return Sent(message.code, message.reason, keep_alive=False)


async def _pump(content: StreamReader, tee: Tee) -> str | None:
    """Relay a body; return the error with which it broke off, or None at its end."""
    while True:
        try:
            chunk, chunk_ended = await content.readchunk()
        except (ClientError, TimeoutError) as error:
            for rest in seams.unread_pieces(content):
                await tee.relay_chunk(rest)
            late = isinstance(error, SocketTimeoutError)
            return "upstream_timeout" if late else "upstream_aborted"
        if chunk:
            await tee.relay_chunk(chunk)
        elif not chunk_ended:
            return None


def _framing(request: web.BaseRequest, message: RawResponseMessage) -> Framing:
    modern = request.version >= HttpVersion11
    empty = request.method == "HEAD" or message.code in {204, 304}
    sized = not message.chunked and "Content-Length" in message.headers
    chunked = modern and not empty and not sized
    keep_alive = request.keep_alive and (empty or sized or modern)
    return Framing(empty, not (message.chunked or sized), chunked, keep_alive)


def _write_head(
    request: web.BaseRequest,
    message: RawResponseMessage,
    framing: Framing,
    tee: Tee,
    kept: frozenset[bytes] = frozenset(),
) -> None:
    """Have the upstream's head written, and show it to the transit."""
    tags = tee.tags()
    dropped = _added(tags)
    values = message.headers.getall("Connection", ())
    if values and not kept and values != _STAYS_OPEN:
        dropped |= connection_names(values) - PROTECTED
    fields = _fields(request, message, framing, dropped, kept, tags)
    find = message.headers.get
    tee.transit.response_head(
        message.code,
        find("Content-Type", ""),
        find("Content-Encoding", ""),
        "" if message.chunked else find("Content-Length", ""),
        lambda: texts(fields) + tags,
    )
    modern = request.version >= HttpVersion11
    head = [_status_line(modern, message.code, message.reason)]
    head += [b": ".join(pair) for pair in fields]
    head.append(lines(tags) + b"\r\n")
    tee.relay_head(b"\r\n".join(head), framing.chunked)


@lru_cache(maxsize=256)
def _status_line(modern: bool, code: int, reason: str) -> bytes:
    said = reason.encode("utf-8", "surrogateescape")
    return b"HTTP/%b %d %b" % (b"1.1" if modern else b"1.0", code, said)


def _added(tags: Headers) -> frozenset[bytes]:
    """Return the names, in lower case, of what interceptors add to a response."""
    names = [name for name, _ in tags if not name.startswith(TAG_PREFIX)]
    return frozenset([name.lower().encode() for name in names]) if names else _NONE


def _fields(
    request: web.BaseRequest,
    message: RawResponseMessage,
    framing: Framing,
    dropped: frozenset[bytes],
    kept: frozenset[bytes],
    tags: Headers,
) -> list[tuple[bytes, bytes]]:
    """Return the upstream's headers as the client gets them, in their order.

    ``dropped`` are names, in lower case, beside those of this hop, of which ``kept`` go on;
    ``tags`` are our own, which take the place of the upstream's.
    """
    modern = request.version >= HttpVersion11
    fields: list[tuple[bytes, bytes]] = []
    framed = False
    for pair in message.raw_headers:
        kind = RESPONSE_KINDS[pair[0]]
        if kind == PASSES:
            if dropped and pair[0].lower() in dropped:
                continue
        elif kind == FRAMES:
            coded = pair[0].lower() == b"transfer-encoding"
            wanted = modern if coded else not message.chunked
            wanted = wanted and (message.code != 204 or pair[1] == b"0")
            if framed or not wanted:
                continue
            framed = True
        elif kind == ENDS:
            if pair[0].lower() not in kept:
                continue
        elif pair[0].lower() in dropped | {name.lower().encode() for name, _ in tags}:
            continue
        fields.append(pair)
    if framing.chunked and not framed:
        fields.append((b"Transfer-Encoding", b"chunked"))
    if not framing.keep_alive and modern:
        fields.append((b"Connection", b"close"))
    elif framing.keep_alive and not modern:
        fields.append((b"Connection", b"keep-alive"))
    return fields


def _reset_on_close(request: web.BaseRequest) -> None:
    """Make the close of a connection an error, where it would be the normal end of a body."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
