"""Conversations of every kind, held through a gateway, and what a provider answers to them.

`hold` has them all.  What `builtin://echo` can not do (thinking, audio, caches, refusals, broken
connections) is done by `answer`, for requests with an ``X-Script`` header.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientError, ClientSession

from gateway_sessions.sample_clients import OpenAIClient
from gateway_sessions.samples import run_samples
from tests.web.harness import CHAT, Connection, Received, response, stream

Json = dict[str, Any]
GEMINI = "/v1beta/models/gemini-2.5-pro:generateContent"
MESSAGES = "/v1/messages?beta=true"
SCRIPTED = {"x-to": "provider"}
"""The headers of requests that `answer` answers."""


def openai(message: Json, usage: Json | None = None, reason: str = "stop") -> bytes:
    """Return an answer in OpenAI's format."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    return json.dumps(answer | {"choices": [choice], "usage": usage or {}}).encode()


THOUGHT = openai(
    {"content": "42"},
    {
        "prompt_tokens": 1000,
        "completion_tokens": 600,
        "total_tokens": 1600,
        "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 20},
    },
)
CLAUDE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-20250514",
    "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Seven."}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 10,
        "output_tokens": 90,
        "cache_read_input_tokens": 2000,
        "cache_creation_input_tokens": 300,
    },
}
FLASH = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Blue."}]}, "finishReason": "STOP"}
    ],
    "modelVersion": "gemini-2.5-pro",
    "usageMetadata": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 50,
        "thoughtsTokenCount": 200,
        "totalTokenCount": 350,
    },
}
REFUSED = openai({"content": None, "refusal": "I can not."}, reason="content_filter")
BUSY = {"error": {"type": "server_error", "message": "The model is overloaded.", "code": "busy"}}
PIECES = [b'data: {"id":"c","model":"gpt-4o","choices":[{"delta":{"content":"%d"}}]}\n\n' % n
          for n in range(5)]  # fmt: skip
ANSWERS = {
    "openai": response(THOUGHT),
    "anthropic": response(json.dumps(CLAUDE).encode()),
    "gemini": response(json.dumps(FLASH).encode()),
    "refusal": response(REFUSED),
    "busy": response(json.dumps(BUSY).encode(), status="500 Internal Server Error"),
}


async def answer(connection: Connection, received: Received) -> None:
    """Answer as the request's script says."""
    (script,) = received.header("x-script")
    if script in {"cut", "abort"}:
        connection.writer.write(stream(*PIECES)[:-5])
        await connection.writer.drain()
        if script == "cut":
            connection.reset()
        return
    connection.writer.write(ANSWERS[script])
    await connection.writer.drain()


class Client:
    """Sends requests, and does not mind what becomes of them."""

    def __init__(self, http: ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def ask(self, path: str, body: Json, **headers: str) -> None:
        """Send a request and read what comes of it."""
        try:
            async with self._http.post(
                self._url + path, json=body, headers=_fields(headers)
            ) as got:
                await got.read()
        except ClientError:
            pass

    async def leave(self, path: str, body: Json, **headers: str) -> None:
        """Send a request and go away in the middle of its answer."""
        got = await self._http.post(self._url + path, json=body, headers=_fields(headers))
        await got.content.readany()
        got.close()


def _fields(headers: dict[str, str]) -> dict[str, str]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return fields | (SCRIPTED if "x-script" in fields else {})


def said(text: str, **fields: Any) -> Json:
    """Return a request in OpenAI's format."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}


async def hold(url: str) -> None:
    """Hold conversations of every kind."""
    await run_samples(url)
    async with ClientSession() as http:
        client = Client(http, url)
        await _of_providers(client)
        await _broken(client)
        await _long(http, url)
        await _tools(client)


async def _of_providers(client: Client) -> None:
    key = {"api_key": "azure", "user_agent": "tests/1"}
    azure = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    await client.ask(azure, said("How much?"), x_script="openai", **key)
    tagged = said("How many?", metadata={"tags": ["team-a"]})
    await client.ask(CHAT, tagged, x_script="openai", authorization="Bearer a")
    claude = {"model": "claude-sonnet-4-20250514", "max_tokens": 500} | said("Days?")
    claude["model"] = "claude-sonnet-4-20250514"
    version = {"anthropic_version": "2023-06-01", "x_api_key": "b"}
    await client.ask(MESSAGES, claude, x_script="anthropic", **version)
    await client.ask(CHAT, said("Go on."), x_session_id="parent")
    await client.ask(CHAT, said("Help."), x_session_id="child", x_parent_session_id="parent")
    sky = {"contents": [{"role": "user", "parts": [{"text": "Which colour has the sky?"}]}]}
    await client.ask(GEMINI, sky, x_script="gemini", x_goog_api_key="c")


async def _broken(client: Client) -> None:
    await client.ask(CHAT, said("Say what you must not."), x_script="refusal")
    await client.ask(CHAT, said("Are you there?"), x_script="busy")
    await client.ask(CHAT, said("Tell all.", stream=True), x_script="cut")
    await client.leave(CHAT, said("Tell more.", stream=True), x_script="abort")
    await client.ask(CHAT, said("Hello?"), x_script="gone")


async def _long(http: ClientSession, url: str) -> None:
    chat = OpenAIClient(http, url, "long")
    for number in range(11):
        await chat.say(f"number {number}")


async def _tools(client: Client) -> None:
    """A tool that fails, and one whose time the client tells."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "it"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True}
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body = {"model": "claude-sonnet-4-20250514", "max_tokens": 9, "messages": turns[:1]}
    await client.ask(MESSAGES, body, x_api_key="e", x_script="anthropic")
    await client.ask(MESSAGES, body | {"messages": turns}, x_api_key="e", x_script="anthropic")


async def fill(url: str, count: int, size: int) -> None:
    """Send so many requests of so many bytes."""
    async with ClientSession() as http, asyncio.timeout(30):
        client = Client(http, url)
        asked = (said(f"{number} " + "x" * size) for number in range(count))
        await asyncio.gather(*(client.ask(CHAT, body) for body in asked))
