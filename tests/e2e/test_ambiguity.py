"""Requests that fit several sessions, from the wire to the counters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway_sessions import app
from gateway_sessions.config import load


class People:
    """Several people who chat through one gateway."""

    def __init__(self, url: str, session: ClientSession) -> None:
        """Send to a gateway."""
        self.url = url
        self.session = session

    async def say(
        self, *history: dict[str, str], text: str, agent: str = "chat/1"
    ) -> tuple[str, str, list[dict[str, str]]]:
        """Say something; return the session, the relation, and the history with the reply."""
        messages = [*history, {"role": "user", "content": text}]
        async with self.session.post(
            f"{self.url}/v1/chat/completions",
            json={"model": "m", "messages": messages},
            headers={"User-Agent": agent},
        ) as response:
            body = await response.json()
            headers = response.headers
        reply = {"role": "assistant", "content": body["choices"][0]["message"]["content"]}
        session, relation = headers["X-Gateway-Session-Id"], headers["X-Gateway-Session-Relation"]
        return session, relation, [*messages, reply]

    async def metrics(self) -> str:
        """Return what Prometheus would read."""
        async with self.session.get(f"{self.url}/metrics?format=prometheus") as response:
            return await response.text()


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    blocks: dict[str, Any] = {
        "server": {"port": 0},
        "interceptors": [],
        "state_directory": str(tmp_path),
        "logging": {"file": None},
    }
    running = await app.start(load(blocks, environ={}))
    async with ClientSession() as session:
        yield People(running.url, session)
    await running.stop()


async def test_a_toss_up_is_counted_and_the_next_turns_are_none(people: People) -> None:
    one, _, history = await people.say(text="hi")
    other, _, same = await people.say(text="hi")
    assert one != other
    assert history == same
    assert "gateway_sessions_sessions_ambiguous_total 0.0" in await people.metrics()
    session, relation, longer = await people.say(*history, text="a poem")
    assert (session, relation) == (one, "continue")
    assert "gateway_sessions_sessions_ambiguous_total 1.0" in await people.metrics()
    assert (await people.say(*longer, text="another"))[0] == one
    assert (await people.say(*history, text="a recipe"))[0] == other
    assert "gateway_sessions_sessions_ambiguous_total 1.0" in await people.metrics()


async def test_hints_leave_nothing_to_toss(people: People) -> None:
    one, _, history = await people.say(text="hi", agent="a/1")
    other, _, _ = await people.say(text="hi", agent="b/1")
    assert (await people.say(*history, text="x", agent="b/1"))[0] == other
    assert (await people.say(*history, text="y", agent="a/1"))[0] == one
    assert "gateway_sessions_sessions_ambiguous_total 0.0" in await people.metrics()


async def test_why_sessions_are_new_is_counted(people: People) -> None:
    *_, history = await people.say(text="hi")
    await people.say(*history, text="Start over!")
    await people.say(text="hello")
    invented = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    await people.say(*invented, text="c")
    text = await people.metrics()
    for reason in ("first_request", "reset_phrase", "count_drop", "no_match"):
        assert f'gateway_sessions_sessions_started_total{{reason="{reason}"}} 1.0' in text
