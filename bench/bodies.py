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


GENERATION = 10_000
"""Requests after which all conversations of a throughput run are over and others go on."""
MESSAGE_OVERHEAD = 50
"""Bytes of a message beside its text, roughly."""
MOST_TURNS = 24
"""Of a conversation; where that is not enough for its size, what users say is longer."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Many conversations side by side, each of which is a new one after some turns.

    The request with number n goes on with conversation n modulo ``conversations``, whose next
    turn brings everything that was said before, as clients do.  From the second generation on
    the conversations are in all of their turns, so one request in ``turns`` is the first of its
    session.
    """

    opening: tuple[bytes, bytes]
    """The body up to the end of the first message, cut where the conversation's name belongs."""
    later: tuple[bytes, ...]
    """What the history has grown by at each turn."""
    end: bytes

    @property
    def turns(self) -> int:
        """Requests of a conversation."""
        return len(self.later)

    @property
    def conversations(self) -> int:
        """How many take turns: far more than are asked at once, and less than a gateway keeps."""
        return GENERATION // self.turns

    def request(self, number: int) -> bytes:
        """Return the body of the request with that number."""
        step, place = divmod(number, self.conversations)
        ahead = place % self.turns
        generation, turn = divmod(step + ahead, self.turns)
        if not generation:
            turn -= ahead  # The first ones are shorter, so that all begin with their first turn.
        before, after = self.opening
        name = b"%d" % (generation * self.conversations + place)
        return b"".join((before, name, after, self.later[turn], self.end))


def talk(kilobytes: int, *, stream: bool) -> Talk:
    """Return conversations whose requests have about that size in the mean."""
    question = text(random.Random(kilobytes), MESSAGE_CHARACTERS)
    request = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "about @ " + question}],
        "stream": stream,
    }
    opening, end = encode(request).split(b"]")
    before, after = opening.split(b"@")
    grown = len(before) + len(after)
    replied = len(encode({"role": "assistant", "content": REPLY_TEXT}))
    # In the mean a conversation is in the middle of its turns.
    more = (kilobytes * 1024 - grown) * 2 // (MOST_TURNS - 1) - replied - MESSAGE_OVERHEAD
    asked = text(random.Random(-kilobytes), max(0, more))
    later, sizes = [b""], [grown]
    while sum(sizes) < 1024 * kilobytes * len(sizes):
        said = [
            {"role": "assistant", "content": REPLY_TEXT},
            {"role": "user", "content": f"turn {len(later)} {asked}"},
        ]
        later.append(later[-1] + b"".join(b"," + encode(message) for message in said))
        sizes.append(grown + len(later[-1]))
    return Talk((before, after), tuple(later), b"]" + end)


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
