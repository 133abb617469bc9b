"""The real google-genai SDK through the real gateway to the embedded upstream, over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiohttp import ClientSession
from google import genai
from google.genai import types

from tests.web.harness import Running, gateway


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    async with gateway("builtin://echo") as gw:
        yield gw


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[Any]:
    async with ClientSession() as session:
        # The session that it would make itself is one that aiohttp warns of.
        options = types.HttpOptions(
            base_url=f"http://127.0.0.1:{running.port}/", aiohttp_client=session
        )
        with genai.Client(api_key="k", http_options=options) as made:
            yield made.aio


async def relations(running: Running, count: int) -> list[str]:
    tags = [exchange.session for exchange in await running.exchanges(count)]
    assert len({tag.session_id for tag in tags if tag}) == 1
    return [tag.relation for tag in tags if tag]


async def test_a_conversation_is_one_session(running: Running, client: Any) -> None:
    chat = client.chats.create(model="m")
    assert "turn 1" in (await chat.send_message("Hello")).text
    assert "turn 2" in (await chat.send_message("And now?")).text
    assert await relations(running, 2) == ["first", "continue"]


async def test_a_streamed_conversation_is_one_session(running: Running, client: Any) -> None:
    chat = client.chats.create(model="m")
    for text in ("Hello", "And now?"):
        pieces = [chunk.text or "" async for chunk in await chat.send_message_stream(text)]
        assert len(pieces) > 2
    assert await relations(running, 2) == ["first", "continue"]
