"""Ways to a Redis server or cluster, for scripts: what is asked at once goes out together.

Both speak through redis-py's connections, which know TLS, passwords and users, and hiredis, which
writes commands and reads answers.  Needs the extra ``redis``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio import RedisCluster
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from gateway_sessions.errors import ConfigError
from gateway_sessions.index.store import StoreFailed

ANSWER_SECONDS = 1.0
"""How long a server may take for a batch, connecting included, before the connection is given up.
Much longer than a request waits (see `breaker`): a connection is worth keeping over a hiccup."""

_CLUSTER = {"redis+cluster://": "redis://", "rediss+cluster://": "rediss://"}


class Script:
    """A script that the server keeps under its digest."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Link(Protocol):
    """Runs scripts; connects when it is first used and whenever the connection was lost."""

    name: str
    """``Redis at host:port``, for messages: no user, no password."""

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> list[Any]:
        """Return what a script returns; raises `StoreFailed`."""

    async def close(self) -> None:
        """Disconnect; what is still under way fails."""


def link_to(url: str) -> Link:
    """Return the way to a server, by its URL; raises `ConfigError` where that can not be read."""
    try:
        for scheme, plain in _CLUSTER.items():
            if url.startswith(scheme):
                return _ClusterLink(plain + url.removeprefix(scheme))
        return _ServerLink(url)
    except (ValueError, TypeError, RedisError) as error:
        # What the library says about it may hold the password.
        raise ConfigError(
            "session.persistence.connection must be of the form redis://user:password@host:6379/0"
            " (rediss:// with TLS, unix:///path, redis+cluster:// for a cluster)"
        ) from error


class _Call:
    """A script that somebody waits for."""

    __slots__ = ("answer", "arguments", "script")

    def __init__(
        self,
        script: Script,
        arguments: tuple[bytes, ...],
        answer: asyncio.Future[list[Any]],
    ) -> None:
        self.script = script
        self.arguments = arguments
        self.answer = answer

    def packed(self, *, whole: bool = False) -> bytes:
        """Return the command; with the whole text of the script where the server lacks it."""
        named = (b"EVAL", self.script.text) if whole else (b"EVALSHA", self.script.digest)
        # Its annotation allows one argument only.
        return cast("bytes", hiredis.pack_command((*named, *self.arguments)))  # type: ignore[arg-type]

    def fail(self, sentence: str) -> None:
        """Tell who waits, if anybody still does."""
        if not self.answer.done():
            self.answer.set_exception(StoreFailed(sentence))


class _ServerLink:
    """One connection.  While a batch is under way, further calls are collected for the next one.

    So the more is asked, the less each call costs: system calls, wake-ups and timers are paid for
    by the batch.  Calls that wait are as many as there are requests that wait for them.
    """

    def __init__(self, url: str) -> None:
        # Version 2 of the protocol is the one that all servers speak; the deadline is ours.
        options: dict[str, Any] = {"protocol": 2, "socket_timeout": None, **parse_url(url)}
        kind = options.pop("connection_class", Connection)
        self._connection = cast("Connection", kind(**options))
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        self.name = f"Redis at {options.get('path') or f'{host}:{port}'}"
        self._under_way: list[_Call] = []
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> list[Any]:
        loop = asyncio.get_running_loop()
        count = b"%d" % len(keys)
        call = _Call(script, (count, *keys, *arguments), loop.create_future())
        self._waiting.append(call)
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send())
        return await call.answer

    async def close(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
            await asyncio.wait([sender])
        self._fail(self._under_way + self._waiting, "the connection was closed")
        self._under_way, self._waiting = [], []
        await self._connection.disconnect(nowait=True)

    async def _send(self) -> None:
        """Send batch after batch for as long as there are calls."""
        while self._waiting:
            # Who was called off while waiting wants nothing sent any more.
            batch = [call for call in self._waiting if not call.answer.done()]
            self._under_way, self._waiting = batch, []
            if not batch:
                continue
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._deliver(batch)
            except TimeoutError:
                await self._give_up(batch, f"no answer within {ANSWER_SECONDS:g} s")
            except (OSError, RedisError) as error:
                await self._give_up(batch, str(error))

    async def _deliver(self, batch: list[_Call]) -> None:
        used_before = self._connection.is_connected
        try:
            await self._exchange(batch)
        except (OSError, RedisConnectionError):
            if not used_before:
                raise
            # It was closed, perhaps long ago, while nobody asked.  Asking twice does no harm: what
            # was stored already is answered as a newer version, and joined.
            await self._connection.disconnect(nowait=True)
            await self._exchange([call for call in batch if not call.answer.done()])

    async def _exchange(self, batch: list[_Call], *, whole: bool = False) -> None:
        connection = self._connection
        packed = [call.packed(whole=whole) for call in batch]
        await connection.send_packed_command(packed, check_health=False)
        unknown: list[_Call] = []
        refused = False
        for call in batch:
            try:
                answer = await connection.read_response(disable_decoding=True)
            except NoScriptError:
                unknown.append(call)
            except ResponseError as error:
                self._fail([call], str(error))
                refused = True
            else:
                if not call.answer.done():
                    call.answer.set_result(answer)
        if unknown:
            # A server that was started anew, or has just taken over.
            await self._exchange(unknown, whole=True)
        if refused:
            # It may be this server alone that refuses, as a replica that was the primary.
            await connection.disconnect(nowait=True)

    async def _give_up(self, batch: list[_Call], reason: str) -> None:
        self._fail(batch, reason)
        await self._connection.disconnect(nowait=True)

    def _fail(self, calls: list[_Call], reason: str) -> None:
        for call in calls:
            call.fail(f"{self.name}: {reason}")


class _ClusterLink:
    """A cluster: the library finds the server of a key and follows keys that move."""

    def __init__(self, url: str) -> None:
        self._cluster = RedisCluster.from_url(url, protocol=2)
        nodes = self._cluster.nodes_manager.startup_nodes.values()
        self.name = "Redis at " + ", ".join(f"{node.host}:{node.port}" for node in nodes)

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> list[Any]:
        rest: tuple[int | bytes, ...] = (len(keys), *keys, *arguments)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                try:
                    found = await self._cluster.execute_command("EVALSHA", script.digest, *rest)
                except NoScriptError:
                    found = await self._cluster.execute_command("EVAL", script.text, *rest)
        except TimeoutError as error:
            raise StoreFailed(f"{self.name}: no answer within {ANSWER_SECONDS:g} s") from error
        except (OSError, RedisError, RedisClusterException) as error:
            raise StoreFailed(f"{self.name}: {error}") from error
        return cast("list[Any]", found)

    async def close(self) -> None:
        await self._cluster.aclose()
