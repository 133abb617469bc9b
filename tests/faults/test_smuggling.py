"""Request smuggling: whatever two servers could read in two ways is read by one of them only.

Each payload hides ``GET /smuggled``.  It may be refused, or be forwarded as one request; the
upstream must never see the hidden one.  All of it runs with aiohttp's parser in C and in Python.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.web.harness import CHAT, answers, gateway, response, upstream

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
POST = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n".encode()
PATIENCE = 0.1
"""Seconds after which a gateway that still keeps the connection open has decided."""
TE = b"Transfer-Encoding: chunked\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def te(value: bytes, name: bytes = b"Transfer-Encoding", separator: bytes = b": ") -> bytes:
    """Hide behind a ``Transfer-Encoding`` that one of two servers does not understand."""
    size = b"Content-Length: %d" % (5 + len(HIDDEN))
    return post(size, name + separator + value, body=b"0\r\n\r\n" + HIDDEN)


def length(*values: bytes, name: bytes = b"Content-Length") -> bytes:
    return post(*(name + b": " + value for value in values), body=HIDDEN)


def chunks(body: bytes) -> bytes:
    return POST + TE + b"\r\n" + body


def head(raw: bytes) -> bytes:
    return raw + HIDDEN


PAYLOADS = {
    # Both framings, in both orders and in every disguise of the word.
    "te-and-cl": te(b"chunked"),
    "cl-and-te": POST + TE + b"Content-Length: 3\r\n\r\n0\r\n\r\n" + HIDDEN,
    "te-and-cl-zero": POST + TE + b"Content-Length: 0\r\n\r\n0\r\n\r\n" + HIDDEN[:0] + HIDDEN,
    "te-identity": te(b"identity"),
    "te-list": te(b"chunked, identity"),
    "te-list-2": te(b"identity, chunked"),
    "te-gzip": te(b"gzip, chunked"),
    "te-twice-in-one": te(b"chunked, chunked"),
    "te-x": te(b"xchunked"),
    "te-cow": te(b"cow"),
    "te-quoted": te(b'"chunked"'),
    "te-semicolon": te(b"chunked;q=1"),
    "te-empty": te(b""),
    "te-comma": te(b",chunked"),
    "te-upper": te(b"CHUNKED"),
    "te-tab": te(b"\tchunked"),
    "te-vtab": te(b"\x0bchunked"),
    "te-ff": te(b"chunked\x0c"),
    "te-nul": te(b"chunked\x00"),
    "te-cr": te(b"chunked\rX"),
    "te-lf": te(b"\nchunked"),
    "te-folded": te(b"\r\n chunked"),
    "te-nbsp": te(b"\xa0chunked"),
    "te-dotless": te("chun\u212aed".encode()),
    "te-space-name": te(b"chunked", b"Transfer-Encoding "),
    "te-tab-name": te(b"chunked", b"Transfer-Encoding\t"),
    "te-leading-space": te(b"chunked", b" Transfer-Encoding"),
    "te-underscore": te(b"chunked", b"Transfer_Encoding"),
    "te-mixed-underscore": te(b"chunked", b"transfer_ENCODING"),
    "te-no-space": te(b"chunked", separator=b":"),
    "te-nul-name": te(b"chunked", b"Transfer-Encoding\x00"),
    "te-colons": te(b"chunked", separator=b"::"),
    "te-prefix": te(b"chunked", b"X: y\rTransfer-Encoding"),
    "te-lf-name": te(b"chunked", b"X: y\nTransfer-Encoding"),
    "te-twice": POST + TE + TE + b"\r\n0\r\n\r\n" + HIDDEN[:0],
    "te-twice-differing": POST + TE + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "te-in-1.0": POST.replace(b"1.1", b"1.0") + TE + b"\r\n0\r\n\r\n" + HIDDEN,
    "te-and-cl-in-1.0": te(b"chunked").replace(b"HTTP/1.1\r\nHost", b"HTTP/1.0\r\nHost", 1),
    # Lengths.
    "cl-twice": length(b"0", b"%d" % len(HIDDEN)),
    "cl-twice-equal": length(b"%d" % len(HIDDEN), b"%d" % len(HIDDEN)),
    "cl-list": length(b"0, %d" % len(HIDDEN)),
    "cl-list-equal": length(b"5, 5"),
    "cl-plus": length(b"+0"),
    "cl-minus": length(b"-0"),
    "cl-minus-1": length(b"-1"),
    "cl-hex": length(b"0x0"),
    "cl-octal": length(b"0o0"),
    "cl-float": length(b"0.0"),
    "cl-exp": length(b"0e1"),
    "cl-underscores": length(b"0_0"),
    "cl-space": length(b"0 0"),
    "cl-empty": length(b""),
    "cl-word": length(b"none"),
    "cl-nul": length(b"0\x00"),
    "cl-arabic": length("\u0660".encode()),
    "cl-superscript": length("\u00b2".encode("latin-1")),
    "cl-huge": length(b"9" * 30),
    "cl-overflow": length(b"18446744073709551616"),
    "cl-overflow-32": length(b"4294967296"),
    "cl-underscore-name": post(b"Content_Length: 0", b"Content-Length: 5", body=b"abcde"),
    "cl-underscore-only": post(b"Content_Length: %d" % len(HIDDEN), body=HIDDEN[:0]),
    "cl-space-name": post(b"Content-Length : %d" % len(HIDDEN), body=HIDDEN),
    "cl-folded": post(b"Content-Length:\r\n 0", body=HIDDEN),
    # Chunks.
    "chunk-extension-lf": chunks(b"5;\nxx\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-plus": chunks(b"+5\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-minus": chunks(b"-5\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-0x": chunks(b"0x5\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-space": chunks(b"5 5\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-underscore": chunks(b"0_5\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-empty": chunks(b"\r\nabcde\r\n0\r\n\r\n"),
    "chunk-size-huge": chunks(b"f" * 17 + b"\r\nabcde\r\n0\r\n\r\n"),
    "chunk-bare-lf": chunks(b"5\nabcde\n0\n\n" + HIDDEN),
    "chunk-no-crlf": chunks(b"5\r\nabcdeXX0\r\n\r\n" + HIDDEN),
    "chunk-long": chunks(b"3\r\nabcde\r\n0\r\n\r\n" + HIDDEN),
    "chunk-short": chunks(b"9\r\nabcde\r\n0\r\n\r\n" + HIDDEN),
    "chunk-trailer-cl": chunks(b"0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN)),
    "chunk-trailer-lf": chunks(b"0\r\nX: y\n\n" + HIDDEN),
    # Request lines and heads.
    "absolute-form": head(b"GET http://internal/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    "absolute-form-https": head(b"GET https://internal/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    "authority-form": head(b"GET internal:80 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "backslash": head(b"GET \\smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    "version-2": head(b"POST /v1/x HTTP/2.0\r\nHost: x\r\n\r\n"),
    "version-1.2": head(b"POST /v1/x HTTP/1.2\r\nHost: x\r\n\r\n"),
    "version-0.9": head(b"GET /smuggled\r\n\r\n"),
    "two-spaces": post(b"Content-Length: 0").replace(b" ", b"  ", 2),
    "tab-in-line": head(b"GET\t/smuggled\tHTTP/1.1\r\nHost: x\r\n\r\n"),
    "fragment": head(b"GET /v1/models#/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    "two-hosts": head(b"GET /smuggled HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    "no-host": head(b"GET /smuggled HTTP/1.1\r\n\r\n"),
    "header-lf": post(b"X: y\nGET /smuggled HTTP/1.1\nHost: x\n", body=b""),
    "header-cr": post(b"X: y\r\rGET /smuggled HTTP/1.1", body=b""),
    "header-nul": post(b"X: \x00", b"Content-Length: 0"),
    "header-no-colon": post(b"GET /smuggled HTTP/1.1", b"Content-Length: 0"),
    "connection-cl": post(b"Connection: content-length", b"Content-Length: 3", body=b"abc"),
    "connection-te": POST + b"Connection: Transfer-Encoding\r\n" + TE + b"\r\n0\r\n\r\n",
    "connection-host": post(b"Connection: close, Host", b"Content-Length: 0"),
    "upgrade-h2c": post(
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        b"Content-Length: 0",
    ),
    "upgrade-body": post(
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Content-Length: %d" % len(HIDDEN),
        body=HIDDEN,
    ),
    "upgrade-tcp": post(b"Connection: Upgrade", b"Upgrade: tcp", b"Content-Length: 0"),
    "expect-twice": post(
        b"Expect: 100-continue", b"Expect: x", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN
    ),
    "proxy-connection": post(b"Proxy-Connection: keep-alive", b"Content-Length: 0"),
}


# Alone, a coding that only one of two servers knows hides what follows just as well.
PAYLOADS |= {
    f"alone-{value!r}": post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n" + HIDDEN)
    for value in (
        b"identity",
        b"xchunked",
        b"chunked, identity",
        b"identity, chunked",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked;q=1",
        b'"chunked"',
        b"\x0bchunked",
        b"chunked\x00",
        b"",
    )
}


async def seen_upstream(payload: bytes) -> list[str]:
    """Return the request lines that an upstream gets to see of a payload."""
    async with upstream(answers(response())) as up, gateway(up.url) as gw, gw.peer() as peer:
        peer.send(payload)
        try:
            async with asyncio.timeout(PATIENCE):
                await peer.reader.read()
        except TimeoutError:
            # Open still: it waits for the rest of a body, or for the next request.
            peer.writer.write_eof()
            await peer.rest()
        return [received.lines[0] for received in up.requests]


@pytest.mark.parametrize("name", list(PAYLOADS))
async def test_a_hidden_request_never_reaches_the_upstream(name: str) -> None:
    lines = await seen_upstream(PAYLOADS[name])
    assert lines in ([], [f"POST {CHAT} HTTP/1.1"])


async def test_a_request_that_is_not_hidden_would_be_seen() -> None:
    lines = await seen_upstream(post(b"Content-Length: 2", body=b"{}") + HIDDEN)
    assert lines == [f"POST {CHAT} HTTP/1.1", "GET /smuggled HTTP/1.1"]


@pytest.mark.skipif(
    os.environ.get("AIOHTTP_NO_EXTENSIONS") == "1", reason="this is the run without extensions"
)
def test_all_this_holds_for_the_parser_in_python_too() -> None:
    names = ["test_smuggling.py", "test_broken_upstreams.py", "test_traps.py"]
    files = [str(Path(__file__).parent / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files],
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
