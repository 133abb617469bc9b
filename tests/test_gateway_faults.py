"""Requests that have no session, can not be read, or are very large."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from gateway_sessions.detection.session import Session
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.placing import OFF_LOOP_BYTES
from gateway_sessions.telemetry import (
    Detected,
    Event,
    ExplicitIdRejected,
    SessionEnded,
    SessionStarted,
)
from gateway_sessions.testing import assistant
from tests.traffic import CHAT, JSON, House, Seen, asked, completion, head, tag

NO_SESSION = [
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/files"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/messages/batches"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/audio/speech"),
    ("GET", "/v1/models"),
    ("GET", "/v1/chat/completions"),
    ("OPTIONS", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions/chatcmpl-1"),
    ("GET", "/"),
    ("POST", "/graphql"),
]


class TestNoSession:
    @pytest.mark.parametrize(("method", "path"), NO_SESSION)
    async def test_what_is_no_conversation(self, method: str, path: str) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.gateway.begin(head(path, method), asked("hi"))
        exchange = transit.exchange
        assert (exchange.session, exchange.dialect, exchange.parse_error) == (None, "", None)
        assert transit.dialect is None
        transit.response_started(200, JSON)
        transit.feed(b"{}")
        transit.finish()
        assert seen.exchanges == []
        assert house.gateway.stats()["sessions_active"] == 0

    async def test_token_counts_between_turns_change_no_session(self) -> None:
        house = House()
        first = await house.ask("hi", reply="Hello!")
        history = ["hi", assistant("Hello!"), "more"]
        await house.begin(*history, path="/v1/messages/count_tokens")
        second = await house.ask(*history)
        assert (second.session_id, second.relation) == (first.session_id, "continue")


BODIES = {
    "empty": b"",
    "no JSON": b"hello",
    "null": b"null",
    "a list": b"[]",
    "no messages": b'{"model": "m"}',
    "empty messages": b'{"messages": []}',
    "messages of a wrong type": b'{"messages": {"role": "user"}}',
    "a strange role": b'{"messages": [{"role": "robot", "content": "hi"}]}',
    "a strange role in the history": b'{"messages": [{"role": "robot", "content": "hi"},'
    b'{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}',
    "content of a wrong type": b'{"messages": [{"role": "user", "content": 7}]}',
    "bad UTF-8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "NaN": b'{"messages": [{"role": "user", "content": NaN}]}',
    "cut off": b'{"messages": [{"role": "user", "content": "hi"}',
    "deep": b'{"messages": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    "byte order mark": b"\xef\xbb\xbf" + asked("hi"),
}


class TestNeverRaises:
    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
    async def test_bodies_that_can_not_be_read(self, body: bytes) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.gateway.begin(head(), body)
        assert transit.exchange.session is None
        assert transit.exchange.parse_error
        transit.response_started(200, JSON)
        transit.feed(completion("Hello!"))
        transit.finish()
        assert seen.response.status == 200
        assert house.gateway.stats()["sessions_active"] == 0

    async def test_a_body_that_was_not_inspected(self) -> None:
        transit = await House(Seen()).gateway.begin(head(), None)
        assert transit.exchange.session is None
        assert transit.exchange.parse_error == "the body was not inspected"
        assert transit.exchange.request.body == b""

    async def test_surprises_inside_a_body_that_can_be_read(self) -> None:
        house = House()
        odd = b'{"messages": [{"role": "user", "content": "\\ud800", "x": 1e999}], "model": []}'
        transit = await house.gateway.begin(head(), odd.replace(b"1e999", b"9" * 5000))
        assert transit.exchange.session is None or tag(transit).relation == "first"

    @pytest.mark.parametrize(
        "headers",
        [
            {"user_agent": "caf\udce9/1"},
            {"x_stainless_retry_count": "9" * 5000},
            {"baggage": "a;b=c"},
            {"authorization": "Bearer \udcff"},
            {"x_session_id": "\udcff"},
            {"cookie": "\udcff"},
        ],
        ids=lambda headers: str(next(iter(headers))),
    )
    async def test_strange_headers_cost_no_session(self, headers: dict[str, str]) -> None:
        transit = await House(Seen()).gateway.begin(head(CHAT, **headers), asked("hi"))
        assert transit.exchange.parse_error is None
        assert tag(transit).relation == "first"

    async def test_a_path_that_is_no_url_costs_no_session(self) -> None:
        transit = await House(Seen()).gateway.begin(head("//[x" + CHAT + "?key=1"), asked("hi"))
        assert tag(transit).relation == "first"

    async def test_an_index_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(MemoryIndex):
            def candidates(self, scope: int, key: int) -> Sequence[Session]:
                raise OSError("the disk is gone")

        house = House(Seen(), index=Broken(10, 10.0))
        with caplog.at_level(logging.ERROR):
            transit = await house.gateway.begin(head(f"{CHAT}?key=sk-verysecret1"), asked("hi"))
        assert transit.exchange.session is None
        assert transit.exchange.parse_error
        assert "the disk is gone" in caplog.text
        assert "verysecret" not in caplog.text
        transit.response_started(200, JSON)
        transit.feed(completion("Hello!"))
        transit.finish()

    async def test_an_index_that_fails_later(self, caplog: pytest.LogCaptureFixture) -> None:
        class Full(MemoryIndex):
            full = False

            def commit(self, *args: Any, **options: Any) -> None:
                if self.full:
                    raise OSError("no space left")
                super().commit(*args, **options)

        index, seen = Full(10, 10.0), Seen()
        house = House(seen, index=index)
        transit = await house.begin("hi")
        index.full = True
        transit.response_started(200, JSON)
        with caplog.at_level(logging.ERROR):
            transit.feed(completion("Hello!"))
            transit.finish()
        assert "no space left" in caplog.text
        assert seen.response.usage is not None

    async def test_a_listener_that_fails(self) -> None:
        def fail(event: Event) -> None:
            raise RuntimeError("no")

        house = House()
        for kind in (Detected, SessionStarted, SessionEnded):
            house.telemetry.listen(kind, fail)
        assert (await house.ask("hi")).relation == "first"


class TestLargeBodies:
    @pytest.mark.parametrize(("extra", "on_loop"), [(0, True), (1, False)])
    async def test_they_are_read_on_another_thread(self, extra: int, on_loop: bool) -> None:
        house, threads = House(), list[int]()
        house.telemetry.listen(ExplicitIdRejected, lambda _: threads.append(threading.get_ident()))
        size = OFF_LOOP_BYTES + extra
        body = asked("hi", padding="")
        body = body.replace(b'"padding": ""', b'"padding": "%s"' % (b"x" * (size - len(body))))
        assert len(body) == size
        transit = await house.gateway.begin(head(CHAT, x_session_id="\x07"), body)
        assert tag(transit).relation == "first"
        assert [thread == threading.get_ident() for thread in threads] == [on_loop]

    async def test_and_give_the_same_verdicts(self) -> None:
        house = House()
        long = "x" * OFF_LOOP_BYTES
        first = await house.ask(long, reply="Hello!")
        second = await house.ask(long, assistant("Hello!"), "more")
        assert (second.session_id, second.relation) == (first.session_id, "continue")

    async def test_and_their_faults_are_no_different(self) -> None:
        transit = await House().gateway.begin(head(), b"x" * (OFF_LOOP_BYTES + 1))
        assert transit.exchange.parse_error

    async def test_several_at_once(self) -> None:
        house = House()
        long = "x" * OFF_LOOP_BYTES
        started = [house.begin(f"{number} {long}") for number in range(8)]
        transits = await asyncio.gather(*started)
        assert len({tag(transit).session_id for transit in transits}) == 8
