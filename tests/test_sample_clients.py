"""The sample clients send what real ones send and take answers in either form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway_sessions.sample_clients import AnthropicClient, OpenAIClient
from gateway_sessions.web.echo import echo_handler

TOOL = {
    "name": "look_up",
    "description": "Looks a word up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
}


class Upstream:
    """The embedded upstream, with a record of what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[web.Request, dict[str, Any]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request, await request.json()))
        return await echo_handler(request)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    async with TestServer(application) as server:
        found.url = str(server.make_url("/"))
        yield found


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


BOTH = pytest.mark.parametrize("kind", [OpenAIClient, AnthropicClient])
STREAMS = pytest.mark.parametrize("stream", [False, True])
Kind = Callable[..., OpenAIClient]


@BOTH
@STREAMS
async def test_the_history_grows_by_question_and_answer(
    kind: Kind, stream: bool, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    chat = kind(http, upstream.url, "talk", stream=stream)
    first = await chat.say("hello there")
    await chat.say("and again")
    assert [message["role"] for message in chat.history] == ["user", "assistant"] * 2
    assert "hello there" in str(chat.history[1])
    assert "and again" in str(chat.history[3])
    assert first.status == 200
    assert first.session_id == ""  # no gateway, no session
    said = [m for m in upstream.asked[1][1]["messages"] if m["role"] != "system"]
    assert said == chat.history[:3]


@BOTH
@STREAMS
async def test_a_tool_call_is_answered(
    kind: Kind, stream: bool, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    chat = kind(http, upstream.url, "agent", stream=stream, tools=[TOOL])
    await chat.say("use look_up for me")
    await chat.give("a small bird")
    assert "a small bird" in chat.last_words()
    assert len(chat.history) == 4


@BOTH
async def test_a_failure_leaves_the_history_ready_to_be_sent_again(
    kind: Kind, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    chat = kind(http, upstream.url, "talk")
    failed = await chat.say("hello", fail_with=529)
    again = await chat.send("sends it again")
    assert (failed.status, again.status) == (529, 200)
    assert upstream.asked[0][1] == upstream.asked[1][1]


async def test_only_the_last_messages_are_sent_when_asked_for(
    http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    chat = OpenAIClient(http, upstream.url, "talk", system="Be brief.")
    await chat.say("one")
    await chat.say("two", last=1)
    assert upstream.asked[1][1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "two"},
    ]


async def test_each_dialect_shows_its_key_its_own_way(
    http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    for kind in (OpenAIClient, AnthropicClient):
        await kind(http, upstream.url, "talk", key="sk-x", headers={"X-More": "1"}).say("hi")
    openai, anthropic = (request.headers for request, _ in upstream.asked)
    assert openai["Authorization"] == "Bearer sk-x"
    assert anthropic["x-api-key"] == "sk-x"
    assert openai["X-More"] == anthropic["X-More"] == "1"
