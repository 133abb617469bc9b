"""The connections to one upstream that wait for their next request.

aiohttp's connector opens connections and could keep them too.  But it keeps them for any number
of hosts, with limits and waiting lines, and makes an object for each time that one is lent:
with all that, a request costs a tenth more on its whole way through the proxy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from aiohttp import BaseConnector, ClientConnectionError, ClientRequest, ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

CONNECT_SECONDS = 10.0
"""Longest wait for a connection; a healthy next hop answers within a round trip."""
IDLE_SECONDS = 15.0
"""How long a connection waits for its next request: below the idle limits of common servers,
so that it is us who close it and not they, at the moment in which we use it."""

_TIMEOUT = ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS)


@dataclass(slots=True, eq=False)
class Link:
    """A connection to an upstream."""

    connection: Connection
    protocol: ResponseHandler
    transport: asyncio.Transport
    since: float = 0.0
    """When it last began to wait for a request, by the loop's clock."""

    def close(self) -> None:
        """Close it, whatever is still on it; idempotent."""
        self.connection.close()


class Pool:
    """Opens connections to one upstream and keeps those that nobody uses at present.

    All methods belong to the event loop's thread.
    """

    def __init__(
        self, connector: BaseConnector, target: ClientRequest, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Take what opens connections, and a request that tells where to."""
        self._connector = connector
        self._target = target
        self._loop = loop
        self._idle: deque[Link] = deque()
        """Those that wait for longest come first."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def idle(self) -> Link | None:
        """Take the connection that was used last of those that wait; None if there is none."""
        while self._idle:
            link = self._idle.pop()
            protocol = link.protocol
            # One that said something that nobody had asked for would answer the next request.
            if protocol.is_connected() and not protocol.should_close:
                return link
            link.close()
        return None

    async def opened(self) -> Link:
        """Open a connection; raises what aiohttp's connector does."""
        connection = await self._connector.connect(self._target, [], _TIMEOUT)
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            raise ClientConnectionError("closed as soon as it was open")
        return Link(connection, protocol, protocol.transport)

    def give_back(self, link: Link) -> None:
        """Keep a connection for the next request, where it may have one."""
        if self._closed or link.protocol.should_close:
            link.close()
            return
        link.since = self._loop.time()
        self._idle.append(link)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS, self._close_old)

    def close(self) -> None:
        """Close the connections that wait, and keep no others; idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self._idle.pop().close()

    def _close_old(self) -> None:
        idle, now = self._idle, self._loop.time()
        while idle and idle[0].since + IDLE_SECONDS <= now:
            idle.popleft().close()
        self._timer = None
        if idle:
            self._timer = self._loop.call_at(idle[0].since + IDLE_SECONDS, self._close_old)
