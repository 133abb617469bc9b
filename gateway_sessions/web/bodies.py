"""Request bodies: read to be looked at, within bounds, without getting in their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader, web

from gateway_sessions.coding import BodyTooLarge, decode
from gateway_sessions.errors import UnreadableBody
from gateway_sessions.web import seams

INSPECTION_LIMIT = 16 * 1024 * 1024
"""Bytes up to which a body is read before it is forwarded; the longest contexts of today's
models are below it.  Larger ones are streamed through and get no session."""
INLINE_LIMIT = 256 * 1024
"""Bytes up to which a body is decoded on the event loop: about a millisecond of work."""
IDLE_SECONDS = 30.0
"""Longest pause in a client's body; a client that only wants to hold a place pauses longer."""


class BodyStalled(Exception):
    """A client has not sent anything of its body for `IDLE_SECONDS`."""


async def read_whole(request: web.BaseRequest, limit: int) -> bytes | None:
    """Return the body of a request, or None if it is longer than ``limit`` bytes.

    A body that is not returned can still be read from ``request.content``, whole.  Raises
    `BodyStalled`, and what aiohttp raises for malformed framing or a client that left.
    """
    content = request.content
    if content.is_eof() and content.total_bytes <= limit:
        return content.read_nowait() if content.total_bytes else b""
    announced = request.content_length
    if announced is not None and announced > limit:
        return None
    pieces: list[bytes] = []
    size = 0
    async for piece in paced(content):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            seams.put_back(content, b"".join(pieces))
            return None
    return b"".join(pieces)


async def paced(content: StreamReader) -> AsyncIterator[bytes]:
    """Yield a body as it comes; raises `BodyStalled` when it does not."""
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await content.readany()
        except TimeoutError:
            raise BodyStalled from None
        if not piece:
            return
        yield piece


async def inspectable(body: bytes | None, content_encoding: str) -> bytes | None:
    """Return what a body says once its coding is undone, or None where that is not for us.

    A body that is not in the coding that its header names is returned as it is: frameworks
    decode bodies and leave the header standing.
    """
    if body is None or not content_encoding:
        return body
    try:
        if len(body) <= INLINE_LIMIT:
            try:
                return decode(body, content_encoding, INLINE_LIMIT)
            except BodyTooLarge:
                pass
        return await asyncio.to_thread(decode, body, content_encoding, INSPECTION_LIMIT)
    except BodyTooLarge:
        return None
    except UnreadableBody:
        return body
