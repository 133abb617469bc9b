"""One request and its response, as interceptors and writers see it.

An `Exchange` is made when a request arrives and filled in as the response comes: first
``session``, then ``response``.  Everything it holds is safe to write down: credentials in
headers and query strings are masked before an interceptor can see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway_sessions.conversation import Usage

Headers = tuple[tuple[str, str], ...]
"""Header names and values in wire order, repeats included."""


class SessionTag(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which session an exchange belongs to, and how sure we are.

    ``relation`` is one of first, continue, retry, regenerate, fork, compaction, subagent,
    side_call, reset; ``source`` one of explicit, response_id, prefix, anchor, fuzzy, echo, new.
    """

    session_id: str
    relation: str
    source: str
    confidence: float
    """0 to 1."""
    root_session_id: str
    parent_session_id: str | None = None
    previous_session_id: str | None = None
    """The session that this one took up: one that had expired, or from which it was forked."""
    external_id: str | None = None
    """The id that the client itself gave the session, as sent; masked if it looks like a key."""
    reason: str = ""
    """One sentence: which rule decided, and on what."""
    explain: tuple[dict[str, Any], ...] = ()
    """Every rule that was asked, in order, and its answer; empty unless asked for."""


class Client(msgspec.Struct, frozen=True, gc=False):
    """Who sent a request.  ``scope`` is a keyed hash in hex; it identifies nobody outside."""

    ip: str
    user_agent: str
    scope: str = ""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as it came, credentials masked."""

    method: str
    path: str
    """With its query string."""
    headers: Headers
    body: bytes
    """Content-decoded where the client compressed it; empty above the inspection limit."""
    size: int
    """Bytes of ``body``, or of what the client announced where it is left out."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """A response as it went to the client, credentials masked."""

    status: int
    headers: Headers
    body: bytes
    """Decoded; a stream is reassembled into the non-streaming JSON object."""
    size: int
    """Bytes on the wire."""
    duration_ms: float
    time_to_first_byte_ms: float
    streamed: bool
    chunks: int = 0
    usage: Usage | None = None
    model: str = ""
    finish_reason: str = ""
    refused: bool = False
    cost_usd: float | None = None
    error: str | None = None
    """``client_closed``, ``upstream_aborted``, ``upstream_unreachable``, ``upstream_timeout``,
    ``refused`` (by an interceptor), or None."""
    raw_stream: bytes = b""
    """The chunks as they came, where an interceptor asked for them."""
    complete: bool = True
    """False where a stream ended without its end marker or with an error in it."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One HTTP request to an LLM endpoint and its response."""

    request_id: str
    """``req_`` and 20 random characters."""
    started_at: float
    """Unix time in seconds of the request's arrival."""
    client: Client
    request: Request
    dialect: str = ""
    """The wire format, as ``openai_chat``; empty where no dialect knows the path."""
    provider: str = "other"
    """``openai``, ``anthropic``, …, or ``other``."""
    model: str = ""
    session: SessionTag | None = None
    response: Response | None = None
    parse_error: str | None = None
    """Why the request body could not be read, if it could not."""
    message_count: int = 0
    """Messages in the request."""
    new_messages: int = 0
    """How many of them, at the end, this session had not sent before."""
    counts_tokens: bool = False
    """A request to count the tokens of a history that is known: shown with its session, and no
    turn of it."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds spent by us: ``detection``, and ``overhead`` in all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An interceptor's answer in place of the upstream's.

    The body is written in the dialect's own error shape around ``message``.
    """

    status: int
    message: str
    headers: Headers = ()
