"""The real openai SDK through the real gateway to the embedded upstream, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.web.harness import Running, gateway

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    async with gateway("builtin://echo") as gw:
        yield gw


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        api_key="sk-test", base_url=f"http://127.0.0.1:{running.port}/v1", max_retries=0
    ) as made:
        yield made


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def test_a_conversation_is_one_session(running: Running, client: openai.AsyncOpenAI) -> None:
    messages: list[Any] = []
    for text in ("hello", "and what is a monad?", "thanks"):
        messages.append(user(text))
        reply = await client.chat.completions.create(model="m", messages=messages)
        messages.append(reply.choices[0].message.model_dump(exclude_none=True))
    tags = [exchange.session for exchange in await running.exchanges(3)]
    assert [tag.relation for tag in tags if tag] == ["first", "continue", "continue"]
    assert len({tag.session_id for tag in tags if tag}) == 1


async def test_a_stream(running: Running, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="m",
        messages=[user("say this")],
        stream=True,
        stream_options={"include_usage": True},
    )
    said, usage = "", None
    async for chunk in stream:
        said += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert "say this" in said
    assert usage is not None
    (exchange,) = await running.exchanges()
    assert exchange.response is not None
    assert exchange.response.streamed
    assert exchange.response.usage is not None
    assert exchange.response.usage.output_tokens == usage.completion_tokens
    assert said.encode() in exchange.response.body


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_loop_stays_in_its_session(
    running: Running, client: openai.AsyncOpenAI, streamed: bool
) -> None:
    messages: list[Any] = [user("get_weather in Paris")]
    if streamed:
        async with client.chat.completions.stream(
            model="m", messages=messages, tools=TOOLS
        ) as stream:
            reply: Any = await stream.get_final_completion()
    else:
        reply = await client.chat.completions.create(model="m", messages=messages, tools=TOOLS)
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
    ]
    messages += [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    final = await client.chat.completions.create(model="m", messages=messages, tools=TOOLS)
    assert final.choices[0].finish_reason == "stop"
    first, second = [exchange.session for exchange in await running.exchanges(2)]
    assert first is not None
    assert second is not None
    assert (second.relation, second.session_id) == ("continue", first.session_id)


async def test_an_error_of_the_provider_is_the_sdks_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as error:
        await client.chat.completions.create(
            model="m", messages=[user("hi")], extra_headers={"x-echo-status": "429"}
        )
    assert error.value.response.headers["retry-after"]
    assert error.value.response.headers["x-gateway-session-id"].startswith("sess_")


async def test_the_sdks_retry_is_the_same_session(running: Running) -> None:
    url = f"http://127.0.0.1:{running.port}/v1"
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=url, max_retries=1) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model="m", messages=[user("hi")], extra_headers={"x-echo-status": "500"}
            )
    tags = [exchange.session for exchange in await running.exchanges(2)]
    assert [tag.relation for tag in tags if tag] == ["first", "retry"]
    assert len({tag.session_id for tag in tags if tag}) == 1


async def test_leaving_a_stream_is_recorded(running: Running, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="m",
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
    assert exchange.response.body


async def test_other_endpoints_pass_without_a_session(client: openai.AsyncOpenAI) -> None:
    response = await client.models.with_raw_response.list()
    assert response.status_code == 200
    assert "x-gateway-session-id" not in response.headers


async def test_a_gateway_without_its_upstream_is_the_sdks_error() -> None:
    async with gateway("http://127.0.0.1:9") as gw:
        url = f"http://127.0.0.1:{gw.port}/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as error:
                await client.chat.completions.create(model="m", messages=[user("hi")])
    assert error.value.status_code == 502
    assert "127.0.0.1:9" in str(error.value)


@pytest.mark.parametrize("streamed", [False, True])
async def test_responses_that_name_the_one_before(
    running: Running, client: openai.AsyncOpenAI, *, streamed: bool
) -> None:
    previous: Any = openai.omit
    reply: Any
    for text in ("hello", "and now?"):
        if streamed:
            async with client.responses.stream(
                model="m", input=text, previous_response_id=previous
            ) as stream:
                reply = await stream.get_final_response()
        else:
            reply = await client.responses.create(
                model="m", input=text, previous_response_id=previous
            )
        previous = reply.id
    tags = [exchange.session for exchange in await running.exchanges(2)]
    assert [(tag.relation, tag.source) for tag in tags if tag] == [
        ("first", "new"),
        ("continue", "response_id"),
    ]
    assert len({tag.session_id for tag in tags if tag}) == 1
