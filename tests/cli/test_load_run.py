"""The load of ``bench``: conversations that grow, from processes that end."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from gateway_sessions.cli import load_run
from gateway_sessions.errors import StartError


async def test_load_on_the_embedded_upstream() -> None:
    with load_run.upstream() as url:
        load = await load_run.run(url, kilobytes=1, stream=False, seconds=0.1, connections=2)
    assert load.requests >= 2 * load_run.TURNS
    assert load.requests % load_run.TURNS == 0  # conversations are held to their end
    assert load.failed == 0
    with pytest.raises(aiohttp.ClientError):
        await load_run.run(url, kilobytes=0, stream=False, seconds=0.1, connections=1)


async def test_a_gateway_finds_the_sessions_of_the_load(tmp_path: Path) -> None:
    with load_run.upstream() as direct, load_run.gateway(direct, (), tmp_path) as url:
        load = await load_run.run(url, kilobytes=0, stream=True, seconds=0.1, connections=1)
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
            numbers = await answer.json()
    assert numbers["requests"]["total"] == load.requests
    assert numbers["sessions"]["total_created"] == load.requests / load_run.TURNS


def test_a_gateway_that_does_not_start_says_why(tmp_path: Path) -> None:
    options = ("--set", "interceptors=[{type: trace, config: {directory: /proc/x}}]")
    with (
        pytest.raises(StartError, match="/proc/x"),
        load_run.gateway("http://127.0.0.1:1", options, tmp_path),
    ):
        pass
