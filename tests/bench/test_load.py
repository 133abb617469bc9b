"""Load is what was asked for, and is counted right, with wrk and without."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil

import pytest
import uvloop

from bench import bodies, load, servers
from bench.bodies import REPLY_TEXT, talk
from bench.load import Talker


def test_our_own_client_counts_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with servers.helper("upstream") as server:
        found = Talker(server.url, talk(2, stream=False)).run(seconds=0.2, connections=2)
    assert found.per_second > 10
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.failures == 0


def test_requests_come_at_their_own_pace() -> None:
    with servers.helper("upstream") as server:
        talker = Talker(server.url, talk(2, stream=False))
        found = talker.pace(per_second=100, seconds=0.5, connections=4)
    assert talker.asked == 50
    assert found.per_second < 150
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.failures == 0


@pytest.mark.needs("wrk", "apt-get install wrk")
def test_wrk_counts_and_times() -> None:
    with servers.helper("upstream") as server:
        found = Talker(server.url, talk(2, stream=False)).run(seconds=1, connections=2)
    assert found.per_second > 10
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.failures == 0


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_byte_of_the_body_comes_before_its_end(stream: bool) -> None:
    async def ask(url: str) -> tuple[float, float, bool]:
        async with load.connect(url) as connection:
            await connection.ask(talk(2, stream=stream).request(1))
            return await connection.ask(talk(2, stream=stream).request(2))

    with servers.helper("upstream") as server:
        first, end, ok = uvloop.run(ask(server.url))
    assert ok
    assert 0 < first <= end
    if stream:
        assert end - first > servers.EVENT_INTERVAL_SECONDS


class _Heard:
    """What an upstream was asked, read from the log of a tiny server."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._open = 0
        self.idle = asyncio.Event()

    async def serve(self) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open += 1
            self.idle.clear()
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    self.bodies.append(await reader.readexactly(length))
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
                self._open -= 1
                if not self._open:
                    self.idle.set()

        return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.needs("wrk", "apt-get install wrk")
async def test_wrk_sends_the_very_requests_and_the_next_run_goes_on() -> None:
    heard = _Heard()
    server = await heard.serve()
    made = talk(2, stream=True)
    talker = Talker(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", made)
    for _ in range(2):
        await asyncio.to_thread(talker.run, 1, 2)
    server.close()
    await asyncio.wait_for(heard.idle.wait(), 30)
    assert len(heard.bodies) > 200
    expected = {made.request(number): number for number in range(talker.asked)}
    numbers = sorted(expected[body] for body in heard.bodies)
    assert numbers[0] == 0
    missing = set(range(talker.asked)) - set(numbers)
    assert len(missing) <= 2 * 2  # those under way at the end of a run
    assert any(REPLY_TEXT.encode() in body for body in heard.bodies)
    assert all(json.loads(body)["stream"] for body in heard.bodies[:10])


def test_warming_up_is_over_with_the_first_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(bodies, "GENERATION", 20)
    with servers.helper("upstream") as server:
        talker = Talker(server.url, talk(2, stream=False))
        talker.warm_up(2)
    assert talker.asked >= 20
