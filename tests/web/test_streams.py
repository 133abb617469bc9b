"""In which order a response is shown to the transit and written to the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import hdrs
from multidict import CIMultiDict

from gateway_sessions.exchange import Headers
from gateway_sessions.web.streams import Tee


class Log:
    """A transit, a transport and a protocol that write down what they are told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.headers: Headers = ()
        self.transport = self
        self.writing_paused = False
        self.closing = False
        self.commit: asyncio.Event | None = None
        self.waits = asyncio.Event()

    def client_headers(self) -> Headers:
        return (("X-Tag", "1"), ("X-Other", "2"))

    def response_started(self, status: int, headers: Headers) -> None:
        self.headers = headers
        self.lines.append(f"started {status} {'; '.join(f'{n}={v}' for n, v in headers)}")

    def show(self, chunk: bytes) -> Awaitable[None] | None:
        self.lines.append(f"show {chunk.decode()}")
        return None if self.commit is None else self.committed()

    def end(self, error: str | None = None) -> Awaitable[None] | None:
        self.lines.append(f"end {error}")
        return None if self.commit is None else self.committed()

    @property
    def _paused(self) -> bool:
        return self.writing_paused

    async def committed(self) -> None:
        commit, self.commit = self.commit, None
        assert commit is not None
        self.waits.set()
        await commit.wait()

    async def _drain_helper(self) -> None:
        self.lines.append("drain")

    def write(self, data: bytes) -> None:
        self.lines.append(f"write {bytes(data).decode('latin-1')!r}")

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def tee(log: Log) -> Tee:
    request = SimpleNamespace(protocol=log, _loop=asyncio.get_running_loop())
    return Tee(cast("Any", request), cast("Any", log), lambda headers: headers[:1])


async def test_what_a_first_write_sets_is_there_from_the_start(log: Log, tee: Tee) -> None:
    before = vars(tee).keys()
    tee.relay_head(b"HEAD", chunked=True)
    await tee.relay_chunk(b"one")
    assert vars(tee).keys() == before


async def test_a_relayed_response(log: Log, tee: Tee) -> None:
    tee.relay_head(b"HEAD", chunked=True)
    assert tee.started
    await tee.relay_chunk(b"one")
    log.writing_paused = True
    await tee.relay_chunk(b"two")
    await tee.relay_end()
    assert log.lines == [
        "show one",
        "write 'HEAD3\\r\\none\\r\\n'",
        "show two",
        "write '3\\r\\ntwo\\r\\n'",
        "drain",
        "end None",
        "write '0\\r\\n\\r\\n'",
    ]


async def test_a_relayed_response_of_known_length(log: Log, tee: Tee) -> None:
    tee.relay_head(b"HEAD", chunked=False)
    await tee.relay_chunk(b"all")
    await tee.relay_end()
    assert log.lines == ["show all", "write 'HEADall'", "end None"]


async def test_a_head_can_leave_before_its_body(log: Log, tee: Tee) -> None:
    tee.relay_head(b"HEAD", chunked=False)
    tee.relay_flush()
    tee.relay_flush()
    await tee.relay_chunk(b"all")
    assert log.lines == ["write 'HEAD'", "show all", "write 'all'"]


async def test_a_piece_that_is_to_wait_leaves_after_the_commit(log: Log, tee: Tee) -> None:
    tee.relay_head(b"HEAD", chunked=False)
    log.commit = stored = asyncio.Event()
    leaving = asyncio.get_running_loop().create_task(tee.relay_chunk(b"all"))
    await log.waits.wait()
    assert log.lines == ["show all"]
    stored.set()
    await leaving
    assert log.lines == ["show all", "write 'HEADall'"]


async def test_an_end_that_is_to_wait_leaves_after_the_commit(log: Log, tee: Tee) -> None:
    await tee.write_headers("HTTP/1.1 201 Created", CIMultiDict())
    log.commit = stored = asyncio.Event()
    leaving = asyncio.get_running_loop().create_task(tee.write_eof())
    await log.waits.wait()
    assert log.lines[1:] == ["end None"]
    stored.set()
    await leaving
    assert log.lines[-1].startswith("write ")


async def test_a_last_piece_that_is_to_wait_leaves_after_the_commit(log: Log, tee: Tee) -> None:
    await tee.write_headers("HTTP/1.1 201 Created", CIMultiDict())
    log.commit = stored = asyncio.Event()
    leaving = asyncio.get_running_loop().create_task(tee.write_eof(b"two"))
    await log.waits.wait()
    assert log.lines[1:] == ["show two"]
    stored.set()
    await leaving
    assert log.lines[2] == "end None"
    assert log.lines[-1].startswith("write ")


async def test_a_response_without_a_body(log: Log, tee: Tee) -> None:
    tee.relay_head(b"HEAD", chunked=False)
    await tee.relay_end()
    assert log.lines == ["end None", "write 'HEAD'"]


async def test_a_response_of_aiohttps_own(log: Log, tee: Tee) -> None:
    await tee.write_headers("HTTP/1.1 201 Created", CIMultiDict({"A": "1"}))
    await tee.write(b"one")
    await tee.write_eof(b"two")
    assert log.lines == [
        "started 201 A=1; X-Tag=1",
        "show one",
        "write 'HTTP/1.1 201 Created\\r\\nA: 1\\r\\nX-Tag: 1\\r\\n\\r\\none'",
        "show two",
        "end None",
        "write 'two'",
    ]


async def test_names_are_plain_texts_that_can_be_sent_to_the_recorder(log: Log, tee: Tee) -> None:
    await tee.write_headers("HTTP/1.1 200 OK", CIMultiDict({hdrs.CONTENT_TYPE: "text/plain"}))
    assert log.headers == (("Content-Type", "text/plain"), ("X-Tag", "1"))
    assert {type(name) for name, _ in log.headers} == {str}


async def test_its_error_is_reported_at_its_end(log: Log, tee: Tee) -> None:
    tee.error = "upstream_timeout"
    await tee.write_headers("HTTP/1.1 504 Late", CIMultiDict())
    await tee.write_eof()
    assert "end upstream_timeout" in log.lines


async def test_an_end_that_nobody_waits_for(log: Log, tee: Tee) -> None:
    await tee.write_headers("HTTP/1.1 200 OK", CIMultiDict())
    log.closing = True
    with pytest.raises(ConnectionError):
        await tee.write_eof(b"x")
    assert log.lines[-1] == "end client_closed"


async def test_a_coding_that_is_put_on_later_is_not_announced_to_the_transit(
    log: Log, tee: Tee
) -> None:
    tee.enable_compression("gzip")
    await tee.write_headers("HTTP/1.1 200 OK", CIMultiDict({"Content-Encoding": "gzip"}))
    await tee.write(b"plain")
    assert log.lines[:2] == ["started 200 X-Tag=1", "show plain"]
