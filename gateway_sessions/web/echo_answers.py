"""What the embedded upstream is asked, and how it answers in any wire format."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway_sessions.dialects.parsing import Json

_CHARACTERS_PER_TOKEN = 4
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and what there is to say to it."""

    model: str
    options: Json
    """The request's body."""
    size: int
    """Bytes of the request's messages."""
    texts: tuple[str, ...]
    """The answer's text, one for each alternative that was asked for."""
    call: tuple[str, Any] | None
    """Name and arguments of a tool to call instead."""
    path: str = "/"
    """The request's path, with its query."""

    @property
    def input_tokens(self) -> int:
        """Tokens of the messages, estimated."""
        return self.size // _CHARACTERS_PER_TOKEN + 1

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer, estimated."""
        said = compact(self.call[1]) if self.call else "".join(self.texts)
        return len(said) // _CHARACTERS_PER_TOKEN + 1


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: the complete object, and the same as the events of a stream."""

    body: Json
    events: tuple[bytes, ...]
    content_type: str = "text/event-stream; charset=utf-8"
    """That of the stream."""


def new_id(prefix: str, length: int) -> str:
    """Return a prefix and so many random letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def compact(value: Any) -> str:
    """Return a value as JSON text."""
    return msgspec.json.encode(value).decode()


def in_pieces(text: str) -> list[str]:
    """Cut a text into words, and long words into parts, as models stream it."""
    return re.findall(r"\s*\S{1,12}|\s+", text)


def sse_event(data: Json, name: str = "") -> bytes:
    """Return a server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"
