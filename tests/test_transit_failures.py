"""Transits whose response fails, breaks off or can not be read."""

from __future__ import annotations

import gzip
import json
import logging

import pytest

from gateway_sessions import transit as transit_module
from gateway_sessions.exchange import Exchange
from tests.traffic import (
    EVENTS,
    JSON,
    House,
    Seen,
    chunks,
    completion,
    feed,
    followed,
    length,
    tag,
)

ERRORS = [
    "client_closed",
    "upstream_aborted",
    "upstream_unreachable",
    "upstream_timeout",
    "refused",
]


async def repeated(house: House) -> str:
    """Return how detection sees the same first request again."""
    return tag(await house.begin("hi")).relation


class TestCodings:
    @pytest.mark.parametrize("pieces", [1, 7])
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_gzip(self, pieces: int, streamed: bool) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        plain = b"".join(chunks("Hello!")) if streamed else completion("Hello!")
        packed = gzip.compress(plain, mtime=0)
        coded = (*(EVENTS if streamed else JSON), ("Content-Encoding", "gzip"))
        transit.response_started(200, (*coded, ("Content-Length", str(len(packed)))))
        step = len(packed) // pieces + 1
        feed(transit, [packed[place : place + step] for place in range(0, len(packed), step)])
        assert await followed(house) == "continue"
        transit.finish()
        response = seen.response
        assert response.size == len(packed)
        assert json.loads(response.body)["choices"][0]["message"]["content"] == "Hello!"

    async def test_identity(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, (*JSON, ("Content-Encoding", "identity")))
        transit.feed(completion("Hello!"))
        transit.finish()
        assert await followed(house) == "continue"

    @pytest.mark.parametrize(
        ("coding", "body"),
        [
            ("gzip", b"not gzip"),
            ("gzip", gzip.compress(completion("Hello!"))[:-20]),
            ("rot13", completion("Hello!")),
        ],
        ids=["wrong", "cut off", "unknown"],
    )
    async def test_what_can_not_be_decoded(self, coding: str, body: bytes) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, (*JSON, ("Content-Encoding", coding)))
        transit.feed(body)
        transit.finish()
        assert (seen.response.status, seen.response.size) == (200, len(body))
        assert await repeated(house) == "retry"

    async def test_a_body_above_the_limit_is_left_unread(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transit_module, "REPLY_BYTES_KEPT", 1000)
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        body = completion("x" * 1000)
        feed(transit, [body[:600], body[600:]])
        transit.finish()
        assert (seen.response.size, seen.response.body) == (len(body), b"")
        assert await repeated(house) == "retry"

    async def test_a_bomb_is_not_unpacked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transit_module, "REPLY_BYTES_KEPT", 1000)
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, (*JSON, ("Content-Encoding", "gzip")))
        transit.feed(gzip.compress(b" " * 1_000_000))
        transit.finish()
        assert seen.response.body == b""


class TestFailures:
    @pytest.mark.parametrize("error", ERRORS)
    async def test_every_kind_before_the_response(self, error: str) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.finish(error)
        response = seen.response
        assert (response.error, response.status, response.body) == (error, 0, b"")
        assert await repeated(house) == "retry"

    @pytest.mark.parametrize("error", ERRORS[:4])
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_every_kind_in_the_middle(self, error: str, streamed: bool) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS if streamed else JSON)
        transit.feed(chunks("Hel")[0] if streamed else completion("Hel")[:-30])
        transit.finish(error)
        assert (seen.response.error, seen.response.status) == (error, 200)
        assert await repeated(house) == "retry"

    @pytest.mark.parametrize(
        ("last", "complete"),
        [([], True), ([b'data: {"error":{"message":"overloaded"}}\n\n'], False)],
    )
    async def test_a_stream_with_an_error_in_it_is_not_complete(
        self, last: list[bytes], complete: bool
    ) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, [*last, *chunks("Hello!")])
        transit.finish()
        assert (seen.response.complete, seen.response.error) == (complete, None)

    async def test_a_broken_stream_is_kept_as_far_as_it_came(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        transit.feed(chunks("Hel")[0])
        transit.finish("client_closed")
        assert json.loads(seen.response.body)["choices"][0]["message"]["content"] == "Hel"
        assert await followed(house, "Hel") == "continue"

    async def test_a_stream_that_ends_too_early_without_an_error(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, chunks("Hel", finish=False, done=False))
        transit.finish()
        assert await repeated(house) == "retry"

    async def test_a_client_that_leaves_after_the_last_byte(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, chunks("Hello!"))
        transit.finish("client_closed")
        assert seen.response.error == "client_closed"
        assert await repeated(house) == "first"
        assert await followed(house) == "continue"

    async def test_a_whole_reply_of_unknown_length_whose_client_left(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        transit.feed(completion("Hello!"))
        transit.finish("client_closed")
        assert await repeated(house) == "retry"

    @pytest.mark.parametrize("status", [400, 429, 500, 503, 302])
    async def test_another_status(self, status: int) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        body = completion("Hello!")
        transit.response_started(status, length(body))
        transit.feed(body)
        transit.finish()
        assert (seen.response.status, seen.response.body) == (status, body)
        assert await repeated(house) == "retry"

    async def test_another_status_as_a_stream(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(429, EVENTS)
        feed(transit, chunks("Hello!"))
        transit.finish()
        assert seen.response.body == b"".join(chunks("Hello!"))
        assert seen.response.raw_stream == b""
        assert await repeated(house) == "retry"

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"null", b"hello", b'{"choices": []}', b'{"error": {"message": "x"}}']
    )
    async def test_a_body_that_is_no_reply(self, body: bytes) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, length(body))
        if body:
            transit.feed(body)
        transit.finish()
        assert await repeated(house) == "retry"

    async def test_an_error_inside_a_stream(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, [chunks("Hel")[0], b'data: {"error": {"message": "overloaded"}}\n\n'])
        transit.finish()
        assert await repeated(house) == "retry"

    async def test_a_stream_of_garbage(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, EVENTS)
        feed(transit, [b"\xff\x00garbage", b"data: {\n\n", b"data: [DONE]\n\n"])
        transit.finish()
        assert await repeated(house) == "retry"


class TestFinish:
    async def test_only_the_first_call_counts(self) -> None:
        seen = Seen()
        house = House(seen)
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        transit.feed(completion("Hello!"))
        transit.finish()
        transit.finish("client_closed")
        transit.finish()
        assert len(seen.exchanges) == 1
        assert seen.response.error is None
        assert await repeated(house) == "first"

    async def test_only_the_first_error_counts(self) -> None:
        seen = Seen()
        transit = await House(seen).begin("hi")
        transit.finish("upstream_timeout")
        transit.finish("client_closed")
        assert [e.response.error for e in seen.exchanges if e.response] == ["upstream_timeout"]

    async def test_without_interceptors_the_reply_is_known_all_the_same(self) -> None:
        house = House()
        transit = await house.begin("hi")
        transit.response_started(200, JSON)
        transit.feed(completion("Hello!"))
        transit.finish()
        assert transit.exchange.response is None
        assert await followed(house) == "continue"

    async def test_an_interceptor_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        class Failing:
            def exchange_finished(self, exchange: Exchange) -> None:
                raise RuntimeError("no")

        seen = Seen()
        transit = await House(Failing(), seen).begin("hi")
        with caplog.at_level(logging.ERROR):
            transit.finish()
        assert len(seen.exchanges) == 1
