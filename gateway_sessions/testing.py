"""Test doubles: a clock that stands still, and clients that talk without a network.

They are what our own tests use; embed the gateway and yours can use them too::

    clock = ManualClock()
    desk = Desk(clock=clock)
    alice = desk.client(key="alice")
    first = alice.ask("hi", "Hello! How can I help?")
    second = alice.ask("What is a monad?", "A monoid in the category of endofunctors.")
    assert first.session_id == second.session_id
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from gateway_sessions.detection.detector import Sender
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.dialects import Dialect, dialect_for
from gateway_sessions.exchange import SessionTag
from gateway_sessions.index.base import Index
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.tracker import Tracked, Tracker

Json = dict[str, Any]


class ManualClock:
    """A clock that moves when told to; call it for the time in unix seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Desk:
    """A tracker with predictable ids (``sess_1``, ``sess_2``, …) and a clock of its own."""

    def __init__(
        self,
        settings: DetectionSettings | None = None,
        *,
        clock: ManualClock | None = None,
        index: Index | None = None,
        explain: bool = False,
    ) -> None:
        """Make a desk; see `Tracker` for what the arguments mean."""
        self.clock = clock or ManualClock()
        self.telemetry = Telemetry()
        numbers = count(1)
        self.tracker = Tracker(
            settings or DetectionSettings(),
            b"a secret for tests only",
            self.telemetry,
            index=index,
            mint=lambda: f"sess_{next(numbers)}",
            explain=explain,
        )

    def client(self, key: str = "key", **options: Any) -> ChatClient:
        """Return a client; see `ChatClient`."""
        return ChatClient(self, key=key, **options)


class Sent:
    """A request that is in flight."""

    def __init__(self, client: ChatClient, tracked: Tracked, dialect: Dialect) -> None:
        self._client = client
        self._dialect = dialect
        self.tracked = tracked
        self.tag: SessionTag = tracked.tag()

    def answer(self, reply: str | Json, seconds: float = 1.0) -> Json:
        """Let the whole reply arrive; return it as the assistant message a client keeps."""
        desk = self._client.desk
        desk.clock.advance(seconds)
        message = _assistant(reply)
        read = self._dialect.read_reply(
            json.dumps(response_to(self._dialect.name, message)).encode()
        )
        desk.tracker.answered(self.tracked, read, desk.clock())
        return message

    def fail(self, seconds: float = 1.0) -> None:
        """Let the request fail, or its client leave before the answer."""
        self._client.desk.clock.advance(seconds)
        self._client.desk.tracker.failed(self.tracked, None, self._client.desk.clock())


class ChatClient:
    """One client program: sends what it is told and keeps its history.

    ``history`` is a plain list of messages in the dialect's own shape; tests edit it freely.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        key: str = "key",
        dialect: str = "openai_chat",
        system: str | None = None,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        ip: str = "192.0.2.1",
    ) -> None:
        """Make a client that speaks ``openai_chat`` or ``anthropic``."""
        self.desk = desk
        self.key = key
        self.dialect = dialect
        self.system = system
        self.headers = dict(headers or {})
        self.fields = dict(fields or {})
        self.ip = ip
        self.history: list[Json] = []

    def ask(self, text: str | Json | Sequence[Json], reply: str | Json = "Fine.") -> SessionTag:
        """Say something on top of the history, get the reply, keep both."""
        prompt = _prompt(text)
        sent = self.send([*self.history, *prompt])
        self.history += [*prompt, sent.answer(reply)]
        return sent.tag

    def send(self, messages: Sequence[Json], **fields: Any) -> Sent:
        """Send exactly these messages and return the request, still unanswered."""
        path, headers, body = self.request(messages, **fields)
        dialect = dialect_for("POST", path, tuple(headers.items()))
        assert dialect is not None
        conversation = dialect.read_request(json.dumps(body).encode(), path)
        sender = Sender(headers, path, self.ip)
        tracked = self.desk.tracker.begin(conversation, sender, self.desk.clock())
        return Sent(self, tracked, dialect)

    def request(self, messages: Sequence[Json], **fields: Any) -> tuple[str, dict[str, str], Json]:
        """Return path, headers and body of the request that sends exactly these messages."""
        body: Json = {"model": "m", "messages": list(messages), **self.fields, **fields}
        if self.dialect == "anthropic":
            path, auth = "/v1/messages", {"x-api-key": self.key}
            body["max_tokens"] = 100
            if self.system is not None:
                body["system"] = self.system
        else:
            path, auth = "/v1/chat/completions", {"authorization": f"Bearer {self.key}"}
            if self.system is not None:
                body["messages"] = [{"role": "system", "content": self.system}, *messages]
        return path, {"user-agent": "tests/1", **auth, **self.headers}, body


def user(text: str) -> Json:
    """Return a user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Json:
    """Return an assistant message."""
    return {"role": "assistant", "content": text}


def tool_call(call_id: str, name: str, arguments: Json | None = None) -> Json:
    """Return an assistant message, in OpenAI's shape, that calls a tool."""
    function = {"name": name, "arguments": json.dumps(arguments or {})}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def tool_result(call_id: str, content: str) -> Json:
    """Return a tool message in OpenAI's shape."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _prompt(text: str | Json | Sequence[Json]) -> list[Json]:
    if isinstance(text, str):
        return [user(text)]
    return [dict(text)] if isinstance(text, Mapping) else [dict(message) for message in text]


def _assistant(reply: str | Json) -> Json:
    return assistant(reply) if isinstance(reply, str) else dict(reply)


def response_to(dialect: str, message: Json) -> Json:
    """Return the body of a response with an assistant message, in the shape of a dialect."""
    if dialect == "anthropic":
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": blocks,
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
