"""From the name of a back end to a store, which is not opened yet."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gateway_sessions.errors import ConfigError
from gateway_sessions.index.breaker import Breaker
from gateway_sessions.index.file import FileStore
from gateway_sessions.index.mapped import MappedStore
from gateway_sessions.index.store import Store

FILE, REDIS, POSTGRES = "file", "redis", "postgres"
MAPPED = "mapped"
"""Memory that the workers of one gateway share; nobody configures it."""
FILE_NAME = "live.db"
"""The file in the state directory, where none is named."""


class _Named(Store, Protocol):
    name: str


def make_store(
    backend: str,
    connection: str | None,
    state_directory: Path,
    *,
    max_sessions: int,
    ttl_seconds: float,
) -> Breaker:
    """Return a store that costs requests next to nothing when it is away.

    Args:
        backend: ``file``, ``redis``, ``postgres`` or ``mapped``.
        connection: a path for a file, always given for ``mapped``, else the URL of a server.
        state_directory: where the file is if no other is named.
        max_sessions: kept of each scope.
        ttl_seconds: idle time after which a session has expired.

    Raises:
        ConfigError: the URL can not be read, or a library is not installed.
    """
    store: _Named
    if backend == MAPPED and connection is not None:
        path = Path(connection)
        store = MappedStore(path, max_sessions=max_sessions, ttl_seconds=ttl_seconds)
    elif backend == FILE:
        path = Path(connection).expanduser() if connection else state_directory / FILE_NAME
        store = FileStore(path, max_sessions=max_sessions, ttl_seconds=ttl_seconds)
    else:
        try:
            store = _server(backend, connection or "", max_sessions, ttl_seconds)
        except ImportError as error:
            raise ConfigError(
                f"session.persistence.backend {backend} needs a library that is not installed"
                f" ({error.name}): pip install 'gateway-sessions[{backend}]'."
            ) from None
    return Breaker(store, name=store.name)


def _server(backend: str, url: str, max_sessions: int, ttl_seconds: float) -> _Named:
    # Imported here, since their libraries are extras.
    if backend == REDIS:
        from gateway_sessions.index.redis import RedisStore  # noqa: PLC0415

        return RedisStore(url, max_sessions=max_sessions, ttl_seconds=ttl_seconds)
    from gateway_sessions.index.postgres import PostgresStore  # noqa: PLC0415

    return PostgresStore(url, max_sessions=max_sessions, ttl_seconds=ttl_seconds)
