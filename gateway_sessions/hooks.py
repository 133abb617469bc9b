"""What an interceptor can do: the hooks, all of them optional.

An interceptor is a plain object with any subset of the methods of `Interceptor`.  The inline
hooks run on the request path and must be quick; each has a deadline, and one that fails or is
late is logged, counted and passed over, so that it never breaks traffic.  ``write`` is fed in
batches on a thread of its own, off the request path.  Only ``before_write`` is not passed over:
it may be what keeps something secret, so that what it fails on is written by nobody.

Life cycle: constructed with its options → ``open`` → hooks … → ``close``.  ``close`` is called
after ``open`` was, even where that failed halfway.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway_sessions.events import SessionEvent
from gateway_sessions.exchange import Exchange, Headers, Refusal
from gateway_sessions.telemetry import Telemetry

if TYPE_CHECKING:
    from aiohttp.web import AbstractRouteDef


LEFT_OUT = "left_out"
"""The type of what stands for events that came faster than they could be passed on."""


class FeedEvent(msgspec.Struct, frozen=True, gc=False):
    """A session event as it was recorded, for those who follow along."""

    session_id: str
    request_id: str
    type: str
    json: bytes
    """The whole event, as one line of a session file has it, without the line's end."""


class RecordingHandle(Protocol):
    """The recorder, as interceptors may use it; all on the event loop's thread."""

    def record(self, item: SessionEvent, /) -> bool:
        """Take an event; False where it was dropped because too much waits."""

    async def flush(self) -> None:
        """Return when all that was taken before the call is durable, or given up as failed."""

    def follow(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with each event that is recorded from now on, cleaned as recorded.

        It is called on the event loop and must be quick.  Where events come faster than they
        are passed on, some are left out; then comes one of the type ``left_out``, of no
        session, whose JSON has their ``count``.  Returns what ends it.
        """


Answerer = Callable[[str, bytes], bytes]
"""Gets the name of the process that asks, and its question, and returns the answer."""


class Company(Protocol):
    """The processes of a gateway with several workers; all on the event loop's thread.

    The workers carry the traffic and see exchanges; the main process serves the gateway's own
    endpoints, so that there is one answer to a question.  A worker asks the main process, the
    main process asks all workers.  A worker that died and was started again has a new name.
    """

    is_main: bool
    """Whether this is the process that serves the endpoints."""

    def answer(self, topic: str, answerer: Answerer) -> None:
        """Answer the questions of the others about a topic from now on; it must be quick."""

    async def ask(self, topic: str, question: bytes = b"") -> dict[str, bytes]:
        """Return the answers of the others by their names; who is late or gone is missing."""

    def tell(self, topic: str, note: bytes) -> None:
        """Send the others something that wants no answer: their answerers' is thrown away."""

    def names(self) -> frozenset[str]:
        """Return the names of the others that are alive."""


def _passing_key(purpose: str) -> bytes:
    """Return a key that nobody gets again, where the host has no secret."""
    del purpose
    return secrets.token_bytes(32)


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
    recording: RecordingHandle | None = None
    """Where sessions are recorded; None where they are not."""
    database: Path | None = None
    """The SQLite file of recorded sessions, where that is written."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the gateway begins to stop: connections that would stay open are to end now."""
    company: Company | None = None
    """The other processes, where the gateway has several workers."""
    derive_key: Callable[[str], bytes] = _passing_key
    """Gives 32 bytes for a purpose, always the same, made from the server secret and telling
    nothing of it: for hashes that nobody else can make."""


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

    def before_write(self, exchange: Exchange) -> Exchange:
        """Return what all writers get of a finished exchange; runs off the event loop, once."""

    def write(self, batch: Sequence[Exchange]) -> None:
        """Write finished exchanges down; runs on a thread, one batch at a time, in order."""

    def flush(self) -> None:
        """Make durable what was written; runs on the thread of ``write``."""

    def routes(self) -> Iterable[AbstractRouteDef]:
        """Return aiohttp routes to serve among the gateway's own endpoints."""

    def close(self) -> None | Awaitable[None]:
        """Release everything; called once, after the last ``write``."""
