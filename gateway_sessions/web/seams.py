"""The places where aiohttp has no public way to do what must be done.

Each function here reaches into aiohttp and says why; no other module does.  Their tests run
against the installed aiohttp, so that a release that moves these parts is noticed at once.
"""

# ruff: noqa: SLF001 - reaching into aiohttp is what this module is for

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

from aiohttp import StreamReader, TCPConnector, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler


def replace_writer(request: web.BaseRequest, writer: AbstractStreamWriter) -> None:
    """Have the request's response, whoever makes it, written through ``writer``.

    aiohttp lets middlewares see a response object but not the bytes of a stream.
    """
    request._payload_writer = writer


def remember_body(request: web.BaseRequest, body: bytes) -> None:
    """Let ``await request.read()``, ``.json()`` and so on return a body that we have read."""
    request._read_bytes = body


def put_back(content: StreamReader, data: bytes) -> None:
    """Make data the next that the stream's reader gets.

    The method is deprecated without a substitute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        content.unread_data(data)


def use_protocol(connector: TCPConnector, factory: Callable[[], ResponseHandler]) -> None:
    """Have the connector's connections made by ``factory``; it has no parameter for it."""
    connector._factory = factory  # type: ignore[assignment]  # aiohttp says partial, and calls it


def unread_pieces(content: StreamReader) -> Iterator[bytes]:
    """Yield what had arrived of a stream before it failed.

    A reader that failed raises at once, also while it still has good bytes; if these came
    together with the failure, nobody would ever see them.
    """
    content._exception = None
    while content._buffer:
        splits = content._http_chunk_splits
        end = splits.popleft() if splits else None
        piece = content._read_nowait(-1 if end is None else end - content._cursor)
        if piece:
            yield piece
