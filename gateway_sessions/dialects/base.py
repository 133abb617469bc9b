"""What every wire format knows how to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from gateway_sessions.conversation import Conversation, Reply

STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
"""The content types that only streams have."""


class Assembler(Protocol):
    """Rebuilds the non-streaming reply from a stream, incrementally and in bounded memory."""

    finished: bool
    """True once the provider's own end marker has been seen."""

    def feed(self, chunk: bytes) -> None:
        """Take the next decoded bytes of the stream, cut anywhere.  Never raises."""

    def reply(self) -> Reply:
        """Return what the stream has said so far; ``complete`` tells whether it ended."""


class Dialect(ABC):
    """One provider's wire format.  Stateless; one instance serves all requests."""

    name: ClassVar[str]
    """``openai_chat``, ``anthropic``, …"""
    provider: ClassVar[str]
    """``openai``, ``anthropic``, …: the label of metrics and traces."""

    @abstractmethod
    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body (decoded JSON bytes).

        Raises `UnreadableBody` for anything else than a well-formed request, whatever it is:
        never another exception, and in time linear in the size of the body.
        """

    @abstractmethod
    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a complete, non-streamed response body of status 2xx.

        Raises `UnreadableBody` as above.
        """

    @abstractmethod
    def assembler(self) -> Assembler:
        """Return a fresh assembler for one streamed response."""

    def streams(self, content_type: str, *, asked: bool) -> bool:
        """Tell whether a response of this content type is to be read by an assembler.

        ``asked`` is whether the request wanted a stream.
        """
        return content_type.lower().startswith(STREAM_TYPES)

    @abstractmethod
    def error_body(self, status: int, message: str) -> bytes:
        """Return the JSON body with which the provider itself would report this error."""
