"""OpenAI's completions of old: a prompt and how it goes on."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Raw

from gateway_sessions.conversation import USER, Conversation, Media, Message, Reply
from gateway_sessions.dialects import parsing
from gateway_sessions.dialects.base import Assembler, Dialect
from gateway_sessions.dialects.envelope import (
    ABSENT,
    Envelope,
    conversation,
    present,
    read_envelope,
)
from gateway_sessions.dialects.openai_chat import ChatAssembler, completion_reply, error_body
from gateway_sessions.dialects.parsing import mapping, texts
from gateway_sessions.errors import UnreadableBody


class _Request(Envelope, gc=False, kw_only=True):
    prompt: Raw = ABSENT
    suffix: Raw = ABSENT


_REQUEST = msgspec.json.Decoder(_Request)


class OpenAICompletions(Dialect):
    """``POST …/completions``, and Mistral's ``…/fim/completions``."""

    name: ClassVar[str] = "openai_completions"
    provider: ClassVar[str] = "openai"

    def read_request(self, body: bytes, path: str) -> Conversation:
        """Return the conversation in a request body: the prompt as one message."""
        request = read_envelope(_REQUEST, body)
        if not present(request.prompt):
            raise UnreadableBody("The request has no prompt.")
        prompt = request.prompt
        if present(request.suffix):
            prompt = Raw(b"[" + bytes(prompt) + b"," + bytes(request.suffix) + b"]")
        return conversation(request, [prompt], read_prompt)

    def read_reply(self, body: bytes) -> Reply:
        """Return the reply in a response body; one without choices gives no messages."""
        return completion_reply(mapping(parsing.read(body)), body, complete=True)

    def assembler(self) -> Assembler:
        """Return a fresh assembler for one stream of ``text_completion`` objects."""
        return ChatAssembler()

    def error_body(self, status: int, message: str) -> bytes:
        """Return ``{"error": {message, type, param, code}}``."""
        return error_body(status, message)


def read_prompt(raw: Raw) -> tuple[Message, ...]:
    """Return the one message of a prompt; raises `UnreadableBody`.

    Several prompts, or the text before and after a gap, are parts of one message.  Tokens in
    the place of text are told apart, though nobody can read them.
    """
    prompt = parsing.read(raw)
    if type(prompt) is str:
        return (Message(USER, texts(prompt)),)
    if type(prompt) is not list:
        raise UnreadableBody("The prompt is neither text nor a list.")
    if all(type(item) is str for item in prompt):
        return (Message(USER, texts(*prompt)),)
    return (Message(USER, (Media(parsing.canonical(prompt)),)),)
