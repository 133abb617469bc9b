"""Ways to a Redis server or cluster, for scripts.

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
from gateway_sessions.index.batches import ANSWER_SECONDS, Batches, Call
from gateway_sessions.index.store import StoreFailed

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


class _Command:
    """A script with its keys and arguments."""

    __slots__ = ("arguments", "script")

    def __init__(self, script: Script, arguments: tuple[bytes, ...]) -> None:
        self.script = script
        self.arguments = arguments

    def packed(self, *, whole: bool = False) -> bytes:
        """Return the command; with the whole text of the script where the server lacks it."""
        named = (b"EVAL", self.script.text) if whole else (b"EVALSHA", self.script.digest)
        # Its annotation allows one argument only.
        return cast("bytes", hiredis.pack_command((*named, *self.arguments)))  # type: ignore[arg-type]


_Calls = list[Call[_Command, list[Any]]]


class _ServerLink:
    """One connection, over which commands go out in batches."""

    def __init__(self, url: str) -> None:
        # Version 2 of the protocol is the one that all servers speak; the deadline is ours.
        options: dict[str, Any] = {"protocol": 2, "socket_timeout": None, **parse_url(url)}
        kind = options.pop("connection_class", Connection)
        self._connection = cast("Connection", kind(**options))
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        self.name = f"Redis at {options.get('path') or f'{host}:{port}'}"
        self._batches: Batches[_Command, list[Any]] = Batches(
            self.name, self._exchange, self._hang_up
        )

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> list[Any]:
        command = _Command(script, (b"%d" % len(keys), *keys, *arguments))
        return await self._batches.ask(command)

    async def close(self) -> None:
        await self._batches.close()

    async def _hang_up(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def _exchange(self, calls: _Calls) -> None:
        used_before = self._connection.is_connected
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                try:
                    await self._deliver(calls)
                except (OSError, RedisConnectionError):
                    await self._hang_up()
                    if not used_before or self._batches.closed:
                        raise
                    # It was closed, perhaps long ago, while nobody asked.  Asking twice does no
                    # harm: what was stored already is answered as newer, and joined.
                    await self._deliver([call for call in calls if not call.future.done()])
        except TimeoutError as error:
            await self._hang_up()
            raise StoreFailed(f"{self.name}: no answer within {ANSWER_SECONDS:g} s") from error
        except (OSError, RedisError) as error:
            await self._hang_up()
            raise StoreFailed(f"{self.name}: {error}") from error

    async def _deliver(self, calls: _Calls, *, whole: bool = False) -> None:
        connection = self._connection
        packed = [call.question.packed(whole=whole) for call in calls]
        await connection.send_packed_command(packed, check_health=False)
        unknown: _Calls = []
        refused = False
        for call in calls:
            try:
                answer = await connection.read_response(disable_decoding=True)
            except NoScriptError:
                unknown.append(call)
            except ResponseError as error:
                call.fail(f"{self.name}: {error}")
                refused = True
            else:
                call.answer(answer)
        if unknown:
            # A server that was started anew, or has just taken over.
            await self._deliver(unknown, whole=True)
        if refused:
            # It may be this server alone that refuses, as a replica that was the primary.
            await self._hang_up()


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
