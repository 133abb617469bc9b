"""The processes of a throughput run answer as they should."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from bench import servers
from bench.bodies import plain_reply, stream_events, talk


async def _post(url: str, stream: bool) -> tuple[int, bytes]:
    body = talk(2, stream=stream).request(1)
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/v1/chat/completions", data=body) as answer,
    ):
        return answer.status, await answer.read()


async def test_the_upstream_answers_plainly_and_as_a_stream() -> None:
    with servers.helper("upstream") as server:
        assert await _post(server.url, False) == (200, plain_reply())
        assert await _post(server.url, True) == (200, b"".join(stream_events()))


async def test_the_bare_proxy_passes_both_through() -> None:
    with servers.helper("upstream") as upstream, servers.helper("proxy", upstream.url) as server:
        assert await _post(server.url, False) == (200, plain_reply())
        assert await _post(server.url, True) == (200, b"".join(stream_events()))


@pytest.mark.needs("nginx", "apt-get install nginx-light")
async def test_nginx_gives_the_same_plain_answer() -> None:
    with servers.upstream(stream=False) as url:
        assert await _post(url, False) == (200, plain_reply())


def test_waiting_for_a_port_on_which_nothing_listens_ends() -> None:
    with pytest.raises(TimeoutError, match="nothing listens"):
        servers.wait_for(servers.free_port(), seconds=0.1)


def test_waiting_ends_when_something_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        servers.wait_for(server.getsockname()[1])
