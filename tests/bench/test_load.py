"""Load is what was asked for, and is counted right, with wrk and without."""

from __future__ import annotations

import shutil

import pytest
import uvloop

from bench import load, servers
from bench.bodies import CONVERSATIONS, turn


def test_our_own_client_counts_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with servers.helper("upstream") as url:
        found = load.run(url, turn(2, stream=False), seconds=0.2, connections=2)
    assert found.per_second > 10
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.failures == 0


@pytest.mark.needs("wrk", "apt-get install wrk")
def test_wrk_counts_and_times() -> None:
    with servers.helper("upstream") as url:
        found = load.run(url, turn(2, stream=False), seconds=1, connections=2)
    assert found.per_second > 10
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.failures == 0


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_byte_of_the_body_comes_before_its_end(stream: bool) -> None:
    async def ask(url: str) -> tuple[float, float, bool]:
        async with load.connect(url) as connection:
            await connection.ask(turn(2, stream=stream).next(1))
            return await connection.ask(turn(2, stream=stream).next(2))

    with servers.helper("upstream") as url:
        first, end, ok = uvloop.run(ask(url))
    assert ok
    assert 0 < first <= end
    if stream:
        assert end - first > servers.EVENT_INTERVAL_SECONDS


def test_every_conversation_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    ask = load.Connection.ask

    async def noted(self: load.Connection, body: bytes) -> tuple[float, float, bool]:
        asked.append(body)
        return await ask(self, body)

    monkeypatch.setattr(load.Connection, "ask", noted)
    made = turn(2, stream=False)
    with servers.helper("upstream") as url:
        load.open_conversations(url, made)
    assert sorted(asked) == sorted(made.first(number) for number in range(CONVERSATIONS))
