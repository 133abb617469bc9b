"""Helpers that write requests and responses as the edge sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from typing import Any

from gateway_sessions.chain import InterceptorChain
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import Exchange, Headers, Response, SessionTag
from gateway_sessions.gateway import Gateway, RequestHead
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.testing import ManualClock, assistant, user
from gateway_sessions.transit import Transit

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
JSON: Headers = (("Content-Type", "application/json"),)
EVENTS: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)


def head(
    path: str = CHAT, method: str = "POST", ip: str = "192.0.2.1", **headers: str
) -> RequestHead:
    """Return the head of a request; underscores in names of headers stand for dashes."""
    fields = {"Authorization": "Bearer key", "User-Agent": "tests/1"}
    fields |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    return RequestHead(method, path, tuple(fields.items()), ip)


def asked(*messages: Any, **fields: Any) -> bytes:
    """Return a request body."""
    said = [user(m) if isinstance(m, str) else m for m in messages]
    return json.dumps({"model": "gpt-x", "messages": said, **fields}).encode()


def completion(text: str) -> bytes:
    """Return a response body of OpenAI's."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {"id": "chatcmpl-1", "model": "gpt-x-1", "choices": [choice], "usage": usage}
    ).encode()


def chunks(*texts: str, finish: bool = True, done: bool = True) -> list[bytes]:
    """Return the events of a stream of OpenAI's."""
    deltas: list[Any] = [{"delta": {"content": text}, "finish_reason": None} for text in texts]
    if finish:
        deltas.append({"delta": {}, "finish_reason": "stop"})
    events = [
        {"id": "chatcmpl-1", "model": "gpt-x-1", "choices": [{"index": 0, **delta}]}
        for delta in deltas
    ]
    written = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return [*written, b"data: [DONE]\n\n"] if done else written


def message_events(*texts: str, stop: bool = True) -> list[bytes]:
    """Return the events of a stream of Anthropic's."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
             "model": "claude-x-1", "usage": {"input_tokens": 3, "output_tokens": 1}}  # fmt: skip
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    for text in texts:
        delta = {"type": "text_delta", "text": text}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events.append({"type": "content_block_stop", "index": 0})
    ended = {"stop_reason": "end_turn"}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 5}})
    if stop:
        events.append({"type": "message_stop"})
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


class Seen:
    """An interceptor that keeps every finished exchange."""

    def __init__(self, *, wants_raw_stream: bool = False) -> None:
        self.exchanges: list[Exchange] = []
        self.wants_raw_stream = wants_raw_stream
        self.needs_body = True

    def exchange_finished(self, exchange: Exchange) -> None:
        """Keep it."""
        self.exchanges.append(exchange)

    @property
    def response(self) -> Response:
        """The response of the newest exchange."""
        response = self.exchanges[-1].response
        assert response is not None
        return response


class House:
    """A gateway with clocks that stand still and interceptors of the test's own."""

    def __init__(
        self, *interceptors: object, settings: DetectionSettings | None = None, **options: Any
    ) -> None:
        self.telemetry = Telemetry()
        self.clock, self.monotonic = ManualClock(), ManualClock(50.0)
        named = [(f"interceptor {n}", each) for n, each in enumerate(interceptors)]
        self.gateway = Gateway(
            settings or DetectionSettings(),
            secret=b"a secret for tests only",
            interceptors=InterceptorChain(named, self.telemetry),
            telemetry=self.telemetry,
            clock=self.clock,
            monotonic=self.monotonic,
            **options,
        )

    async def begin(self, *messages: Any, path: str = CHAT, **fields: Any) -> Transit:
        """Send a request and return it in transit."""
        return await self.gateway.begin(head(path), asked(*messages, **fields))

    async def ask(self, *messages: Any, reply: str = "Fine.") -> SessionTag:
        """Send a request, get its whole reply, and return the tag."""
        transit = await self.begin(*messages)
        transit.response_started(200, JSON)
        transit.feed(completion(reply))
        transit.finish()
        return tag(transit)


def tag(transit: Transit) -> SessionTag:
    """Return the session of a request that must have one."""
    assert transit.exchange.session is not None
    return transit.exchange.session


def length(body: bytes) -> Headers:
    """Return the headers of a response that announces its length."""
    return (*JSON, ("Content-Length", str(len(body))))


def feed(transit: Transit, pieces: Iterable[bytes]) -> None:
    """Let pieces of a response pass by."""
    for piece in pieces:
        transit.feed(piece)


_numbers = count()


async def followed(house: House, reply: str = "Hello!", path: str = CHAT) -> str:
    """Return how detection sees a request, never sent before, that goes on from a reply to “hi”."""
    more = f"more {next(_numbers)}"
    return tag(await house.begin("hi", assistant(reply), more, path=path)).relation
