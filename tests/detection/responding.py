"""A client of OpenAI's Responses API, which may leave its history with the provider."""

from __future__ import annotations

import json
from typing import Any

from gateway_sessions.conversation import Reply
from gateway_sessions.detection.detector import Sender
from gateway_sessions.dialects.openai_responses import OpenAIResponses
from gateway_sessions.exchange import SessionTag
from gateway_sessions.testing import Desk, Json
from gateway_sessions.tracker import Tracked

PATH = "/v1/responses"
DIALECT = OpenAIResponses()
BEGUN: Json = {"status": "in_progress", "output": []}


def output(text: str) -> Json:
    """Return a message among the items of a response."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}


def streamed(response: Json) -> list[bytes]:
    """Return the events of a stream; only the first and the last one hold the id."""
    text = response["output"][-1]["content"][0]["text"]
    item = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    events: list[Json] = [
        {"type": "response.created", "response": {**response, **BEGUN}},
        {"type": "response.output_item.added", "output_index": 0, "item": output("")},
        *({"type": "response.output_text.delta", "delta": letter, **item} for letter in text),
        {"type": "response.completed", "response": response},
    ]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


class Responder:
    """Sends requests of this dialect to a desk."""

    def __init__(self, desk: Desk, key: str = "key", **fields: Any) -> None:
        """Send with every request the fields that are given here."""
        self.desk = desk
        self.key = key
        self.fields = fields

    def send(self, said: str | list[Json] | None, **fields: Any) -> Tracked:
        """Send a request and return it, still unanswered."""
        body = {"model": "m", "input": said, **self.fields, **fields}
        headers = {"authorization": f"Bearer {self.key}", "user-agent": "tests/1"}
        read = DIALECT.read_request(json.dumps(body).encode(), PATH)
        sender = Sender(headers, PATH, "192.0.2.1")
        return self.desk.tracker.begin(read, sender, self.desk.clock())

    def answer(
        self, tracked: Tracked, name: str, *items: Json, stream: bool = False, cut: int = 0
    ) -> None:
        """Let a response with an id arrive, or what of its stream is left without the end."""
        response = {"id": name, "object": "response", "status": "completed", "output": list(items)}
        self.desk.clock.advance(1.0)
        if not stream:
            reply = DIALECT.read_reply(json.dumps(response).encode())
        else:
            reply = assembled(streamed(response)[: -cut or None])
        if reply.complete:
            self.desk.tracker.answered(tracked, reply, self.desk.clock())
        else:
            self.desk.tracker.failed(tracked, reply, self.desk.clock())

    def ask(
        self, said: str | list[Json], name: str, text: str = "Fine.", **fields: Any
    ) -> SessionTag:
        """Send a request and let it be answered with a text; return the tag of the request."""
        stream = bool(fields.get("stream"))
        tracked = self.send(said, **fields)
        self.answer(tracked, name, output(text), stream=stream)
        return tracked.tag()


def assembled(events: list[bytes]) -> Reply:
    """Return what a stream of events has brought."""
    assembler = DIALECT.assembler()
    for event in events:
        assembler.feed(event)
    return assembler.reply()
