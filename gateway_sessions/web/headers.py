"""What happens to headers on their way through: pure functions on raw pairs.

Names and values stay the bytes that were on the wire, because every trip through text loses
something: order, the case of a name, a repeated header, a byte that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gateway_sessions.exchange import Headers

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Names and values as on the wire, without the white space around them."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers that speak about one connection only (RFC 9110, 7.6.1)."""

NOT_FORWARDED = HOP_BY_HOP | {b"expect", b"http2-settings"}
"""Request headers that end here; we answer ``Expect`` ourselves."""

PROTECTED = frozenset(
    (
        b"anthropic-version",
        b"api-key",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"host",
        b"set-cookie",
        b"transfer-encoding",
        b"x-api-key",
        b"x-forwarded-for",
        b"x-gateway-session-id",
        b"x-goog-api-key",
    )
)
"""Headers that a client may not have removed by naming them in ``Connection``: doing so only
serves to make two servers see two different requests."""

OWN_PREFIX = b"x-gateway-"
"""How the names of our own headers begin, in lower case."""
TAG_PREFIX = "X-Gateway-"
"""How they begin where we write them."""

SERVER_NAME = "gateway-sessions"
"""What our own responses call their ``Server``."""

SESSION_HEADER = "X-Gateway-Session-Id"

TAGS = frozenset(
    (
        "x-gateway-session-id",
        "x-gateway-session-source",
        "x-gateway-session-relation",
        "x-gateway-session-confidence",
        "x-gateway-parent-session-id",
        "x-gateway-request-id",
    )
)
"""Our own response headers, which ``server.response_headers`` switches."""

Network = IPv4Network | IPv6Network


PASSES, ENDS, OWN, FRAMES, HOST = range(5)
"""What becomes of a header: it goes on, was for this hop only, is one of our own, says how long
the body is, or names the host."""

NAMES_KEPT = 1024
"""Names that are remembered: those in use are a few hundred, and a client may invent more."""
LONGEST_NAME = 64
"""Characters of a name that is remembered."""


class Kinds(dict[bytes, int]):
    """What becomes of headers, by their names as they are on the wire.

    The same few names come with every message, so one look takes the place of several.
    """

    def __init__(self, kind: Callable[[bytes], int]) -> None:
        """Take what tells the kind by the name in lower case."""
        super().__init__()
        self._kind = kind

    def __missing__(self, name: bytes) -> int:
        kind = self._kind(name.lower())
        if len(self) < NAMES_KEPT and len(name) <= LONGEST_NAME:
            self[name] = kind
        return kind


def _request_kind(low: bytes) -> int:
    if low in NOT_FORWARDED:
        return ENDS
    if low == b"host":
        return HOST
    if low == b"content-length":
        return FRAMES
    return OWN if low.startswith(OWN_PREFIX) else PASSES


def _response_kind(low: bytes) -> int:
    if low == b"content-length" or low == b"transfer-encoding":
        return FRAMES
    if low in HOP_BY_HOP:
        return ENDS
    return OWN if low.startswith(OWN_PREFIX) else PASSES


_GO_ON = (PASSES, FRAMES)

REQUEST_KINDS = Kinds(_request_kind)
RESPONSE_KINDS = Kinds(_response_kind)


class _Names(dict[bytes, str]):
    """Names of headers as text: the same few come with every message, and each is kept once."""

    def __missing__(self, name: bytes) -> str:
        said = name.decode()
        if len(self) < NAMES_KEPT and len(name) <= LONGEST_NAME:
            self[name] = said
        return said


_NAMES = _Names()


def text(raw: bytes) -> str:
    """Return header bytes as text that every writer can write: UTF-8, else Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def texts(raw: RawHeaders) -> Headers:
    """Return raw headers as text, in the same order and case, repeats included."""
    try:
        return tuple([(_NAMES[name], value.decode()) for name, value in raw])
    except UnicodeDecodeError:
        return tuple([(text(name), text(value)) for name, value in raw])


def wire(pairs: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers of our own as bytes; those with control characters are left out.

    An interceptor may put anything into a value, also a line break, and with it a header or
    a whole response of its own.
    """
    return [
        (name.encode(), value.encode())
        for name, value in pairs
        if name.isascii() and name.isprintable() and value.isprintable()
    ]


def lines(pairs: Headers) -> bytes:
    """Return headers of our own as the lines of a head, as `wire` does, each with its end."""
    said = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    if said.isascii():
        raw = said.encode()
        if len(raw) - len(raw.translate(None, _CONTROLS)) == 2 * len(pairs):
            return raw  # No controls but our own line breaks: no need to look at each by itself.
    return b"".join([b"%b: %b\r\n" % pair for pair in wire(pairs)])


_CONTROLS = bytes((*range(32), 127))


def connection_names(values: Sequence[str]) -> frozenset[bytes]:
    """Return what ``Connection`` headers name, in lower case: headers for this hop only."""
    return _connection_names(tuple(values)) if values else _NO_NAMES


@lru_cache(maxsize=64)
def _connection_names(values: tuple[str, ...]) -> frozenset[bytes]:
    names = {name.strip().lower() for value in values for name in value.split(",")}
    return frozenset(name.encode("utf-8", "surrogateescape") for name in names if name)


_NO_NAMES: frozenset[bytes] = frozenset()


def request_fields(
    raw: RawHeaders,
    host: bytes,
    *,
    named: frozenset[bytes] = frozenset(),
    kept: frozenset[bytes] = frozenset(),
    length: bytes | None = None,
) -> list[bytes]:
    """Return the header lines to send to an upstream, without their ends.

    ``host`` takes the place of the client's own ``Host``, and ``named`` are the names from
    ``Connection``.  Left out are the headers of this hop and those of our own, except for
    names (in lower case) that are ``kept``.  ``length`` is the ``Content-Length`` of a body
    that we have changed.
    """
    found: list[bytes] = []
    missing_host = True
    if named <= NOT_FORWARDED:
        named = _NO_NAMES  # Nearly always: what is named ends here anyway.
    for pair in raw:
        kind = REQUEST_KINDS[pair[0]]
        if kind == HOST:
            missing_host = False
            found.append(pair[0] + b": " + host)
        elif kind == FRAMES and length is not None:
            found.append(pair[0] + b": " + length)
        elif named or kind not in _GO_ON:
            low = pair[0].lower()
            if low in kept or (kind in _GO_ON and low not in named):
                found.append(b": ".join(pair))
        else:
            found.append(b": ".join(pair))
    if missing_host:
        found.insert(0, b"Host: " + host)
    return found


def select_tags(headers: Headers, mode: str) -> Headers:
    """Return what of our headers a client is to get, as ``server.response_headers`` says.

    ``mode`` is ``all``, ``id`` (of our own only the session id) or ``none``; headers of
    interceptors pass in any case.
    """
    if mode == "all":
        return headers
    kept = SESSION_HEADER.lower() if mode == "id" else ""
    return tuple(pair for pair in headers if (low := pair[0].lower()) not in TAGS or low == kept)


class TrustedProxies:
    """Finds a client's address behind proxies that may be believed."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(
            ip_network(network, strict=False) for network in networks
        )

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Return the client's address.

        ``peer`` is the other end of the connection and ``forwarded`` the values of its
        ``X-Forwarded-For``.  Only what a trusted proxy has added counts, so the list is read
        from its end, up to the first address that is not trusted itself.

        >>> TrustedProxies(["10.0.0.0/8"]).client("10.0.0.1", ["6.6.6.6, 1.2.3.4, 10.0.0.2"])
        '1.2.3.4'
        """
        address = peer or ""
        if not self._networks or not forwarded or not self._trusts(address):
            return address
        for hop in reversed(",".join(forwarded).split(",")):
            found = _bare_address(hop.strip())
            if found is None:
                return address
            address = found
            if not self._trusts(address):
                return address
        return address

    def _trusts(self, address: str) -> bool:
        bare = _bare_address(address)
        if bare is None:
            return False
        parsed = ip_address(bare)
        return any(parsed in network for network in self._networks)


def _bare_address(hop: str) -> str | None:
    """Return the IP address in an entry of ``X-Forwarded-For``, or None if it has none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        parsed = ip_address(hop.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
