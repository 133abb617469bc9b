"""OpenAI Chat Completions, and everything that speaks it (vLLM, LiteLLM, Azure, Mistral, …)."""

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
from gateway_sessions.dialects import parsing, streaming
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.continued import Reader
from gateway_sessions.dialects.envelope import ABSENT, Envelope, conversation
from gateway_sessions.dialects.openai_chat_messages import (
    PLAIN_ROLES,
    assistant_message,
    read_message,
)
from gateway_sessions.dialects.parsing import Json, mapping, text
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    messages: list[Raw]
    functions: Raw = ABSENT
    """The tools of the time before ``tools``."""
    agent_id: Raw = ABSENT
    """What Mistral's agents have in the place of a model."""


_REQUEST = Reader(_Request)


class OpenAIChat(Dialect):
    """``POST …/chat/completions``, and Mistral's ``…/agents/completions``."""

    name: ClassVar[str] = "openai_chat"
    provider: ClassVar[str] = "openai"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body."""
        request, messages = _REQUEST.read(body)
        if request.tools is ABSENT:
            request.tools = request.functions
        if request.model is ABSENT:
            request.model = request.agent_id
        return conversation(request, messages, read_message, plain=PLAIN_ROLES)

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body; one without choices gives no messages."""
        return completion_reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream of ``chat.completion.chunk`` objects."""
        return ChatAssembler()

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"error": {message, type, param, code}}``."""
        return error_body(status, message)


def error_body(status: int, message: str) -> bytes:
    """Return the JSON body with which OpenAI reports an error."""
    kind, code = _ERRORS.get(status, ("invalid_request_error", None))
    if status >= 500:
        kind = "server_error"
    error = {"message": parsing.unicode(message), "type": kind, "param": None, "code": code}
    return msgspec.json.encode({"error": error})


_ERRORS = {
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
}
"""Type and code of the errors for which the provider has others than the usual."""


def completion_reply(answer: Json, body: bytes, *, complete: bool) -> Reply:
    """Return the reply in a completion object; what in it has another shape is left out.

    A choice holds a ``message``, or a ``text`` in completions of old.
    """
    choices = answer.get("choices")
    choices = [c for c in choices if type(c) is dict] if type(choices) is list else []
    messages = [m for choice in choices if (m := _answer(choice)) is not None]
    first = choices[0] if choices else {}
    finish = text(first.get("finish_reason"))
    return Reply(
        messages=tuple(messages),
        body=body,
        id=text(answer.get("id")),
        model=text(answer.get("model")),
        finish_reason=finish,
        usage=_usage(answer.get("usage")),
        complete=complete,
        refused=finish == "content_filter" or bool(mapping(first.get("message")).get("refusal")),
    )


def _answer(choice: Json) -> Message | None:
    """Return the assistant's message of a choice, or None if it has none."""
    message = choice.get("message")
    if message is None and type(words := choice.get("text")) is str:
        return Message(ASSISTANT, parsing.texts(words))
    try:
        return assistant_message(message) if type(message) is dict else None
    except UnreadableBody:
        return None


_SUMS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
"""What many servers tell of usage, and nothing beside; they are spared all other look-ups."""


def _usage(value: Any) -> Usage | None:
    if type(value) is not dict:
        return None
    asked = parsing.count(value.get("prompt_tokens"))
    answered = parsing.count(value.get("completion_tokens"))
    if value.keys() <= _SUMS:
        return Usage(input_tokens=asked, output_tokens=answered)
    read = mapping(value.get("prompt_tokens_details"))
    written = mapping(value.get("completion_tokens_details"))
    return Usage(
        input_tokens=asked,
        output_tokens=answered,
        cache_read_tokens=parsing.count(
            read.get("cached_tokens"), value.get("prompt_cache_hit_tokens")
        ),
        cache_creation_tokens=parsing.count(read.get("cache_write_tokens")),
        reasoning_tokens=parsing.count(written.get("reasoning_tokens")),
        audio_input_tokens=parsing.count(read.get("audio_tokens")),
        audio_output_tokens=parsing.count(written.get("audio_tokens")),
    )


class _Choice:
    """One alternative answer as it comes together."""

    def __init__(self) -> None:
        self.fields: Json = {}
        self.message = streaming.Merged()
        self.logprobs = streaming.Merged()
        self.text: streaming.Words | None = None

    def apply(self, delta: Json) -> int:
        """Take one entry of a chunk's ``choices``."""
        weight = 0
        for key, value in delta.items():
            if key in ("delta", "logprobs") and type(value) is dict:
                target = self.message if key == "delta" else self.logprobs
                weight += target.merge(value)
            elif key == "text" and type(value) is str:
                self.text = self.text or streaming.Words()
                weight += self.text.write(value)
            elif key != "delta" and self.fields.get(key, ABSENT) != value:
                weight += streaming.replace(self.fields, key, value)
        return weight

    def value(self, index: int) -> Json:
        """Return the choice as a completion object has it."""
        start: Json = {"index": index}
        if self.text is None or self.message.value():
            start["message"] = self._whole_message()
        else:
            start["text"] = self.text.getvalue()
        start |= {"logprobs": self.logprobs.value() or None, "finish_reason": None}
        fields = self.fields.items()
        return start | {
            key: value for key, value in fields if key not in start or value is not None
        }

    def _whole_message(self) -> Json:
        message: Json = {"role": ASSISTANT, "content": None} | self.message.value()
        if type(calls := message.get("tool_calls")) is list:
            message["tool_calls"] = [_unnumbered(call) for call in calls]
        return message


def _unnumbered(call: Any) -> Any:
    """Return a tool call without the index that it has in streams only."""
    if type(call) is not dict:
        return call
    return {key: value for key, value in call.items() if key != "index"}


class ChatAssembler(streaming.StreamAssembler):
    """Rebuilds the ``chat.completion`` or ``text_completion`` object from a stream of chunks."""

    def __init__(self, limit: int = streaming.COLLECT_LIMIT) -> None:
        super().__init__(limit)
        self._fields: Json = {}
        self._choices: dict[int, _Choice] = {}

    def _apply(self, event: Json) -> int:
        weight = 0
        for key, value in event.items():
            if key == "choices":
                for delta in value if type(value) is list else ():
                    weight += self._choose(delta)
            elif key != "obfuscation" and self._fields.get(key, ABSENT) != value:
                weight += streaming.replace(self._fields, key, value)
        return weight

    def _choose(self, delta: Any) -> int:
        if type(delta) is not dict:
            raise ValueError("a choice is no object")
        index = delta.get("index") or 0
        if type(index) is not int:
            raise ValueError("the index of a choice is no integer")
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
            return choice.apply(delta) + streaming.NEW
        return choice.apply(delta)

    def _object(self) -> Json:
        if not self._fields and not self._choices:
            return {}
        choices = [choice.value(index) for index, choice in sorted(self._choices.items())]
        fields = {key: value for key, value in self._fields.items() if value is not None}
        usage = {"usage": fields.pop("usage")} if "usage" in fields else {}
        texts = any("text" in choice for choice in choices)
        kind = "text_completion" if texts else "chat.completion"
        return fields | {"object": kind, "choices": choices} | usage

    def _has_answer(self) -> bool:
        """Some providers leave out ``[DONE]``; then the answers' own ends must do."""
        return bool(self._choices) and all(
            choice.fields.get("finish_reason") for choice in self._choices.values()
        )

    def _read(self, answer: Json, body: bytes, complete: bool) -> Reply:
        return completion_reply(answer, body, complete=complete)
