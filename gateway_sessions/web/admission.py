"""Which requests are not let through: those that two servers could read in two ways.

A proxy and its upstream that disagree on where a request ends can be made to smuggle one
request inside of another, past everything that looks at requests.  The parser of aiohttp
refuses most of what makes them disagree; here is what it lets pass.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11

from gateway_sessions.web.headers import PROTECTED, connection_names

_AMBIGUOUS = PROTECTED | {b"connection", b"expect", b"upgrade"}


def objection(request: web.BaseRequest) -> tuple[int, str] | None:
    """Return the status and one sentence with which to refuse a request, or None if it is fine.

    The connection has to be closed after a refusal: nobody knows where the next request begins.
    """
    path = request.raw_path
    if not path.startswith("/"):
        return 400, "The request target must be a path; this is not a forward proxy."
    if "#" in path:
        return 400, "The request target must not have a fragment."
    headers = request.headers
    version = request.version
    if version not in (HttpVersion11, HttpVersion10):
        return 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."
    if "Transfer-Encoding" in headers:
        codings = headers.getall("Transfer-Encoding")
        if version == HttpVersion10 or "Content-Length" in headers:
            return 400, "Transfer-Encoding is not possible here."
        if len(codings) > 1 or codings[0].strip(" \t").lower() != "chunked":
            return 501, "Only the transfer coding chunked is known here."
    return _bad_names(request)


def _bad_names(request: web.BaseRequest) -> tuple[int, str] | None:
    for name, _ in request.raw_headers:
        # Some servers read an underscore as a hyphen.
        if b"_" in name and name.lower().replace(b"_", b"-") in _AMBIGUOUS:
            return 400, "A header name may not be written with underscores instead of hyphens."
    values = request.headers.getall("Connection", ())
    if values and not PROTECTED.isdisjoint(connection_names(values)):
        return 400, "The Connection header may not name an end-to-end header."
    return None
