"""Helpers that write what clients and providers send."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator
from random import Random
from typing import Any
from zlib import crc32

from msgspec import Raw

HOSTILE = {
    "empty": b"",
    "blank": b"  \n",
    "no JSON": b"hello",
    "cut off": b'{"model": "m", "messages": [{"role": "user"',
    "trailing garbage": b'{"messages": [{"role": "user", "content": "hi"}]} {}',
    "byte order mark": b'\xef\xbb\xbf{"messages": [{"role": "user", "content": "hi"}]}',
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "NaN": b'{"messages": [NaN]}',
    "deep": b"[" * 100_000,
    "deep and closed": b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "control character": b'{"messages": ["a\nb"]}',
    "lone surrogate": b'{"messages": ["\\ud800"]}',
    "no messages": b'{"model": "m"}',
    "messages are a string": b'{"messages": "hi"}',
    "messages are null": b'{"messages": null}',
    "messages are empty": b'{"messages": []}',
}
"""Bodies that are no request in any dialect, whatever they are."""


def raw(message: Any) -> Raw:
    """Return a message as a slice of a body."""
    return Raw(json.dumps(message).encode())


def body(*messages: Any, **fields: Any) -> bytes:
    """Return a request body."""
    return json.dumps({"model": "m", "messages": messages, **fields}).encode()


def event(data: Any, name: str = "") -> bytes:
    """Return a server-sent event; data that is no text is dumped as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def cuts(data: bytes, seed: int) -> Iterator[bytes]:
    """Cut bytes anywhere, the same way for the same seed."""
    rng = Random(seed)
    while data:
        size = rng.choice((1, 2, 3, 20, 500))
        yield data[:size]
        data = data[size:]


FIELDS = {"openai_responses": "input", "gemini": "contents", "openai_completions": "prompt"}
"""The body field that holds the messages, where it is not ``messages``."""


def request(dialect: str, *messages: Any, **fields: Any) -> bytes:
    """Return a request body in a dialect, its messages in that dialect's form."""
    value = messages[0] if dialect == "openai_completions" else messages
    needed = {"anthropic_version": "bedrock-2023-05-31"} if dialect == "anthropic_bedrock" else {}
    named = {"model": "m", FIELDS.get(dialect, "messages"): value}
    return json.dumps(named | needed | fields).encode()


def user(dialect: str, text: str) -> Any:
    """Return what a user says, as a message of a dialect."""
    match dialect:
        case "openai_completions":
            return text
        case "gemini":
            return {"role": "user", "parts": [{"text": text}]}
        case "bedrock_converse":
            return {"role": "user", "content": [{"text": text}]}
        case _:
            return {"role": "user", "content": text}


def line(data: Any) -> bytes:
    """Return a JSON value on a line of its own."""
    return json.dumps(data).encode() + b"\n"


def frame(payload: bytes, **headers: str) -> bytes:
    """Return a frame of an AWS event stream; ``event_type`` is the header ``:event-type``."""
    encoded = b""
    for name, value in headers.items():
        key = b":" + name.replace("_", "-").encode()
        text = value.encode()
        encoded += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(text)) + text
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    whole = prelude + struct.pack(">I", crc32(prelude)) + encoded + payload
    return whole + struct.pack(">I", crc32(whole))


def named_frame(name: str, data: Any) -> bytes:
    """Return a frame as Bedrock sends them."""
    kinds = {"event_type": name, "content_type": "application/json", "message_type": "event"}
    return frame(json.dumps(data).encode(), **kinds)


def chunk_frame(data: Any) -> bytes:
    """Return a frame that holds an event of the model's own stream."""
    return named_frame("chunk", {"bytes": b64encode(json.dumps(data).encode()).decode(), "p": "ab"})


def streamed(dialect: str, data: Any, name: str = "") -> bytes:
    """Return an event in the framing of a dialect."""
    match dialect:
        case "ollama":
            return line(data)
        case "bedrock_converse":
            return named_frame(name, data)
        case "anthropic_bedrock":
            return chunk_frame(data)
        case _:
            return event(data, name)
