"""Amazon Bedrock's Converse, which is the same for all of its models."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from gateway_sessions.conversation import ASSISTANT, Conversation, Message, Reply, Usage
from gateway_sessions.dialects import event_stream, parsing, sse, streaming
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.bedrock_converse_messages import assistant_message, read_message
from gateway_sessions.dialects.envelope import (
    ABSENT,
    Envelope,
    conversation,
    present,
    read_envelope,
)
from gateway_sessions.dialects.parsing import Json, mapping, text
from gateway_sessions.dialects.paths import model_before_action, plain
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    messages: list[Raw]
    system: Raw = ABSENT
    tool_config: Raw = msgspec.field(name="toolConfig", default=ABSENT)
    request_metadata: Raw = msgspec.field(name="requestMetadata", default=ABSENT)


_REQUEST = msgspec.json.Decoder(_Request)


class BedrockConverse(Dialect):
    """``POST …/model/m/converse`` and ``…/model/m/converse-stream``."""

    name: ClassVar[str] = "bedrock_converse"
    provider: ClassVar[str] = "bedrock"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body; the path has the model."""
        request = read_envelope(_REQUEST, body)
        request.tools = request.tool_config
        if not present(request.metadata):
            request.metadata = request.request_metadata
        return conversation(
            request,
            request.messages,
            read_message,
            request.system,
            model=model_before_action(path),
            stream=plain(path).endswith("-stream"),
        )

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body; one without a message gives none."""
        return _reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream from ``messageStart`` to ``metadata``."""
        return ConverseAssembler()

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"message": message}``; Bedrock names the kind in a header."""
        return msgspec.json.encode({"message": parsing.unicode(message)})


_REFUSALS = ("guardrail_intervened", "content_filtered", "refusal")


def _reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a response object; what in it has another shape is left out."""
    message = mapping(answer.get("output")).get("message")
    messages: tuple[Message, ...] = ()
    if type(message) is dict:
        try:
            messages = (assistant_message(message),)
        except UnreadableBody:
            complete = False
    finish = text(answer.get("stopReason"))
    return Reply(
        messages=messages,
        body=body,
        finish_reason=finish,
        usage=_usage(answer.get("usage")),
        complete=complete,
        refused=finish in _REFUSALS,
    )


def _usage(value: Any) -> Usage | None:
    """Return the counts; the provider's ``inputTokens`` are those that no cache had."""
    if type(value) is not dict:
        return None
    cache_read = parsing.count(value.get("cacheReadInputTokens"))
    cache_creation = parsing.count(value.get("cacheWriteInputTokens"))
    return Usage(
        input_tokens=parsing.count(value.get("inputTokens")) + cache_read + cache_creation,
        output_tokens=parsing.count(value.get("outputTokens")),
        cache_read_tokens=cache_read,
        cache_creation_tokens=cache_creation,
    )


class ConverseAssembler(streaming.StreamAssembler):
    """Rebuilds the response object from a stream of frames."""

    def __init__(self, limit: int = streaming.COLLECT_LIMIT) -> None:
        super().__init__(limit, event_stream.Parser())
        self._answer: Json = {}
        self._blocks: dict[int, streaming.Merged] = {}

    def _take(self, event: sse.Event) -> None:
        """Put the event's name, which stands in its frame, around what it says."""
        name = msgspec.json.encode(event.name.decode(errors="replace"))
        super()._take(sse.Event(b"", b"{" + name + b":" + event.data + b"}"))

    def _apply(self, event: Json) -> int:
        ((name, value),) = event.items()
        if type(value) is not dict:
            raise ValueError("an event is no object")
        match name:
            case "contentBlockDelta":
                return self._block(value).merge(_delta(value.get("delta")))
            case "contentBlockStart":
                return self._block(value).merge(_delta(value.get("start")))
            case "messageStop" | "metadata":
                fields = (item for item in value.items() if item[0] != "p")
                return sum(streaming.replace(self._answer, *item) for item in fields)
            case "messageStart" | "contentBlockStop":
                return 0
        if name == event_stream.FAULT.decode():
            raise ValueError("the provider reports an error")
        return 0

    def _block(self, event: Json) -> streaming.Merged:
        index = event.get("contentBlockIndex")
        if type(index) is not int:
            raise ValueError("the index of a content block is no integer")
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = streaming.Merged()
            self._room -= streaming.NEW
        return block

    def _ends(self, event: Json) -> bool:
        return "metadata" in event

    def _has_answer(self) -> bool:
        """The message has ended; only its counts are missing."""
        return "stopReason" in self._answer

    def _object(self) -> Json:
        if not self._answer and not self._blocks:
            return {}
        blocks = [_closed(block.value()) for _, block in sorted(self._blocks.items())]
        return {"output": {"message": {"role": ASSISTANT, "content": blocks}}} | self._answer

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return _reply(answer, body, complete=complete)


def _delta(value: Any) -> Json:
    """Return what a delta adds to its block."""
    if type(value) is not dict:
        raise ValueError("a part of an event is no object")
    if "citation" in value:
        return {"citations": [value["citation"]]}
    return value


def _closed(block: Json) -> Json:
    """Return a block as a whole response has it."""
    use, reasoning = block.get("toolUse"), block.get("reasoningContent")
    if type(use) is dict:
        block["toolUse"] = use | {"input": parsing.arguments(use.get("input", ""))}
    if type(reasoning) is dict and "redactedContent" not in reasoning:
        block["reasoningContent"] = {"reasoningText": reasoning}
    if "citations" in block:
        content = [{"text": block.get("text", "")}]
        return {"citationsContent": {"content": content, "citations": block["citations"]}}
    return block
