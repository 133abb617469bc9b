"""Two workers say of the same traffic what one process says."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import ClientSession, TCPConnector

from gateway_sessions.sample_clients import AnthropicClient, OpenAIClient
from gateway_sessions.samples import SCRIPTS
from tests.cli.helpers import INSTALLED, Service, service

LOOP = "loop_recorded"
Verdict = tuple[str, str, str, str, float, int]
"""Conversation, step, relation, source, confidence, and which session, by first appearance."""


async def verdicts(url: str) -> list[Verdict]:
    """Hold the sample conversations, every request on a connection of its own."""
    found: list[Verdict] = []
    sessions: dict[str, int] = {}
    async with ClientSession(connector=TCPConnector(force_close=True)) as http:
        clients: tuple[Any, Any] = (
            partial(OpenAIClient, http, url),
            partial(AnthropicClient, http, url),
        )
        running = [script(*clients) for script in SCRIPTS]
        while running:
            for steps in list(running):
                one = await anext(steps, None)
                if one is None:
                    running.remove(steps)
                    continue
                number = sessions.setdefault(one.session_id, len(sessions))
                found.append(
                    (one.conversation, one.step, one.relation, one.source, one.confidence, number)
                )
    return found


def recorded(folder: Path) -> list[list[str]]:
    """Return the types of the events of every session, in order, sorted by what they are.

    Loops are left out: a change of one is recorded with the end of any exchange.
    """
    return sorted(
        [
            kind
            for line in path.read_text().splitlines()
            if (kind := json.loads(line)["type"]) != LOOP
        ]
        for path in (folder / ".gateway-sessions" / "sessions").glob("*/*.jsonl")
    )


async def said_by(workers: int, folder: Path) -> tuple[list[Verdict], list[list[str]]]:
    await asyncio.to_thread(folder.mkdir)
    setting = f"server.workers={workers}"
    with service("serve", "--port", "0", "--set", setting, cwd=folder, command=INSTALLED) as one:
        found = await verdicts(one.url)
        code, errors = one.stop(signal.SIGTERM)
    assert code == 0, errors
    assert "ERROR" not in errors
    return found, recorded(folder)


async def test_verdicts_and_records_are_those_of_one_process(tmp_path: Path) -> None:
    alone, alone_recorded = await said_by(1, tmp_path / "one")
    together, together_recorded = await said_by(2, tmp_path / "two")
    assert together == alone
    assert together_recorded == alone_recorded


def ask(gateway: Service, **headers: str) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        headers=headers,
        timeout=30,
    )


@pytest.mark.needs("promtool", "apt-get install prometheus")
def test_limits_hold_and_metrics_are_sums(tmp_path: Path) -> None:
    settings = ("--set", "rate_limiting.per_session.requests_per_minute=5")
    with service(
        *("serve", "--port", "0", "--set", "server.workers=2", *settings),
        cwd=tmp_path,
        command=INSTALLED,
    ) as gateway:
        named = {"x-litellm-session-id": "ticket-1"}
        statuses = [ask(gateway, **named).status_code for _ in range(12)]
        assert statuses == [200] * 5 + [429] * 7
        document = requests.get(f"{gateway.url}/metrics", timeout=30).json()
        assert document["requests"]["total"] == 12
        text = requests.get(f"{gateway.url}/metrics/prometheus", timeout=30).text
        gateway.stop(signal.SIGTERM)
    assert 'gateway_sessions_rate_limited_total{limit="requests"} 7.0' in text
    file = tmp_path / "metrics"
    file.write_text(text)
    with file.open() as metrics:
        done = subprocess.run(
            ["promtool", "check", "metrics"], stdin=metrics, capture_output=True, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
