"""The real anthropic SDK through the real gateway to the embedded upstream, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import pytest_asyncio

from tests.web.harness import Running, gateway

TOOLS: Any = [
    {
        "name": "get_weather",
        "description": "The weather in a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    async with gateway("builtin://echo") as gw:
        yield gw


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        api_key="sk-ant-test", base_url=f"http://127.0.0.1:{running.port}", max_retries=0
    ) as made:
        yield made


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def ask(client: anthropic.AsyncAnthropic, messages: list[Any], **options: Any) -> Any:
    return await client.messages.create(model="m", max_tokens=100, messages=messages, **options)


async def test_a_conversation_is_one_session(
    running: Running, client: anthropic.AsyncAnthropic
) -> None:
    messages: list[Any] = []
    for text in ("hello", "and what is a monad?", "thanks"):
        messages.append(user(text))
        reply = await ask(client, messages, system="Be brief.")
        content = [block.model_dump(exclude_none=True) for block in reply.content]
        messages.append({"role": "assistant", "content": content})
    tags = [exchange.session for exchange in await running.exchanges(3)]
    assert [tag.relation for tag in tags if tag] == ["first", "continue", "continue"]
    assert len({tag.session_id for tag in tags if tag}) == 1


async def test_a_stream(running: Running, client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(
        model="m", max_tokens=100, messages=[user("say this")]
    ) as stream:
        said = "".join([text async for text in stream.text_stream])
        final = await stream.get_final_message()
    assert "say this" in said
    (exchange,) = await running.exchanges()
    assert exchange.response is not None
    assert exchange.response.streamed
    assert exchange.response.usage is not None
    assert exchange.response.usage.output_tokens == final.usage.output_tokens
    assert said.encode() in exchange.response.body


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_loop_stays_in_its_session(
    running: Running, client: anthropic.AsyncAnthropic, streamed: bool
) -> None:
    messages: list[Any] = [user("get_weather in Paris")]
    if streamed:
        async with client.messages.stream(
            model="m", max_tokens=100, messages=messages, tools=TOOLS
        ) as stream:
            reply: Any = await stream.get_final_message()
    else:
        reply = await ask(client, messages, tools=TOOLS)
    (call,) = [block for block in reply.content if block.type == "tool_use"]
    assert call.name == "get_weather"
    content = [block.model_dump(exclude_none=True) for block in reply.content]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    final = await ask(client, messages, tools=TOOLS)
    assert final.stop_reason == "end_turn"
    first, second = [exchange.session for exchange in await running.exchanges(2)]
    assert first is not None
    assert second is not None
    assert (second.relation, second.session_id) == ("continue", first.session_id)


async def test_an_error_of_the_provider_is_the_sdks_error(
    client: anthropic.AsyncAnthropic,
) -> None:
    with pytest.raises(anthropic.RateLimitError) as error:
        await ask(client, [user("hi")], extra_headers={"x-echo-status": "429"})
    assert error.value.response.headers["retry-after"]
    assert error.value.response.headers["x-gateway-session-id"].startswith("sess_")


async def test_leaving_a_stream_is_recorded(
    running: Running, client: anthropic.AsyncAnthropic
) -> None:
    stream = await client.messages.create(
        model="m",
        max_tokens=100,
        messages=[user("a long answer please " * 20)],
        stream=True,
        extra_headers={"x-echo-event-delay-ms": "50"},
    )
    async for _ in stream:
        break
    await stream.close()
    (exchange,) = await running.exchanges()
    assert exchange.response is not None
    assert exchange.response.error == "client_closed"


async def test_a_gateway_without_its_upstream_is_the_sdks_error() -> None:
    async with gateway("http://127.0.0.1:9") as gw:
        url = f"http://127.0.0.1:{gw.port}"
        async with anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client:
            with pytest.raises(anthropic.InternalServerError) as error:
                await ask(client, [user("hi")])
    assert error.value.status_code == 502
    assert "127.0.0.1:9" in str(error.value)
