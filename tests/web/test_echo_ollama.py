"""The embedded upstream, asked with Ollama's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from gateway_sessions.web.echo import echo_application

ollama = pytest.importorskip("ollama")

PROPERTIES = {"place": {"type": "string"}}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": PROPERTIES},
    },
}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Any]:
    async with TestServer(echo_application()) as server:
        made = ollama.AsyncClient(host=str(server.make_url("/")))
        yield made
        await made._client.aclose()


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def test_chat(client: Any) -> None:
    first = await client.chat(model="m", messages=[user("Hello")])
    assert first.message.content == "You said: “Hello”. This is turn 1 of our conversation."
    assert (first.model, first.done, first.done_reason) == ("m", True, "stop")
    assert first.prompt_eval_count > 0
    history = [user("Hello"), first.message, user("And now?")]
    second = await client.chat(model="m", messages=history)
    assert second.message.content == (
        "You said: “And now?”. This is turn 2 of our conversation, which began with “Hello”."
    )


async def test_chat_stream(client: Any) -> None:
    whole = await client.chat(model="m", messages=[user("hi")])
    lines = [line async for line in await client.chat(
        model="m", messages=[user("hi")], stream=True
    )]  # fmt: skip
    assert len(lines) > 3
    assert "".join(line.message.content for line in lines) == whole.message.content
    assert [line.done for line in lines[-2:]] == [False, True]
    assert lines[-1].eval_count == whole.eval_count


@pytest.mark.parametrize("streamed", [True, False])
async def test_tools(client: Any, *, streamed: bool) -> None:
    asked = user("Use the tool")
    if streamed:
        lines = await client.chat(model="m", messages=[asked], tools=[TOOL], stream=True)
        (message,) = [line.message async for line in lines if line.message.tool_calls]
    else:
        message = (await client.chat(model="m", messages=[asked], tools=[TOOL])).message
    (call,) = message.tool_calls
    assert call.function.name == "get_weather"
    assert call.function.arguments == {"place": "Use the tool"}
    result = {"role": "tool", "tool_name": "get_weather", "content": "12 °C"}
    after = await client.chat(model="m", messages=[asked, message, result], tools=[TOOL])
    assert after.message.content == "The tool get_weather answered: “12 °C”."


async def test_generate(client: Any) -> None:
    whole = await client.generate(model="m", prompt="hi")
    assert whole.response == "You said: “hi”. This is turn 1 of our conversation."
    lines = [line async for line in await client.generate(model="m", prompt="hi", stream=True)]
    assert "".join(line.response for line in lines) == whole.response


async def test_errors(client: Any) -> None:
    with pytest.raises(ollama.ResponseError) as raised:
        await client.chat(model="m", messages=[{"role": "nobody", "content": "hi"}])
    assert raised.value.status_code == 400
    assert "role" in raised.value.error
