"""Anthropic Messages."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from gateway_sessions.conversation import (
    ASSISTANT,
    Conversation,
    Message,
    Reply,
    Usage,
)
from gateway_sessions.dialects import parsing, sse, streaming
from gateway_sessions.dialects.anthropic_messages import ROLES, assistant_message, read_message
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.continued import Reader
from gateway_sessions.dialects.envelope import ABSENT, Envelope, conversation
from gateway_sessions.dialects.parsing import Json, mapping, text
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    messages: list[Raw]
    system: Raw = ABSENT


_REQUEST = Reader(_Request)


class Anthropic(Dialect):
    """``POST …/v1/messages``."""

    name: ClassVar[str] = "anthropic"
    provider: ClassVar[str] = "anthropic"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body."""
        request, messages = _REQUEST.read(body)
        system = _lasting(request.system)
        return conversation(request, messages, read_message, system, plain=ROLES)

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body; one without content gives no messages."""
        return _reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream from ``message_start`` to ``message_stop``."""
        return MessageAssembler()

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"type": "error", "error": {type, message}}``."""
        usual = "api_error" if status >= 500 else "invalid_request_error"
        error = {"type": _ERRORS.get(status, usual), "message": parsing.unicode(message)}
        return msgspec.json.encode({"type": "error", "error": error})


_BILLING = b"x-anthropic-billing-header"
"""How a text begins that Claude Code puts before its system prompt, another in every request."""
_BILLING_WITHIN = 256
"""Bytes of a system prompt in which the text would begin: its first block has little else."""


def _lasting(system: Raw) -> Raw:
    """Return a system prompt without what is said of the request and not to the model."""
    sent = memoryview(system)
    if _BILLING not in bytes(sent[:_BILLING_WITHIN]):
        return system
    try:
        first, *rest = parsing.parse(system)
    except (*parsing.JSON_ERRORS, TypeError, ValueError):
        return system
    said = text(mapping(first).get("text"))
    return Raw(msgspec.json.encode(rest)) if said.startswith(_BILLING.decode()) else system


_ERRORS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type of an error by its status, where it is not ``invalid_request_error`` (below 500) or
``api_error``."""


def _reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a message object; one of another shape gives no messages."""
    messages: tuple[Message, ...] = ()
    if type(content := answer.get("content")) is list:
        try:
            messages = (assistant_message(content),)
        except UnreadableBody:
            complete = False
    finish = text(answer.get("stop_reason"))
    return Reply(
        messages=messages,
        body=body,
        id=text(answer.get("id")),
        model=text(answer.get("model")),
        finish_reason=finish,
        usage=_usage(answer.get("usage")),
        complete=complete,
        refused=finish == "refusal",
    )


def _usage(value: Any) -> Usage | None:
    """Return the counts; the provider's ``input_tokens`` are those that no cache had."""
    if type(value) is not dict:
        return None
    cache_read = parsing.count(value.get("cache_read_input_tokens"))
    cache_creation = parsing.count(value.get("cache_creation_input_tokens"))
    thinking = mapping(value.get("output_tokens_details")).get("thinking_tokens")
    lasting = mapping(value.get("cache_creation")).get("ephemeral_1h_input_tokens")
    return Usage(
        input_tokens=parsing.count(value.get("input_tokens")) + cache_read + cache_creation,
        output_tokens=parsing.count(value.get("output_tokens")),
        cache_read_tokens=cache_read,
        cache_creation_tokens=cache_creation,
        reasoning_tokens=parsing.count(thinking),
        thinking_tokens=parsing.count(thinking),
        cache_creation_1h_tokens=parsing.count(lasting),
    )


class MessageAssembler(streaming.StreamAssembler):
    """Rebuilds the ``message`` object from a stream of events."""

    def __init__(
        self,
        limit: int = streaming.COLLECT_LIMIT,
        parser: streaming.EventParser | None = None,
    ) -> None:
        super().__init__(limit, parser)
        self._message: Json = {}
        self._blocks: dict[int, streaming.Merged] = {}

    def _apply(self, event: Json) -> int:
        match event.get("type"):
            case "content_block_delta":
                block = self._blocks.get(_integer(event))
                if block is None:
                    raise ValueError("a delta came before the start of its block")
                return block.merge(_delta(event.get("delta")))
            case "content_block_start":
                start = _fields(event.get("content_block"))
                self._blocks[_integer(event)] = streaming.Merged(start)
                return streaming.weigh(start)
            case "message_start":
                self._message = dict(_fields(event.get("message")))
                return streaming.weigh(self._message)
            case "message_delta":
                return self._close(event)
            case _:
                return 0

    def _close(self, event: Json) -> int:
        """Take the last fields of the message; its usage counts replace those of the start."""
        usage = dict(mapping(self._message.get("usage")))
        weight = 0
        for key, value in mapping(event.pop("usage", None)).items():
            weight += streaming.replace(usage, key, value)
        fields = mapping(event.pop("delta", None)) | event | {"usage": usage, "type": "message"}
        for key, value in fields.items():
            weight += streaming.replace(self._message, key, value)
        return weight

    def _object(self) -> Json:
        if not self._message and not self._blocks:
            return {}
        blocks = [_closed(block.value()) for _, block in sorted(self._blocks.items())]
        return {"type": "message", "role": ASSISTANT} | self._message | {"content": blocks}

    def _is_end(self, event: sse.Event) -> bool:
        if event.name:
            return event.name == b"message_stop"
        # Some gateways leave the names of events out.
        return event.data.replace(b" ", b"").startswith(b'{"type":"message_stop"')

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return _reply(answer, body, complete=complete)


def _integer(event: Json) -> int:
    """Return the number of the block that an event is about."""
    index = event.get("index")
    if type(index) is not int:
        raise ValueError("the index of a content block is no integer")
    return index


def _fields(value: Any) -> Json:
    if type(value) is not dict:
        raise ValueError("a part of an event is no object")
    return value


def _delta(value: Any) -> Json:
    """Return what a delta adds to the fields of its block, which keeps its own type."""
    delta = _fields(value)
    delta.pop("type", None)
    if "citation" in delta:
        return {"citations": [delta["citation"]]}
    return delta


def _closed(block: Json) -> Json:
    """Return a block with its input parsed, which streams send as pieces of JSON text."""
    pieces = block.pop("partial_json", "")
    if pieces:
        block["input"] = parsing.arguments(pieces)
    return block
