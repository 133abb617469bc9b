"""What an interceptor can do: the hooks, all of them optional.

An interceptor is a plain object with any subset of the methods of `Interceptor`.  The inline
hooks run on the request path and must be quick; each has a deadline, and one that fails or is
late is logged, counted and passed over, so that it never breaks traffic.  ``write`` is fed in
batches on a thread of its own, off the request path.

Life cycle: constructed with its options → ``open`` → hooks … → ``close``.  ``close`` is called
after ``open`` was, even where that failed halfway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gateway_sessions.exchange import Exchange, Headers, Refusal
from gateway_sessions.telemetry import Telemetry

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef


@dataclass(frozen=True, slots=True)
class Context:
    """What an interceptor gets to know of its host when it is opened."""

    telemetry: Telemetry
    """Where everything that happens is announced; subscribe to it to count."""
    stats: Callable[[], dict[str, Any]]
    """Current gauges of the gateway, as ``{"sessions_active": 3, "started_at": 1.7e9, …}``."""
    effective_config: dict[str, Any]
    """The configuration in force, secrets replaced by ``***``."""
    state_directory: Path
    """A folder (mode 0700) for files that must survive a restart."""


class Interceptor(Protocol):
    """All hooks, with their exact signatures.  Implement those you need."""

    def open(self, context: Context) -> None | Awaitable[None]:
        """Get ready: check folders, open files.  Raise `StartError` or `ConfigError` to refuse."""

    def request_started(self, exchange: Exchange) -> Refusal | None | Awaitable[Refusal | None]:
        """See a tagged request before it goes upstream; return a `Refusal` to answer it here."""

    def upstream_headers(self, exchange: Exchange) -> Headers:
        """Return headers to add to the request to the upstream."""

    def client_headers(self, exchange: Exchange) -> Headers:
        """Return headers to add to the response to the client."""

    def exchange_finished(self, exchange: Exchange) -> None:
        """See the whole exchange when its last byte has left, on the event loop."""

    def write(self, batch: Sequence[Exchange]) -> None:
        """Write finished exchanges down; runs on a thread, one batch at a time, in order."""

    def flush(self) -> None:
        """Make durable what was written; runs on the thread of ``write``."""

    def routes(self) -> Iterable[AbstractRouteDef]:
        """Return aiohttp routes to serve among the gateway's own endpoints."""

    def close(self) -> None | Awaitable[None]:
        """Release everything; called once, after the last ``write``."""
