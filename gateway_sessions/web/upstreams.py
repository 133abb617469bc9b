"""The upstreams: which request goes where, and what each next hop is told of the session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import TCPConnector, web

from gateway_sessions.config.schema import Upstream
from gateway_sessions.exchange import Exchange, Headers, SessionTag
from gateway_sessions.web.client import Origin, make_connector
from gateway_sessions.web.echo import echo_application
from gateway_sessions.web.headers import SESSION_HEADER

PRESETS: Mapping[str, Mapping[str, str]] = {
    "litellm": {"x-litellm-session-id": "session"},
    "helicone": {"Helicone-Session-Id": "session"},
    "portkey": {"x-portkey-trace-id": "session"},
    "langfuse": {"langfuse_session_id": "session"},
    "openrouter": {"x-session-id": "session"},
    "envoy": {"agent-session-id": "session"},
    "openai": {},
}
"""Under which names next hops know a session.  ``openai`` knows none in a header; it gets the
body's ``prompt_cache_key`` instead (see `inject_cache_key`)."""

_VALUES: Mapping[str, Callable[[SessionTag, Exchange], str | None]] = {
    "session": lambda tag, exchange: tag.session_id,
    "parent": lambda tag, exchange: tag.parent_session_id,
    "root": lambda tag, exchange: tag.root_session_id,
    "request": lambda tag, exchange: exchange.request_id,
}


class ClientHeaders(Protocol):
    """A client's headers, asked by name in any case."""

    def get(self, name: str, /) -> str | None:
        """Return the first value, or None."""

    def __contains__(self, name: object, /) -> bool:
        """Tell whether there is one."""


@dataclass(slots=True, eq=False)
class Route:
    """One upstream, ready for use."""

    upstream: Upstream
    origin: Origin
    names: Mapping[str, str]
    """Headers to add, and what each is filled with."""
    kept: frozenset[bytes]
    """Headers of our own that may pass where the client has set them."""

    @property
    def wants_cache_key(self) -> bool:
        """Whether the session goes into the body, as OpenAI's ``prompt_cache_key``."""
        return self.upstream.inject == "openai"

    def session_headers(self, exchange: Exchange, client: ClientHeaders) -> Headers:
        """Return the headers that tell this upstream the session.

        One that the client has set itself is left as it is.
        """
        tag = exchange.session
        if tag is None or not self.names:
            return ()
        found = ((name, _VALUES[kind](tag, exchange)) for name, kind in self.names.items())
        return tuple((name, value) for name, value in found if value and name not in client)


class UpstreamTable:
    """The upstreams of a configuration, in its order: the first that matches gets a request.

    A path pattern is matched against the path as it is on the wire, without its query; ``*``
    stands for anything, slashes included.  Header patterns work likewise on the first value of
    each header, and all of them must fit.
    """

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        self._upstreams = tuple(upstreams)
        self._rows: list[tuple[Callable[[str, ClientHeaders], bool], Route]] = []
        self._connector: TCPConnector | None = None
        self._echo: web.AppRunner | None = None

    async def open(self) -> None:
        """Make what opens connections, and start the embedded upstream if one is used."""
        self._connector = make_connector()
        for upstream in self._upstreams:
            url = upstream.url
            if url.startswith("builtin:"):
                url = await self._echo_url()
            origin = Origin(url, self._connector, upstream.timeout_seconds)
            names = _names(upstream)
            kept = frozenset((b"x-gateway-session-id",) if SESSION_HEADER in names else ())
            self._rows.append((_matcher(upstream), Route(upstream, origin, names, kept)))

    async def close(self) -> None:
        """Close all connections."""
        for _, route in self._rows:
            route.origin.close()
        self._rows.clear()
        if self._connector is not None:
            await self._connector.close()
        if self._echo is not None:
            await self._echo.cleanup()

    def route(self, path: str, headers: ClientHeaders) -> Route | None:
        """Return where a request goes, or None where no upstream wants it."""
        for matches, found in self._rows:
            if matches(path, headers):
                return found
        return None

    async def _echo_url(self) -> str:
        if self._echo is None:
            self._echo = web.AppRunner(echo_application(), access_log=None)
            await self._echo.setup()
            await web.TCPSite(self._echo, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._echo.addresses[0][1]}"


def inject_cache_key(body: bytes, session_id: str) -> bytes:
    """Return an OpenAI request body with the session as its ``prompt_cache_key``.

    The key is put before everything else, so that all other bytes stay as they are.  A body
    that may have one already, or is no JSON object with content, is returned unchanged.
    """
    start = re.match(rb'\s*\{(?=\s*")', body)
    if start is None or b'"prompt_cache_key"' in body:
        return body
    return b'%b"prompt_cache_key":"%b",%b' % (start[0], session_id.encode(), body[start.end() :])


def _names(upstream: Upstream) -> Mapping[str, str]:
    if isinstance(upstream.inject, bool):
        return {SESSION_HEADER: "session"} if upstream.inject else {}
    return PRESETS[upstream.inject] if isinstance(upstream.inject, str) else upstream.inject


def _matcher(upstream: Upstream) -> Callable[[str, ClientHeaders], bool]:
    if upstream.match.path in ("*", "/*") and not upstream.match.headers:
        return lambda path, headers: True
    wanted_path = _glob(upstream.match.path)
    wanted = [(name, _glob(pattern)) for name, pattern in upstream.match.headers.items()]

    def matches(path: str, headers: ClientHeaders) -> bool:
        if not wanted_path.fullmatch(path.partition("?")[0]):
            return False
        return all(pattern.fullmatch(headers.get(name) or "") for name, pattern in wanted)

    return matches


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
