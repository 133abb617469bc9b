"""What the request path tells the recorder of an exchange, as it happens.

Milestones are cheap to make and hold references, no copies: turning them into events, which
means reading bodies again, is the recorder's work and not the request's.  They are frozen and
can be sent to another process.
"""

from __future__ import annotations

import msgspec

from gateway_sessions.exchange import Client, Request, Response, SessionTag


class Milestone(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Base of all milestones.  ``at`` is unix time in seconds."""

    session_id: str
    request_id: str
    at: float


class Arrived(Milestone, frozen=True, gc=False):
    """A request was put into a session."""

    session: SessionTag
    client: Client
    request: Request
    dialect: str
    provider: str
    model: str
    stream: bool
    """Whether a streamed response was asked for."""
    message_count: int
    new_messages: int
    """How many messages, at the end, the session had not sent before."""
    detection_ms: float
    parse_error: str | None = None


class FirstByte(Milestone, frozen=True, gc=False):
    """A streamed response began."""

    elapsed_ms: float
    """Since the request's arrival."""


class Chunk(Milestone, frozen=True, gc=False):
    """A chunk of a streamed response passed by; only where chunks are recorded."""

    sequence: int
    elapsed_ms: float
    data: bytes
    """Content-decoded."""


class Finished(Milestone, frozen=True, gc=False):
    """An exchange is over; what `Arrived` said is repeated but for the request itself."""

    session: SessionTag
    dialect: str
    provider: str
    model: str
    response: Response
    overhead_ms: float
    """Spent by us, detection included."""
    detection_ms: float
    chunk_gaps_ms: tuple[float, ...] = ()
    """Between the chunks of a stream; of a very long one, evenly picked."""


class Ended(Milestone, frozen=True, gc=False):
    """A session left the index, or the gateway stops; ``request_id`` is empty."""

    reason: str
    """expired, evicted, reset or shutdown."""


AnyMilestone = Arrived | FirstByte | Chunk | Finished | Ended
"""Everything that a recorder takes besides finished events."""
