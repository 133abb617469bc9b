"""Limits of sessions, over a real gateway, as an SDK sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway_sessions.app import Running, start
from gateway_sessions.config import load


@asynccontextmanager
async def gateway(folder: Path, **limits: Any) -> AsyncIterator[Running]:
    running = await start(
        load(
            {
                "server": {"port": 0},
                "state_directory": str(folder),
                "session_recording": {"enabled": False},
                "interceptors": [],
                "logging": {"file": None},
                "rate_limiting": {"per_session": limits},
            }
        )
    )
    try:
        yield running
    finally:
        await running.stop(None)


async def test_an_sdk_gets_an_error_of_its_own_kind_and_other_sessions_go_on(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, requests_per_minute=1) as running:
        client = openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="sk-x", max_retries=0)
        async with client:
            opening = [{"role": "user", "content": "Tell me about rivers."}]
            first = await client.chat.completions.create(model="echo", messages=opening)  # type: ignore[arg-type]
            answer = first.choices[0].message.content
            more = [
                *opening,
                {"role": "assistant", "content": answer},
                {"role": "user", "content": "And about lakes."},
            ]
            with pytest.raises(openai.RateLimitError) as refused:
                await client.chat.completions.create(model="echo", messages=more)  # type: ignore[arg-type]
            headers = refused.value.response.headers
            assert 1 <= int(headers["retry-after"]) <= 61
            assert headers["x-ratelimit-limit-requests"] == "1"
            assert headers["x-ratelimit-remaining-requests"] == "0"
            assert headers["x-gateway-session-id"].startswith("sess_")
            assert "1 requests within a minute" in str(refused.value)
            other = [{"role": "user", "content": "Something else entirely."}]
            await client.chat.completions.create(model="echo", messages=other)  # type: ignore[arg-type]


async def test_without_limits_nothing_is_in_the_way(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        interceptors = running.assembly.gateway.interceptors
        assert not interceptors.needs_request_hook
