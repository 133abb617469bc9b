"""Sample conversations for the demonstration: what clients send, and what a person would see.

Each conversation is a script over one chat program.  The scripts take turns, so that the
gateway sees interleaved traffic, always in the same order.  They need the embedded upstream
``builtin://echo``, which calls a tool that is named and fails on request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import aiohttp

from gateway_sessions.sample_clients import AnthropicClient, OpenAIClient, SampleExchange

__all__ = ["LEAD", "SCRIPTS", "SampleExchange", "run_samples"]

Steps = AsyncIterator[SampleExchange]
Openai = Callable[..., OpenAIClient]
"""Makes a client; takes its name and the options of `OpenAIClient`."""
Anthropic = Callable[..., AnthropicClient]

LEAD = "lead agent"
"""The conversation whose agent has sub-agents."""

_WEATHER = {
    "name": "get_weather",
    "description": "Current weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
_RUN_TESTS = {
    "name": "run_tests",
    "description": "Runs the tests of the project and returns what failed.",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
}


_TASK = {
    "name": "task",
    "description": "Hands a task to an assistant of its own and returns what it found.",
    "parameters": {"type": "object", "properties": {"prompt": {"type": "string"}}},
}
_JOBS = (
    "Task: run_tests of the parser and say what fails.",
    "Task: run_tests of the web part and say what fails.",
)


async def _plain(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("cooking")
    yield await chat.say("How long do I boil an egg?")
    yield await chat.say("And if I want it soft?")
    yield await chat.say("Does the size matter?")


async def _same_opening_ann(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("hello, from Ann", agent="demo-web/1.0 (Ann's laptop)")
    yield await chat.say("hi")
    yield await chat.say("Which train goes to Porto on Sunday?")


async def _same_opening_ben(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("hello, from Ben", agent="demo-web/1.0 (Ben's phone)")
    yield await chat.say("hi")
    yield await chat.say("What can I plant in November?")


async def _retry(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("retry")
    yield await chat.say("Name a river in Spain.")
    yield await chat.say("How long is it?", "asks, gets a 503", fail_with=503)
    yield await chat.send("sends it again")


async def _regenerate(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("regenerate")
    yield await chat.say("Write a line about the sea.")
    yield await chat.say("Now one about the sky.")
    chat.history.pop()
    yield await chat.send("asks for another answer")


async def _edit(_: Openai, anthropic: Anthropic) -> Steps:
    chat = anthropic("edited message")
    yield await chat.say("Plan a day in Rome.")
    yield await chat.say("Add a museum in the afternoon.")
    del chat.history[-2:]
    yield await chat.say("Add a park in the afternoon.", "rewrites the last question")


async def _window(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("sliding window")
    yield await chat.say("Let us play a quiz. Ask me about planets.")
    yield await chat.say("Mercury!")
    yield await chat.say("Then it must be Venus.")
    yield await chat.say("Is Pluto one of them?", "sends the last 3 messages only", last=3)
    yield await chat.say("My last guess is Neptune.", "sends the last 3 messages only", last=3)


async def _agent(_: Openai, anthropic: Anthropic) -> Steps:
    chat = anthropic(
        "coding agent",
        agent="demo-agent/2.1",
        stream=True,
        tools=[_RUN_TESTS],
        system="You repair programs. Use the tools.",
    )
    yield await chat.say("Call run_tests and repair what fails.", "gives a task")
    yield await chat.give("2 failed: test_total, test_rounding")
    yield await chat.say("Say in one line what was wrong.")


async def _sub_agents(_: Openai, anthropic: Anthropic) -> Steps:
    """An agent that has others work for it: they get its words, and it gets theirs."""
    agent = {"agent": "demo-agent/2.1", "stream": True}
    lead = anthropic(LEAD, tools=[_TASK], system="You hand out work.", **agent)
    for number, job in enumerate(_JOBS):
        yield await lead.say(job, "gives a task")
        helper = anthropic(
            f"sub-agent {number + 1}", tools=[_RUN_TESTS], system="You test.", **agent
        )
        yield await helper.say(job, "a sub-agent starts")
        yield await helper.give(f"{number} failed")
        yield await lead.give(helper.last_words(), "gets what the sub-agent found")


async def _tool(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("weather tool", tools=[_WEATHER])
    yield await chat.say("Ask get_weather if I need an umbrella in Oslo.")
    yield await chat.give('{"rain": true, "celsius": 7}')


async def _streaming(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("streaming", stream=True)
    yield await chat.say("Tell me a story about a lighthouse.")
    yield await chat.say("Who keeps the light?")


async def _explicit(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("client's own id", headers={"x-litellm-session-id": "ticket-4711"})
    yield await chat.say("My order has not arrived.")
    chat.history.clear()
    yield await chat.say("It was order 20-331.", "forgets the history, keeps its id")


async def _reset(openai: Openai, _: Anthropic) -> Steps:
    chat = openai("start over")
    yield await chat.say("Help me to name a cat.")
    yield await chat.say("It is grey.")
    chat.thread = "start over, second part"
    yield await chat.say("Start over: now it is a dog.", 'says "start over"')
    yield await chat.say("It is brown.")


async def _tenant(openai: Openai, _: Anthropic, *, city: str) -> Steps:
    chat = openai(f"customer {city}", key=f"sk-demo-{city.lower()}")
    yield await chat.say("How do I return a parcel?")
    yield await chat.say("And without the receipt?")


SCRIPTS: tuple[Callable[[Openai, Anthropic], Steps], ...] = (
    _plain,
    _same_opening_ann,
    _same_opening_ben,
    _retry,
    _regenerate,
    _edit,
    _window,
    _agent,
    _sub_agents,
    _tool,
    _streaming,
    _explicit,
    _reset,
    partial(_tenant, city="East"),
    partial(_tenant, city="West"),
)
"""All sample conversations, in the order in which they take turns."""


async def run_samples(
    url: str, on_exchange: Callable[[SampleExchange], None] = lambda _: None
) -> list[SampleExchange]:
    """Hold all sample conversations through the gateway at ``url``; return every exchange.

    ``on_exchange`` is called after each one, for a progress bar.  Raises
    `aiohttp.ClientError` if the gateway can not be reached.
    """
    done: list[SampleExchange] = []
    async with aiohttp.ClientSession() as http:
        clients: tuple[Any, Any] = (
            partial(OpenAIClient, http, url),
            partial(AnthropicClient, http, url),
        )
        running = [script(*clients) for script in SCRIPTS]
        while running:
            for steps in list(running):
                exchange = await anext(steps, None)
                if exchange is None:
                    running.remove(steps)
                else:
                    done.append(exchange)
                    on_exchange(exchange)
    return done
