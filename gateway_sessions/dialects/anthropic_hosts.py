"""Anthropic Messages at the clouds that host its models.

The body is the provider's own, but for the model, which stands in the path.
"""

from __future__ import annotations

from base64 import b64decode
from typing import ClassVar

import msgspec

from gateway_sessions.conversation import Conversation
from gateway_sessions.dialects import event_stream, parsing, sse
from gateway_sessions.dialects.anthropic import Anthropic, MessageAssembler
from gateway_sessions.dialects.base import Assembler
from gateway_sessions.dialects.parsing import mapping, text
from gateway_sessions.dialects.paths import model_before_action, model_before_verb, plain
from gateway_sessions.errors import UnreadableBody


class AnthropicVertex(Anthropic):
    """``POST …/publishers/anthropic/models/m:rawPredict`` and ``…:streamRawPredict``."""

    name: ClassVar[str] = "anthropic_vertex"
    provider: ClassVar[str] = "vertex"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body; the path has the model."""
        found = super().read_request(body, path)
        return msgspec.structs.replace(found, model=model_before_verb(path))


class AnthropicBedrock(Anthropic):
    """``POST …/model/m/invoke`` and ``…/model/m/invoke-with-response-stream``.

    Each model has a format of its own there; only Anthropic's is read.
    """

    name: ClassVar[str] = "anthropic_bedrock"
    provider: ClassVar[str] = "bedrock"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body; the path has the model."""
        # Names of inference profiles do not tell whose model it is, but this field does.
        if not (b'"anthropic_version"' in body or "anthropic_version" in parsing.read_object(body)):
            raise UnreadableBody("The request is not in the format of Anthropic's models.")
        found = super().read_request(body, path)
        stream = plain(path).endswith("-stream")
        return msgspec.structs.replace(found, model=model_before_action(path), stream=stream)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream of frames with events in them."""
        return MessageAssembler(parser=ChunkParser())

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"message": message}``; Bedrock names the kind in a header."""
        return msgspec.json.encode({"message": parsing.unicode(message)})


class ChunkParser(event_stream.Parser):
    """Takes the model's own events out of the frames around them."""

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """Return the events that this chunk completes; a fault is one that is no JSON."""
        return [_unpacked(event) for event in super().feed(chunk)]


def _unpacked(event: sse.Event) -> sse.Event:
    if event.name == b"chunk":
        try:
            encoded = text(mapping(parsing.parse(event.data)).get("bytes"))
            return sse.Event(b"", b64decode(encoded, validate=True) or event_stream.FAULT)
        except parsing.JSON_ERRORS:
            pass
    return sse.Event(b"", event_stream.FAULT)
