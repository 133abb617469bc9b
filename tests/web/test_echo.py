from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from gateway_sessions.dialects import dialect_for
from gateway_sessions.web.echo import MODEL, echo_application

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 2},
        "hourly": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "properties": {"lat": {"type": "number"}}},
        "other": {"type": "null"},
    },
}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
RESPONSES_TOOL: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA}
ANTHROPIC_TOOL: Any = {"name": "get_weather", "input_schema": SCHEMA}
ASKED = "Use the tool, please"
EXAMPLE = {
    "city": ASKED,
    "unit": "C",
    "days": 2,
    "hourly": True,
    "tags": [],
    "place": {"lat": 1},
    "other": None,
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[TestServer]:
    running = TestServer(echo_application())
    async with running:
        yield running


@pytest_asyncio.fixture
async def gpt(server: TestServer) -> AsyncIterator[openai.AsyncOpenAI]:
    url = str(server.make_url("/v1"))
    async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def claude(server: TestServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    url = str(server.make_url("/"))
    async with anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client:
        yield client


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def test_chat(gpt: openai.AsyncOpenAI) -> None:
    first = await gpt.chat.completions.create(model="m", messages=[user("  Hello\nthere ")])
    answer = first.choices[0].message
    assert answer.content == "You said: “Hello there”. This is turn 1 of our conversation."
    assert (first.model, first.choices[0].finish_reason) == ("m", "stop")
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    history = [user("Hello there"), answer.model_dump(exclude_none=True), user("And now?")]
    second = await gpt.chat.completions.create(model="m", messages=history)
    assert second.choices[0].message.content == (
        "You said: “And now?”. This is turn 2 of our conversation, which began with “Hello there”."
    )
    assert second.id != first.id


async def test_chat_gives_alternatives(gpt: openai.AsyncOpenAI) -> None:
    reply = await gpt.chat.completions.create(model="m", messages=[user("hi")], n=3)
    texts = [choice.message.content for choice in reply.choices]
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len(set(texts)) == 3


async def test_chat_stream(gpt: openai.AsyncOpenAI) -> None:
    whole = await gpt.chat.completions.create(model="m", messages=[user("hi")])
    stream = await gpt.chat.completions.create(
        model="m", messages=[user("hi")], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert len(pieces) > 2
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


async def test_chat_tools(gpt: openai.AsyncOpenAI) -> None:
    reply = await gpt.chat.completions.create(
        model="m", messages=[user(ASKED)], tools=[OPENAI_TOOL]
    )
    assert reply.choices[0].finish_reason == "tool_calls"
    answer = reply.choices[0].message
    assert answer.content is None
    (call,) = answer.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == EXAMPLE
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "12 °C"}
    messages = [user(ASKED), answer.model_dump(exclude_none=True), result]
    after = await gpt.chat.completions.create(model="m", messages=messages, tools=[OPENAI_TOOL])
    assert after.choices[0].message.content == "The tool get_weather answered: “12 °C”."


async def test_chat_tools_stream(gpt: openai.AsyncOpenAI) -> None:
    async with gpt.chat.completions.stream(
        model="m", messages=[user("get_weather now")], tools=[OPENAI_TOOL]
    ) as stream:
        final = await stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments)["city"] == "get_weather now"


async def test_chat_does_not_call_tools_unasked(gpt: openai.AsyncOpenAI) -> None:
    for text in ("hello", "toolbox", "get_weather_now"):
        reply = await gpt.chat.completions.create(
            model="m", messages=[user(text)], tools=[OPENAI_TOOL]
        )
        assert reply.choices[0].message.tool_calls is None


async def test_responses(gpt: openai.AsyncOpenAI) -> None:
    first = await gpt.responses.create(model="m", input="  Hello\nthere ")
    assert first.output_text == "You said: “Hello there”. This is turn 1 of our conversation."
    assert (first.model, first.status) == ("m", "completed")
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    history: Any = [user("Hello there"), *first.output, user("And now?")]
    second = await gpt.responses.create(model="m", input=history)
    assert second.output_text == (
        "You said: “And now?”. This is turn 2 of our conversation, which began with “Hello there”."
    )
    chained = await gpt.responses.create(model="m", input="So?", previous_response_id=first.id)
    assert chained.previous_response_id == first.id
    assert len({first.id, second.id, chained.id}) == 3


async def test_responses_stream(gpt: openai.AsyncOpenAI) -> None:
    whole = await gpt.responses.create(model="m", input="hi")
    stream = await gpt.responses.create(model="m", input="hi", stream=True)
    events = [event async for event in stream]
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(pieces) > 2
    assert "".join(pieces) == whole.output_text
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[0].response.id == events[-1].response.id
    assert events[-1].response.usage == whole.usage


@pytest.mark.parametrize("streamed", [True, False])
async def test_responses_tools(gpt: openai.AsyncOpenAI, *, streamed: bool) -> None:
    options: Any = {"model": "m", "tools": [RESPONSES_TOOL]}
    if streamed:
        async with gpt.responses.stream(input=ASKED, **options) as stream:
            reply: openai.types.responses.Response = await stream.get_final_response()
    else:
        reply = await gpt.responses.create(input=ASKED, **options)
    (call,) = reply.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == EXAMPLE
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "12 °C"}
    asked = call.model_dump(include={"type", "call_id", "name", "arguments"})
    history: Any = [user(ASKED), asked, result]
    after = await gpt.responses.create(input=history, **options)
    assert after.output_text == "The tool get_weather answered: “12 °C”."


async def test_messages(claude: anthropic.AsyncAnthropic) -> None:
    reply = await claude.messages.create(model="m", max_tokens=9, messages=[user("hi")])
    (block,) = reply.content
    assert block.type == "text"
    assert block.text == "You said: “hi”. This is turn 1 of our conversation."
    assert reply.stop_reason == "end_turn"
    assert reply.usage.output_tokens > 1


async def test_messages_stream(claude: anthropic.AsyncAnthropic) -> None:
    whole = await claude.messages.create(model="m", max_tokens=9, messages=[user("hi")])
    async with claude.messages.stream(model="m", max_tokens=9, messages=[user("hi")]) as stream:
        pieces = [piece async for piece in stream.text_stream]
        final = await stream.get_final_message()
    assert len(pieces) > 2
    assert final.content[0].to_dict() == whole.content[0].to_dict()
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.id != whole.id


@pytest.mark.parametrize("streamed", [True, False])
async def test_messages_tools(claude: anthropic.AsyncAnthropic, *, streamed: bool) -> None:
    options: Any = {"model": "m", "max_tokens": 9, "tools": [ANTHROPIC_TOOL]}
    if streamed:
        async with claude.messages.stream(messages=[user(ASKED)], **options) as stream:
            reply: anthropic.types.Message = await stream.get_final_message()
    else:
        reply = await claude.messages.create(messages=[user(ASKED)], **options)
    (block,) = reply.content
    assert block.type == "tool_use"
    assert block.input == EXAMPLE
    assert reply.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "12 °C"}
    call = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
    messages: Any = [
        user(ASKED),
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    after = await claude.messages.create(messages=messages, **options)
    (answer,) = after.content
    assert answer.type == "text"
    assert answer.text == "The tool get_weather answered: “12 °C”."


def sent_to(path: str, text: str, *, stream: bool) -> dict[str, Any]:
    """Return a request body that fits a path."""
    body: dict[str, Any] = {"model": "m", "tools": [ANTHROPIC_TOOL]}
    body |= {"stream": stream, "stream_options": {"include_usage": True}}
    if "models" in path:
        return body | {"contents": [{"parts": [{"text": text}]}]}
    if path.endswith("/generate"):
        return body | {"prompt": text, "tools": []}
    return body | {"messages": [user(text)], "input": text}


@pytest.mark.parametrize("text", ["hi", "a tool"])
@pytest.mark.parametrize(
    ("path", "streaming"),
    [
        ("/v1/chat/completions", ""),
        ("/v1/messages", ""),
        ("/v1/responses", ""),
        ("/api/chat", ""),
        ("/api/generate", ""),
        ("/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent"),
        ("/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse"),
    ],
)
async def test_streams_assemble_to_the_plain_answer(
    server: TestServer, path: str, streaming: str, text: str
) -> None:
    async with ClientSession() as client:
        sent = [sent_to(path, text, stream=stream) for stream in (False, True)]
        whole_response = await client.post(server.make_url(path), json=sent[0])
        response = await client.post(server.make_url(streaming or path), json=sent[1])
        plain, streamed = await whole_response.read(), await response.read()
    dialect = dialect_for("POST", path, ())
    assert dialect is not None
    assert dialect.streams(response.headers["Content-Type"], asked=True)
    assembler = dialect.assembler()
    assembler.feed(streamed)
    whole, rebuilt = dialect.read_reply(plain), assembler.reply()
    assert rebuilt.complete
    assert rebuilt.usage == whole.usage
    assert without_ids(rebuilt.body) == without_ids(plain)


RANDOM = ("id", "call_id", "responseId", "created", "created_at")


def without_ids(body: bytes) -> Any:
    def hook(value: dict[str, Any]) -> dict[str, Any]:
        return {key: item for key, item in value.items() if key not in RANDOM}

    return json.loads(body, object_hook=hook)


async def test_models(gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> None:
    assert [model.id async for model in gpt.models.list()] == [MODEL]
    assert [model.id async for model in claude.models.list()] == [MODEL]


async def test_wanted_errors(gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> None:
    headers = {"x-echo-status": "429"}
    with pytest.raises(openai.RateLimitError) as raised:
        await gpt.chat.completions.create(
            model="m", messages=[user("hi")], stream=True, extra_headers=headers
        )
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["retry-after"] == "1"
    with pytest.raises(anthropic.APIStatusError) as failed:
        await claude.messages.create(
            model="m", max_tokens=9, messages=[user("hi")], extra_headers={"x-echo-status": "529"}
        )
    assert failed.value.status_code == 529
    assert "overloaded_error" in str(failed.value)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b'{"messages": []}', {}),
        (b'{"messages": [{"role": "nobody"}]}', {}),
        (b'{"messages": [{"role": "user"}]}', {"x-echo-status": "bad"}),
        (b'{"messages": [{"role": "user"}]}', {"x-echo-delay-ms": "-5"}),
        (b'{"messages": [{"role": "user"}], "tools": [NaN]}', {}),
    ],
)
async def test_bad_requests(server: TestServer, body: bytes, headers: dict[str, str]) -> None:
    async with ClientSession() as client:
        url = server.make_url("/v1/chat/completions")
        response = await client.post(url, data=body, headers=headers)
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_silent_user_gets_an_answer_too(server: TestServer) -> None:
    async with ClientSession() as client:
        body = {"messages": [{"role": "user", "content": None}], "tools": [5, {}], "n": 10**9}
        response = await client.post(server.make_url("/v1/chat/completions"), json=body)
        reply = await response.json()
    assert reply["model"] == MODEL
    assert reply["choices"][0]["message"]["content"] == "You have not said anything yet."
    assert len(reply["choices"]) == 16


async def test_delays_are_kept(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("gateway_sessions.web.echo.asyncio.sleep", sleep)
    headers = {"x-echo-delay-ms": "500", "x-echo-event-delay-ms": "20"}
    body = {"messages": [user("hi")], "stream": True}
    async with ClientSession() as client:
        url = server.make_url("/v1/messages")
        response = await client.post(url, json=body, headers=headers)
        events = (await response.read()).count(b"\n\n")
    assert slept == [0.5] + [0.02] * events


async def test_other_paths(server: TestServer) -> None:
    async with ClientSession() as client:
        front = await client.get(server.make_url("/"))
        assert "echo" in await front.text()
        for method, path in (("POST", "/v1/embeddings"), ("GET", "/v1/messages"), ("PUT", "/")):
            response = await client.request(method, server.make_url(path))
            assert response.status == 404
            assert f"{method} {path}" in (await response.json())["error"]["message"]
