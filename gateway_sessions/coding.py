"""Reading ``Content-Encoding``: gzip, deflate, br and zstd, alone or stacked, in bounded memory.

Traffic is forwarded as it came; what is decoded here are copies, to look inside.  A kilobyte
can decode to a gigabyte, so every decoder has a limit and never asks its library for more
bytes than are still allowed.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]  # ships no annotations

from gateway_sessions.errors import UnreadableBody

try:
    # In the standard library from 3.14 on; before that its backport is an extra of ours.
    zstd: Any = import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )
except ImportError:
    zstd = None

MAX_CODINGS = 4
"""Codings that may be stacked; more is not compression but an attempt to keep us busy."""


class BodyTooLarge(UnreadableBody):
    """A body that decodes to more bytes than the limit."""


class Decoder:
    """Undoes the codings of one body, piece by piece."""

    def __init__(self, stages: list[_Stage]) -> None:
        self._stages = stages

    def feed(self, data: bytes) -> bytes:
        """Return what the next bytes of the body decode to, possibly nothing yet.

        Raises `BodyTooLarge` once the whole is longer than the limit, and `UnreadableBody` for
        bytes that are not what the header says.
        """
        for stage in self._stages:
            data = stage.feed(data)
        return data

    def finish(self) -> None:
        """Check that the body was complete; raises `UnreadableBody` if it was cut."""
        for stage in self._stages:
            stage.finish()


def decoder(content_encoding: str, limit: int) -> Decoder | None:
    """Return a decoder for a ``Content-Encoding`` value, or None where there is nothing to undo.

    ``limit`` is the most bytes that may come out, in total.  Raises `UnreadableBody` for a
    coding that nobody here knows.

    >>> decoder("identity", 10) is None
    True
    """
    if not content_encoding:
        return None
    names = [name.strip().lower() for name in content_encoding.split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > MAX_CODINGS:
        raise UnreadableBody(f"more than {MAX_CODINGS} content codings on one body")
    # The header lists codings in the order in which they were applied.
    return Decoder([_Stage(coding, limit) for coding in reversed(codings)])


def decode(data: bytes, content_encoding: str, limit: int) -> bytes:
    """Return a whole body decoded; errors as in `decoder` and `Decoder`."""
    found = decoder(content_encoding, limit)
    if found is None:
        return data
    decoded = found.feed(data)
    found.finish()
    return decoded


class _Codec(Protocol):
    """One compressed stream; the libraries differ in everything but the idea."""

    eof: bool
    """True once the stream's own end has been read."""
    rest: bytes
    """Input that follows the end of the stream."""

    def feed(self, data: bytes, room: int) -> bytes:
        """Decode ``data``, returning at most ``room`` bytes (more may be held back)."""


class _Stage:
    """One coding of a body: a stream, or several after one another."""

    def __init__(self, coding: str, limit: int) -> None:
        if coding not in _CODECS:
            raise UnreadableBody(f"unknown content coding {coding[:40]!r}")
        self._coding = coding
        self._make = _CODECS[coding]
        self._codec = self._make()
        self._room = limit
        self._started = False

    def feed(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        while data:
            self._started = True
            piece = self._decode(data)
            if len(piece) > self._room:
                raise BodyTooLarge(f"a {self._coding} body decodes to more than is allowed")
            self._room -= len(piece)
            pieces.append(piece)
            data = self._codec.rest if self._codec.eof else b""
            if data:
                # gzip and zstd allow streams to be put one after the other.
                self._codec = self._make()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        if self._started and not self._codec.eof:
            raise UnreadableBody(f"a {self._coding} body breaks off before its end")

    def _decode(self, data: bytes) -> bytes:
        try:
            # One byte more than allowed, so that a body of exactly the limit still passes.
            return self._codec.feed(data, self._room + 1)
        except (zlib.error, brotli.error, EOFError, *_ZSTD_ERRORS) as error:
            raise UnreadableBody(f"not a {self._coding} body: {error}") from error


class _Zlib:
    """gzip (``wbits`` 31), zlib (15) and bare deflate (-15)."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self.eof = False
        self.rest = b""

    def feed(self, data: bytes, room: int) -> bytes:
        out = self._inner.decompress(data, room)
        self.eof, self.rest = self._inner.eof, self._inner.unused_data
        return out


class _Deflate:
    """HTTP's "deflate": a zlib stream by the book, bare deflate from some senders."""

    def __init__(self) -> None:
        self._first = b""
        self._inner: _Zlib | None = None
        self.eof = False
        self.rest = b""

    def feed(self, data: bytes, room: int) -> bytes:
        if self._inner is None:
            # The two differ in a header of two bytes, which has a checksum.
            data = self._first = self._first + data
            if len(data) < 2:
                return b""
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = _Zlib(15 if wrapped else -15)
        out = self._inner.feed(data, room)
        self.eof, self.rest = self._inner.eof, self._inner.rest
        if self.rest:
            raise zlib.error("bytes after its end")
        return out


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self.eof = False
        self.rest = b""

    def feed(self, data: bytes, room: int) -> bytes:
        if self.eof:
            raise brotli.error("bytes after its end")
        out: bytes = self._inner.process(data, output_buffer_limit=room)
        self.eof = self._inner.is_finished()
        return out


class _Zstd:
    def __init__(self) -> None:
        if zstd is None:
            raise UnreadableBody("zstd bodies need the extra: pip install gateway-sessions[zstd]")
        self._inner: Any = zstd.ZstdDecompressor()
        self.eof = False
        self.rest = b""

    def feed(self, data: bytes, room: int) -> bytes:
        out: bytes = self._inner.decompress(data, room)
        self.eof = self._inner.eof
        self.rest = self._inner.unused_data if self.eof else b""
        return out


_ZSTD_ERRORS: tuple[type[Exception], ...] = () if zstd is None else (zstd.ZstdError,)
_CODECS: dict[str, Callable[[], _Codec]] = {
    "gzip": lambda: _Zlib(31),
    "x-gzip": lambda: _Zlib(31),
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
