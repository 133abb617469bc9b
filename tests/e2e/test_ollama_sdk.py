"""The real ollama SDK through the real gateway to the embedded upstream, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
import pytest_asyncio

from tests.web.harness import Running, gateway


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    async with gateway("builtin://echo") as gw:
        yield gw


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_is_one_session(running: Running, *, streamed: bool) -> None:
    messages: list[Any] = []
    async with ollama.AsyncClient(host=f"http://127.0.0.1:{running.port}") as client:
        for text in ("Hello", "And now?"):
            messages.append({"role": "user", "content": text})
            if streamed:
                stream = await client.chat(model="m", messages=messages, stream=True)
                said = "".join([part.message.content or "" async for part in stream])
            else:
                said = (await client.chat(model="m", messages=messages)).message.content or ""
            messages.append({"role": "assistant", "content": said})
    tags = [exchange.session for exchange in await running.exchanges(2)]
    assert [tag.relation for tag in tags if tag] == ["first", "continue"]
    assert len({tag.session_id for tag in tags if tag}) == 1
