"""Chat programs for the sample conversations: small clients that keep their own history.

They know nothing of sessions, as real ones do not; what the gateway says about each request
comes back in a `SampleExchange`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp

from gateway_sessions.dialects.anthropic import Anthropic
from gateway_sessions.dialects.openai_chat import OpenAIChat

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SampleExchange:
    """One request of a sample conversation and what the gateway said about it."""

    conversation: str
    """The conversation's name."""
    thread: str
    """Equal in all exchanges that belong to one session, by the client's own knowledge."""
    step: str
    """What the client did, as ``asks`` or ``repeats it after a 503``."""
    dialect: str
    status: int
    session_id: str
    """The gateway's verdict, from its response headers; empty strings where it gave none."""
    relation: str
    source: str
    confidence: float


class OpenAIClient:
    """A program that speaks OpenAI's chat completions, and its one conversation."""

    dialect: ClassVar[str] = "openai_chat"
    path: ClassVar[str] = "/v1/chat/completions"

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        name: str,
        *,
        key: str = "sk-demo-north",
        agent: str = "demo-chat/1.0",
        headers: Mapping[str, str] | None = None,
        system: str = "You are a helpful assistant.",
        tools: Sequence[Json] = (),
        stream: bool = False,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._headers = {"User-Agent": agent, **self._credentials(key), **(headers or {})}
        self._system = system
        self._tools = tools
        self._stream = stream
        self.name = name
        self.thread = name
        self.history: list[Json] = []

    async def say(
        self, text: str, step: str = "asks", *, last: int | None = None, fail_with: int = 0
    ) -> SampleExchange:
        """Add a user message to the history and `send` it."""
        self.history.append({"role": "user", "content": text})
        return await self.send(step, last=last, fail_with=fail_with)

    async def send(
        self, step: str, *, last: int | None = None, fail_with: int = 0
    ) -> SampleExchange:
        """Send the history (or its last messages only) and append the answer to it.

        ``fail_with`` makes the embedded upstream fail with that status.
        """
        headers = self._headers | ({"x-echo-status": str(fail_with)} if fail_with else {})
        messages = self.history if last is None else self.history[-last:]
        async with self._http.post(
            self._url + self.path, json=self._body(messages), headers=headers
        ) as response:
            body = await response.read()
            tag = response.headers
        if response.status == 200:
            self.history.append(self._answer(body))
        return SampleExchange(
            conversation=self.name,
            thread=self.thread,
            step=step,
            dialect=self.dialect,
            status=response.status,
            session_id=tag.get("X-Gateway-Session-Id", ""),
            relation=tag.get("X-Gateway-Session-Relation", ""),
            source=tag.get("X-Gateway-Session-Source", ""),
            confidence=float(tag.get("X-Gateway-Session-Confidence", 0)),
        )

    def _credentials(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _body(self, messages: Sequence[Json]) -> Json:
        system = {"role": "system", "content": self._system}
        request: Json = {"model": "gpt-4o-mini", "messages": [system, *messages]}
        if self._tools:
            request["tools"] = [{"type": "function", "function": tool} for tool in self._tools]
        return request | ({"stream": True} if self._stream else {})

    def _answer(self, body: bytes) -> Json:
        if self._stream:
            assembler = OpenAIChat().assembler()
            assembler.feed(body)
            body = assembler.reply().body
        message: Json = json.loads(body)["choices"][0]["message"]
        return message

    async def give(self, output: str, step: str = "returns the tool's output") -> SampleExchange:
        """Answer the tool call of the last reply; raises `LookupError` if it made none."""
        self.history.append(self._tool_result(output))
        return await self.send(step)

    def last_words(self) -> str:
        """Return what was answered last."""
        content = self.history[-1]["content"]
        if isinstance(content, str):
            return content
        return "".join(block.get("text", "") for block in content)

    def _tool_result(self, output: str) -> Json:
        call = self.history[-1]["tool_calls"][0]
        return {"role": "tool", "tool_call_id": call["id"], "content": output}


class AnthropicClient(OpenAIClient):
    """The same program, speaking Anthropic's messages."""

    dialect: ClassVar[str] = "anthropic"
    path: ClassVar[str] = "/v1/messages"

    def _credentials(self, key: str) -> dict[str, str]:
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}

    def _body(self, messages: Sequence[Json]) -> Json:
        request: Json = {
            "model": "claude-sonnet-5",
            "max_tokens": 1024,
            "system": self._system,
            "messages": list(messages),
        }
        if self._tools:
            request["tools"] = [
                {
                    "name": tool["name"],
                    "description": tool["description"],
                    "input_schema": tool["parameters"],
                }
                for tool in self._tools
            ]
        return request | ({"stream": True} if self._stream else {})

    def _answer(self, body: bytes) -> Json:
        if self._stream:
            assembler = Anthropic().assembler()
            assembler.feed(body)
            body = assembler.reply().body
        return {"role": "assistant", "content": json.loads(body)["content"]}

    def _tool_result(self, output: str) -> Json:
        call = next(block for block in self.history[-1]["content"] if block["type"] == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": output}
        return {"role": "user", "content": [result]}
