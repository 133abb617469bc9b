"""Responses on their way to the client, watched but not touched.

`Tee` is the writer through which every response of a watched exchange leaves, whoever makes
it: the relay for an upstream's responses, aiohttp's own response classes in a host app.  It
shows each piece to the `Transit`, which has looked at it before the client's next request, and
puts our tag headers into the head.  The piece that completes a reply waits until those who share
sessions know of it too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Union

from aiohttp import web
from aiohttp.http import StreamWriter

from gateway_sessions.exchange import Headers
from gateway_sessions.web import seams

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from gateway_sessions.transit import Transit

Buffer = Union[bytes, bytearray, "memoryview[int]", "memoryview[bytes]"]
Selector = Callable[[Headers], Headers]
"""Picks of the headers that we add to a response those that the client is to get."""


class Tee(StreamWriter):
    """The writer of one response."""

    def __init__(self, request: web.BaseRequest, transit: Transit, select: Selector) -> None:
        super().__init__(request.protocol, seams.writer_loop(request))
        # What a first write would set: an attribute that comes late may find no more room where
        # Python keeps those of all instances together, and costs each of them a dict of its own.
        self.buffer_size = self.output_size = 0
        self.chunked = False
        self.transit = transit
        self.started = False
        """True once the head has been written."""
        self.error: str | None = None
        """The exchange's error, to be reported at the response's end."""
        self._head = b""
        self._select = select
        self._compressing = False

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        transport = self.transport
        return transport is None or transport.is_closing()

    def tags(self) -> Headers:
        """Return the headers that we add to the response."""
        return self._select(self.transit.client_headers())

    # What aiohttp's own responses call.

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        """Compress what is written from here on; the transit sees it before that."""
        self._compressing = True
        super().enable_compression(encoding, strategy)

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        """Write the head of one of aiohttp's own responses, with our tags."""
        for name, value in self.tags():
            headers[name] = value
        # aiohttp's own names are of a subclass of str, which can not be sent to the recorder.
        seen = tuple((str(name), value) for name, value in headers.items())
        if self._compressing:
            seen = tuple(pair for pair in seen if pair[0].lower() != "content-encoding")
        self.started = True
        self.transit.response_started(int(status_line.split(" ", 2)[1]), seen)
        await super().write_headers(status_line, headers)

    async def write(self, chunk: Buffer, *, drain: bool = True, **limit: int) -> None:
        """Show a piece of the body to the transit, then write it."""
        waits = self.transit.show(bytes(chunk))
        if waits is not None:
            await waits
        await super().write(chunk, drain=drain, **limit)

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Finish the exchange, then let the last bytes of the body leave."""
        if chunk:
            waits = self.transit.show(bytes(chunk))
            if waits is not None:
                await waits
        await self.finish("client_closed" if self.gone else self.error)
        await super().write_eof(chunk)

    # What the relay calls, where every byte of the head is known already.

    def relay_head(self, head: bytes, chunked: bool) -> None:
        """Take a head as it is to stand on the wire; ``chunked`` frames the body likewise.

        It leaves with the first piece of the body, or with `relay_flush`.  The transit has to be
        told of it before.
        """
        self.started = True
        self._head = head
        self.chunked = chunked

    def relay_flush(self) -> None:
        """Write the head now, where nothing of the body is there yet."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    async def relay_chunk(self, chunk: bytes) -> None:
        """Write a piece of the body, which must not be empty, as a chunk of its own.

        Waits while the client is slower than the upstream.
        """
        waits = self.transit.show(chunk)
        if waits is not None:
            await waits
        head, self._head = self._head, b""
        if self.chunked:
            self._write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk))
        elif head:
            self._writelines((head, chunk))
        else:
            self._write(chunk)
        if self._protocol.writing_paused:
            await self.drain()

    async def relay_end(self) -> None:
        """Finish the exchange, then end the body."""
        await self.finish(self.error)
        self.relay_flush()
        if self.chunked:
            self._write(b"0\r\n\r\n")

    async def finish(self, error: str | None) -> None:
        """Finish the exchange, as `Transit.end` does; what ends the response comes after it."""
        waits = self.transit.end(error)
        if waits is not None:
            await waits
