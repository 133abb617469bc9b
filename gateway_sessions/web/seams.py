"""The places where aiohttp has no public way to do what must be done.

Each function here reaches into aiohttp and says why; no other module does.  Their tests run
against the installed aiohttp, so that a release that moves these parts is noticed at once.
"""

# ruff: noqa: SLF001 - reaching into aiohttp is what this module is for

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from aiohttp import BaseConnector, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler

T_ = TypeVar("T_")


class ShortQueue(list[T_]):
    """What takes the place of a `collections.deque` that rarely holds more than an entry.

    A deque has room for 64 entries from the start: empty it takes 760 bytes, and aiohttp has five
    of them for an exchange.  Entries that move up cost less than that, also when a slow client
    lets them become some thousands.
    """

    __slots__ = ()

    def popleft(self) -> T_:
        """Remove the first entry and return it."""
        return self.pop(0)

    def appendleft(self, entry: T_) -> None:
        """Put an entry before the first."""
        self.insert(0, entry)


def short_queue() -> Any:
    """Return a `ShortQueue` for what aiohttp says is a deque."""
    return ShortQueue[Any]()


def prepare_stream(request: web.BaseRequest, content: StreamReader) -> None:
    """Let go what a request holds while its response goes on for minutes, and nobody needs then.

    That is the room of queues, and the timer that closes connections without a request: aiohttp
    starts it anew after the response.  ``content`` is the body that is streamed.
    """
    protocol = request._protocol
    if protocol._keepalive_handle is not None:
        protocol._keepalive_handle.cancel()
        protocol._keepalive_handle = None
    for reader in (request._payload, content):
        if type(reader) is StreamReader:
            reader._buffer = _short(reader._buffer)
            if reader._http_chunk_splits is not None:
                reader._http_chunk_splits = _short(reader._http_chunk_splits)


def _short(entries: Any) -> Any:
    return ShortQueue(entries)


def replace_writer(request: web.BaseRequest, writer: AbstractStreamWriter) -> None:
    """Have the request's response, whoever makes it, written through ``writer``.

    aiohttp lets middlewares see a response object but not the bytes of a stream.
    """
    request._payload_writer = writer


def writer_loop(request: web.BaseRequest) -> asyncio.AbstractEventLoop:
    """Return the loop that a request is handled in; to ask for the running one is a system call."""
    return request._loop


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


def use_protocol(connector: BaseConnector, factory: Callable[[], ResponseHandler]) -> None:
    """Have the connector's connections made by ``factory``; it has no parameter for it."""
    connector._factory = factory  # type: ignore[assignment]  # aiohttp says partial, and calls it


def expect_response(
    protocol: ResponseHandler, parsing: Mapping[str, Any], *, has_body: bool, read_timeout: float
) -> None:
    """Make a connection ready for the response to the request that is sent next.

    ``parsing`` are the parameters of `ResponseHandler.set_response_params` beside these two, the
    same every time.  What made out the last response makes out the next one too: aiohttp's
    server does so, its client begins afresh each time.
    """
    used = isinstance(protocol, ThriftyProtocol) and protocol.parses_bodies
    if used and has_body and not protocol._tail:
        protocol.read_timeout = read_timeout
        return
    protocol.set_response_params(skip_payload=not has_body, read_timeout=read_timeout, **parsing)


class ThriftyProtocol(ResponseHandler):
    """A connection to an upstream that does less for each response and each piece of it.

    Between two pieces aiohttp moves its timer, and makes a new one for it; this one keeps the
    time in mind and leaves the timer alone until it rings.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._buffer = short_queue()
        self._silent_at = math.inf

    @property
    def parses_bodies(self) -> bool:
        """Whether there is a parser from a response before, and one for responses with bodies."""
        return self._parser is not None and not self._skip_payload

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on, where reading was held up: aiohttp asks for it after every piece of a body."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def _reschedule_timeout(self) -> None:
        timeout = self._read_timeout
        self._silent_at = self._loop.time() + timeout if timeout else math.inf
        if timeout and self._read_timeout_handle is None:
            self._read_timeout_handle = self._loop.call_later(timeout, self._on_read_timeout)

    def _drop_timeout(self) -> None:
        self._silent_at = math.inf
        closed = self.transport is None or self._connection_lost_called
        if closed or self._payload_parser is not None:  # or speaks another protocol from now on
            super()._drop_timeout()

    def _on_read_timeout(self) -> None:
        self._read_timeout_handle = None
        left = self._silent_at - self._loop.time()
        if left <= 0:
            super()._on_read_timeout()
        elif left != math.inf:
            self._read_timeout_handle = self._loop.call_later(left, self._on_read_timeout)


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
