"""OpenAI Responses."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from gateway_sessions.conversation import ASSISTANT, Conversation, Message, Part, Reply, Usage
from gateway_sessions.dialects import parsing
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.envelope import (
    ABSENT,
    Envelope,
    conversation,
    present,
    read_envelope,
)
from gateway_sessions.dialects.openai_chat import error_body
from gateway_sessions.dialects.openai_responses_items import item_parts, item_seal, read_item
from gateway_sessions.dialects.openai_responses_stream import ResponseAssembler
from gateway_sessions.dialects.parsing import Json, mapping, text
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    input: list[Raw] | str | None = None
    instructions: Raw = ABSENT
    prompt: Raw = ABSENT
    """A prompt that is kept at the provider's, and the values of its variables."""


_REQUEST = msgspec.json.Decoder(_Request)
_NOTHING = [Raw(b'""')]
"""The input of a request that only lets a conversation go on which the provider keeps."""


class OpenAIResponses(Dialect):
    """``POST …/responses``."""

    name: ClassVar[str] = "openai_responses"
    provider: ClassVar[str] = "openai"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body; text as ``input`` is one message."""
        request = read_envelope(_REQUEST, body)
        items = request.input or []
        if isinstance(items, str):
            items = [Raw(msgspec.json.encode(items))]
        kept = (request.previous_response_id, request.conversation, request.prompt)
        if not items and any(present(raw) for raw in kept):
            items = _NOTHING
        system = request.instructions if present(request.instructions) else request.prompt
        return conversation(request, items, read_item, system)

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body, all of its output items as one message."""
        return _reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream from ``response.created`` to the end."""
        return ResponseAssembler(_reply)

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"error": {message, type, param, code}}``."""
        return error_body(status, message)


_WITHOUT_ANSWER = ("failed", "cancelled")
_ANSWERED = ("completed", "incomplete")


def _reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a response object; what in it has another shape is left out."""
    status = text(answer.get("status"))
    output = answer.get("output")
    items = [item for item in output if type(item) is dict] if type(output) is list else []
    messages: tuple[Message, ...] = ()
    if status not in _WITHOUT_ANSWER and (items or (status in _ANSWERED and output == [])):
        parts = tuple(part for item in items for part in _parts(item))
        messages = (Message(ASSISTANT, parts, next(filter(None, map(item_seal, items)), "")),)
    reason = text(mapping(answer.get("incomplete_details")).get("reason"))
    return Reply(
        messages=messages,
        body=body,
        id=text(answer.get("id")),
        model=text(answer.get("model")),
        finish_reason=reason or status,
        usage=_usage(answer.get("usage")),
        complete=complete,
        refused=reason == "content_filter" or any(_refuses(item) for item in items),
    )


def _parts(item: Json) -> tuple[Part, ...]:
    try:
        return item_parts(item)
    except UnreadableBody:
        return ()


def _refuses(item: Json) -> bool:
    content = item.get("content")
    return type(content) is list and any(
        mapping(block).get("type") == "refusal" for block in content
    )


def _usage(value: Any) -> Usage | None:
    if type(value) is not dict:
        return None
    read, written = (mapping(value.get(f"{side}_tokens_details")) for side in ("input", "output"))
    return Usage(
        input_tokens=parsing.count(value.get("input_tokens")),
        output_tokens=parsing.count(value.get("output_tokens")),
        cache_read_tokens=parsing.count(read.get("cached_tokens")),
        cache_creation_tokens=parsing.count(read.get("cache_write_tokens")),
        reasoning_tokens=parsing.count(written.get("reasoning_tokens")),
        audio_input_tokens=parsing.count(read.get("audio_tokens")),
        audio_output_tokens=parsing.count(written.get("audio_tokens")),
    )
