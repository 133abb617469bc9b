"""The sample conversations show what they are meant to show, through a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway_sessions import app
from gateway_sessions.config import load
from gateway_sessions.samples import SCRIPTS, SampleExchange, run_samples

RELATIONS = {
    "cooking": ["first", "continue", "continue"],
    "hello, from Ann": ["first", "continue"],
    "hello, from Ben": ["first", "continue"],
    "retry": ["first", "continue", "retry"],
    "regenerate": ["first", "continue", "regenerate"],
    "edited message": ["first", "continue", "fork"],
    "sliding window": ["first", "continue", "continue", "continue", "continue"],
    "coding agent": ["first", "continue", "continue"],
    "lead agent": ["first", "continue", "continue", "continue"],
    "sub-agent 1": ["subagent", "continue"],
    "sub-agent 2": ["subagent", "continue"],
    "weather tool": ["first", "continue"],
    "streaming": ["first", "continue"],
    "client's own id": ["first", "continue"],
    "start over": ["first", "continue"],
    "start over, second part": ["reset", "continue"],
    "customer East": ["first", "continue"],
    "customer West": ["first", "continue"],
}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    config = {
        "server": {"port": 0},
        "state_directory": str(tmp_path),
        "interceptors": [],
        "logging": {"file": None},
    }
    running = await app.start(load(config, environ={}))
    yield running.url
    await running.stop()


async def test_every_thread_is_one_session_with_the_relations_it_was_made_for(url: str) -> None:
    seen: list[SampleExchange] = []
    exchanges = await run_samples(url, seen.append)
    assert seen == exchanges

    threads: dict[str, list[SampleExchange]] = {}
    for exchange in exchanges:
        threads.setdefault(exchange.thread, []).append(exchange)
    assert {
        name: [exchange.relation for exchange in members] for name, members in threads.items()
    } == RELATIONS
    sessions = {name: {e.session_id for e in members} for name, members in threads.items()}
    assert all(len(ids) == 1 for ids in sessions.values())
    assert len(set.union(*sessions.values())) == len(RELATIONS)


async def test_the_samples_cover_dialects_rules_and_a_failure(url: str) -> None:
    exchanges = await run_samples(url)
    assert {exchange.dialect for exchange in exchanges} == {"openai_chat", "anthropic"}
    assert {exchange.source for exchange in exchanges} == {
        "explicit",
        "new",
        "prefix",
        "anchor",
        "echo",
    }
    assert [e.step for e in exchanges if e.status != 200] == ["asks, gets a 503"]
    assert all(0 < exchange.confidence <= 1 for exchange in exchanges)


async def test_conversations_take_turns(url: str) -> None:
    exchanges = await run_samples(url)
    openings = [exchange.conversation for exchange in exchanges[: len(SCRIPTS)]]
    assert len(set(openings)) == len(SCRIPTS)


async def test_a_gateway_that_is_not_there_is_an_error() -> None:
    with pytest.raises(aiohttp.ClientError):
        await run_samples("http://127.0.0.1:9")
