"""Helpers that read conversations as they come over the wire."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from gateway_sessions.conversation import Conversation, Message
from gateway_sessions.dialects.anthropic import Anthropic
from gateway_sessions.dialects.openai_chat import OpenAIChat

SEED = 0x5EED_5EED_5EED_5EED

OPENAI, ANTHROPIC = OpenAIChat(), Anthropic()


def chat(*messages: Any, **fields: Any) -> Conversation:
    """Return a conversation in OpenAI's shape."""
    body = {"model": "m", "messages": messages, **fields}
    return OPENAI.read_request(json.dumps(body).encode(), "/v1/chat/completions")


def claude(*messages: Any, **fields: Any) -> Conversation:
    """Return a conversation in Anthropic's shape."""
    body = {"model": "m", "max_tokens": 1, "messages": messages, **fields}
    return ANTHROPIC.read_request(json.dumps(body).encode(), "/v1/messages")


def counted(conversation: Conversation) -> tuple[Conversation, list[bytes]]:
    """Return the conversation, and a list that gets every raw message that is read."""
    seen: list[bytes] = []

    def read(raw: msgspec.Raw) -> tuple[Message, ...]:
        seen.append(bytes(raw))
        return conversation.read(raw)

    return msgspec.structs.replace(conversation, read=read), seen
