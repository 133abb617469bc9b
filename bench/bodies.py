"""Request bodies and replies to measure with: OpenAI chat, messages of 500 characters."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

MESSAGE_CHARACTERS = 500
_WORDS = re.findall(
    r"\w+",
    "the session keeps every message that the client sends again and a gateway reads it once "
    "history grows with each turn while only its newest part is unknown to us so far",
)


def text(rng: random.Random, characters: int = MESSAGE_CHARACTERS) -> str:
    """Return English-looking text of exactly that many characters."""
    words: list[str] = []
    length = 0
    while length <= characters:
        words.append(rng.choice(_WORDS))
        length += len(words[-1]) + 1
    return " ".join(words)[:characters]


def conversation(messages: int, seed: int, characters: int = MESSAGE_CHARACTERS) -> dict[str, Any]:
    """Return a request of that many messages: user and assistant in turns, a user's last.

    An even number begins with a system message.
    """
    rng = random.Random(seed)
    roles = ["user" if (messages - i) % 2 else "assistant" for i in range(messages)]
    if messages % 2 == 0:
        roles[0] = "system"
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": role, "content": text(rng, characters)} for role in roles],
    }


def encode(request: dict[str, Any]) -> bytes:
    """Return a request as the bytes that the official SDK would send."""
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()


REPLY_TEXT = text(random.Random(0), 800)
STREAM_EVENTS = 40


CONVERSATIONS = 2000
"""Conversations that take turns in a throughput run; far fewer than sessions a gateway keeps."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The newest turn of a conversation, many times over.

    The history differs by conversation and the newest message by request, so that every request
    is a new turn on a history that has been seen, which is what a gateway mostly gets.
    """

    opening: tuple[bytes, bytes]
    """The body of the request before, cut where the conversation's number belongs."""
    newest: tuple[bytes, bytes, bytes]
    """The body to measure with, cut where the conversation's and its own number belong."""

    def first(self, conversation: int) -> bytes:
        """Return the request after which the history is known."""
        return (b"%d" % conversation).join(self.opening)

    def next(self, number: int) -> bytes:
        """Return the request with that number."""
        before, between, after = self.newest
        return b"%b%d%b%d%b" % (before, number % CONVERSATIONS, between, number, after)


def turn(kilobytes: int, *, stream: bool) -> Turn:
    """Return a turn whose body has about that size."""
    messages = max(1, round(kilobytes * 1024 / 540 - 2)) // 2 * 2 + 1
    request = conversation(messages, seed=kilobytes)
    request["messages"][0]["content"] = "about @ " + request["messages"][0]["content"]
    opening = encode(request | {"stream": stream}).split(b"@")
    request["messages"] += [
        {"role": "assistant", "content": REPLY_TEXT},
        {"role": "user", "content": "turn @"},
    ]
    newest = encode(request | {"stream": stream}).split(b"@")
    return Turn((opening[0], opening[1]), (newest[0], newest[1], newest[2]))


def plain_reply(content: str = REPLY_TEXT) -> bytes:
    """Return a finished chat completion, of 800 characters unless given."""
    return encode(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 160, "total_tokens": 260},
        }
    )


def stream_events() -> list[bytes]:
    """Return the same completion as server-sent events, in order, with the end marker."""
    step = len(REPLY_TEXT) // STREAM_EVENTS
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [
        {"content": REPLY_TEXT[at : at + step]} for at in range(0, step * STREAM_EVENTS, step)
    ]
    events = [_event(delta, None) for delta in deltas]
    return [*events, _event({}, "stop"), b"data: [DONE]\n\n"]


def _event(delta: dict[str, Any], finish_reason: str | None) -> bytes:
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return b"data: " + encode(chunk) + b"\n\n"
