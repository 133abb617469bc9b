"""The embedded upstream, asked with Google's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from gateway_sessions.web.echo import echo_application

genai = pytest.importorskip("google.genai")
types, errors = genai.types, pytest.importorskip("google.genai.errors")


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Any]:
    async with TestServer(echo_application()) as server, ClientSession() as session:
        # The session that it would make itself is one that aiohttp warns of.
        options = types.HttpOptions(base_url=str(server.make_url("/")), aiohttp_client=session)
        with genai.Client(api_key="k", http_options=options) as made:
            yield made.aio


def tool() -> Any:
    place = types.Schema(type=types.Type.STRING)
    schema = types.Schema(type=types.Type.OBJECT, properties={"place": place})
    function = types.FunctionDeclaration(name="get_weather", parameters=schema)
    return types.Tool(function_declarations=[function])


async def test_content(client: Any) -> None:
    chat = client.chats.create(model="m")
    first = await chat.send_message("Hello")
    assert first.text == "You said: “Hello”. This is turn 1 of our conversation."
    assert first.usage_metadata is not None
    assert (first.model_version, first.candidates[0].finish_reason) == ("m", "STOP")
    second = await chat.send_message("And now?")
    assert second.text == (
        "You said: “And now?”. This is turn 2 of our conversation, which began with “Hello”."
    )


async def test_stream(client: Any) -> None:
    whole = await client.models.generate_content(model="m", contents="hi")
    stream = await client.models.generate_content_stream(model="m", contents="hi")
    pieces = [chunk.text or "" async for chunk in stream]
    assert len(pieces) > 2
    assert "".join(pieces) == whole.text


@pytest.mark.parametrize("streamed", [True, False])
async def test_tools(client: Any, *, streamed: bool) -> None:
    chat = client.chats.create(model="m", config=types.GenerateContentConfig(tools=[tool()]))
    if streamed:
        chunks = [chunk async for chunk in await chat.send_message_stream("Use the tool")]
        (call,) = chunks[-1].function_calls
    else:
        (call,) = (await chat.send_message("Use the tool")).function_calls
    assert (call.name, call.args) == ("get_weather", {"place": "Use the tool"})
    result = types.Part.from_function_response(name=call.name, response={"result": "12 °C"})
    after = await chat.send_message(result)
    assert after.text == "The tool get_weather answered: “12 °C”."


async def test_errors(client: Any) -> None:
    options = types.HttpOptions(headers={"x-echo-status": "429"})
    config = types.GenerateContentConfig(http_options=options)
    with pytest.raises(errors.ClientError) as raised:
        await client.models.generate_content(model="m", contents="hi", config=config)
    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
