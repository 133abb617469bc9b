"""Questions and answers between two processes, here in one."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from gateway_sessions.hooks import Answerer
from gateway_sessions.workers import channel
from gateway_sessions.workers.channel import Channel
from gateway_sessions.workers.messages import AnyMessage, Ready, Stop


class End:
    """One end, and what it hears."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self.answerers: dict[str, Answerer] = {}
        self.channel = Channel(connection, peer, self.answerers)
        self.heard: asyncio.Queue[AnyMessage] = asyncio.Queue()
        self.listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.channel.open()

    def listen(self) -> None:
        listen = self.channel.listen(self.heard.put_nowait)
        self.listening = asyncio.get_running_loop().create_task(listen)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    one, two = socket.socketpair()
    found = End(one, "two"), End(two, "one")
    for end in found:
        await end.open()
    yield found
    for end in found:
        await end.channel.close()
    for end in found:
        if end.listening is not None:
            await end.listening


async def test_messages_and_answers_come_through(ends: tuple[End, End]) -> None:
    one, two = ends
    two.answerers["size"] = lambda who, question: f"{who} {len(question)}".encode()
    one.listen()
    two.listen()
    one.channel.send(Stop())
    two.channel.send(Ready())
    assert (await two.heard.get(), await one.heard.get()) == (Stop(), Ready())
    answers = await asyncio.gather(
        one.channel.ask("size", b"12345"),
        one.channel.ask("size", b"x" * 100_000),
        one.channel.ask("unknown", b""),
    )
    assert list(answers) == [b"one 5", b"one 100000", None]


async def test_what_wants_no_answer_gets_none(ends: tuple[End, End]) -> None:
    one, two = ends
    told: asyncio.Queue[bytes] = asyncio.Queue()

    def note(who: str, text: bytes) -> bytes:
        told.put_nowait(text)
        return b"thrown away"

    two.answerers["note"] = note
    one.listen()
    two.listen()
    one.channel.tell("note", b"said")
    assert await told.get() == b"said"
    assert await one.channel.ask("none", b"") is None
    assert one.heard.empty()


async def test_an_answer_that_fails_is_logged_and_none(
    ends: tuple[End, End], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = ends
    two.answerers["bad"] = lambda who, question: bytes(int("x"))
    one.listen()
    two.listen()
    with caplog.at_level(logging.ERROR):
        assert await one.channel.ask("bad", b"") is None
    assert caplog.messages == ["a question about bad could not be answered"]


async def test_an_answer_that_is_late_is_none(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 0.0)
    one, two = ends
    two.answerers["late"] = lambda who, question: b""
    one.listen()
    assert await one.channel.ask("late", b"") is None
    monkeypatch.undo()
    two.listen()
    assert await one.channel.ask("late", b"") == b""  # its own, not the late one


async def test_nobody_answers_who_is_gone(ends: tuple[End, End]) -> None:
    one, two = ends
    one.listen()
    asking = asyncio.get_running_loop().create_task(one.channel.ask("x", b""))
    await asyncio.sleep(0)
    await two.channel.close()
    assert await asking is None
    assert one.listening is not None
    await one.listening
    assert await one.channel.ask("x", b"") is None
    one.channel.send(Stop())  # and nothing happens


async def test_who_asks_may_be_cancelled(ends: tuple[End, End]) -> None:
    one, _ = ends
    one.listen()
    asking = asyncio.get_running_loop().create_task(one.channel.ask("x", b""))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
