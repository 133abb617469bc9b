from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import Exchange, Headers, Refusal
from gateway_sessions.gateway import Gateway, RequestHead, first_values
from gateway_sessions.hooks import Context
from gateway_sessions.index.memory import MemoryIndex
from gateway_sessions.telemetry import (
    Detected,
    Event,
    ExplicitIdRejected,
    InterceptorFailed,
    SessionEnded,
    SessionStarted,
)
from gateway_sessions.testing import assistant
from tests.traffic import CHAT, House, Seen, asked, head, tag


def heard(house: House, *kinds: type[Event]) -> list[Event]:
    """Return a list that gets every event of these kinds."""
    events: list[Event] = []
    for kind in kinds:
        house.telemetry.listen(kind, events.append)
    return events


class TestBegin:
    async def test_a_request_is_tagged(self) -> None:
        house = House(Seen())
        transit = await house.gateway.begin(
            head("/v1/chat/completions?key=abc", ip="198.51.100.7", x_api_key="sk-secret"),
            asked("hi"),
        )
        exchange = transit.exchange
        assert re.fullmatch("req_[0-9a-hjkmnp-tv-z]{20}", exchange.request_id)
        assert exchange.started_at == house.clock()
        assert (exchange.dialect, exchange.provider) == ("openai_chat", "openai")
        assert exchange.model == "gpt-x"
        assert (exchange.client.ip, exchange.client.user_agent) == ("198.51.100.7", "tests/1")
        assert re.fullmatch("[0-9a-f]{16}", exchange.client.scope)
        assert exchange.parse_error is None
        assert transit.refusal is None
        assert tag(transit).relation == "first"

    async def test_the_request_is_kept_with_its_credentials_masked(self) -> None:
        house = House(Seen())
        body = asked("hi")
        transit = await house.gateway.begin(head(f"{CHAT}?key=abc&x=1", x_api_key="k"), body)
        request = transit.exchange.request
        assert (request.method, request.path) == ("POST", f"{CHAT}?key=***&x=1")
        assert dict(request.headers) == {
            "Authorization": "***", "User-Agent": "tests/1", "X-Api-Key": "***",
        }  # fmt: skip
        assert (request.body, request.size) == (body, len(body))

    async def test_two_requests_of_one_conversation(self) -> None:
        house = House()
        first = await house.ask("hi", reply="Hello!")
        second = await house.ask("hi", assistant("Hello!"), "more")
        assert second.session_id == first.session_id
        assert second.relation == "continue"

    async def test_two_dialects(self) -> None:
        house = House()
        first = await house.ask("hi", reply="Hello!")
        transit = await house.begin("hi", assistant("Hello!"), "more", path="/v1/messages")
        assert transit.exchange.dialect == "anthropic"
        assert tag(transit).session_id == first.session_id

    async def test_of_a_repeated_header_the_first_counts(self) -> None:
        house = House()
        sent = (("X-Session-Id", "1"), ("x-session-id", "2"))
        transit = await house.gateway.begin(RequestHead("POST", CHAT, sent, ""), asked("hi"))
        assert tag(transit).external_id == "1"

    @pytest.mark.parametrize(
        ("messages", "count", "new"),
        [
            (["hi"], 1, 1),
            (["hi", "hello?"], 2, 2),
            (["hi", assistant("Hello!"), "more"], 3, 1),
            (["hi", assistant("Hello!"), "more", "and more"], 4, 2),
            (["strange", assistant("yes"), "more"], 3, 3),
            (["hi", assistant("Hello!"), "more", assistant("prefill")], 4, 2),
        ],
    )
    async def test_how_many_messages_are_new(
        self, messages: list[Any], count: int, new: int
    ) -> None:
        house = House()
        if len(messages) > 2 and messages[0] == "hi":
            await house.ask("hi", reply="Hello!")
        exchange = (await house.begin(*messages)).exchange
        assert (exchange.message_count, exchange.new_messages) == (count, new)

    async def test_explain(self) -> None:
        house = House(explain=True)
        explained = (await house.ask("hi")).explain
        assert explained[-1]["rule"] == "new"
        assert (await House().ask("hi")).explain == ()

    async def test_detection_can_be_switched_off(self) -> None:
        house = House(Seen(), settings=DetectionSettings(enabled=False))
        transit = await house.begin("hi")
        assert transit.exchange.session is None
        assert transit.exchange.parse_error is None
        assert transit.dialect is not None

    async def test_without_anybody_to_look_nothing_is_masked(self) -> None:
        transit = await House().begin("hi")
        assert transit.exchange.request.headers == ()
        assert tag(transit).session_id


class Asked:
    """An interceptor with every inline hook."""

    def __init__(self, answer: Refusal | None = None) -> None:
        self.answer = answer
        self.started: list[Exchange] = []

    async def request_started(self, exchange: Exchange) -> Refusal | None:
        """Note the request."""
        self.started.append(exchange)
        return self.answer

    def upstream_headers(self, exchange: Exchange) -> Headers:
        """Add one header."""
        return (("X-Up", exchange.dialect),)

    def client_headers(self, exchange: Exchange) -> Headers:
        """Add one header."""
        return (("X-Down", exchange.model),)


class TestInterceptors:
    async def test_they_see_the_tagged_request(self) -> None:
        hook = Asked()
        transit = await House(hook).begin("hi")
        assert hook.started == [transit.exchange]
        assert hook.started[0].session is not None
        assert hook.started[0].request.path == CHAT
        assert transit.refusal is None
        assert transit.upstream_headers() == (("X-Up", "openai_chat"),)
        assert ("X-Down", "gpt-x") in transit.client_headers()

    async def test_headers_that_nobody_reads_are_left_out(self) -> None:
        class Modest(Seen):
            needs_headers = False

        seen = Modest()
        await House(seen).ask("hi")
        exchange = seen.exchanges[0]
        assert exchange.request.headers == seen.response.headers == ()
        assert exchange.client.user_agent == ""
        assert exchange.request.path == CHAT

    async def test_they_see_a_request_without_a_session_too(self) -> None:
        hook = Asked()
        await House(hook).gateway.begin(head(), b"not JSON")
        assert hook.started[0].parse_error

    async def test_they_are_not_asked_about_what_is_no_conversation(self) -> None:
        hook = Asked()
        await House(hook).gateway.begin(head("/v1/models", "GET"), b"")
        assert hook.started == []

    async def test_a_refusal(self) -> None:
        refusal = Refusal(429, "slow down", (("Retry-After", "1"),))
        later = Asked()
        transit = await House(Asked(), Asked(refusal), later).begin("hi")
        assert transit.refusal == refusal
        assert later.started == []

    async def test_one_that_fails_is_passed_over(self) -> None:
        class Failing:
            def request_started(self, exchange: Exchange) -> None:
                raise RuntimeError("no")

            def client_headers(self, exchange: Exchange) -> Headers:
                raise RuntimeError("no")

        after = Asked()
        house = House(Failing(), after)
        failed = heard(house, InterceptorFailed)
        transit = await house.begin("hi")
        assert tag(transit).relation == "first"
        assert len(after.started) == 1
        assert ("X-Down", "gpt-x") in transit.client_headers()
        assert [event.hook for event in failed if isinstance(event, InterceptorFailed)] == [
            "request_started", "client_headers",
        ]  # fmt: skip


class TestTelemetry:
    async def test_a_session_starts_once(self) -> None:
        house = House()
        started = heard(house, SessionStarted)
        first = await house.ask("hi", reply="Hello!")
        await house.ask("hi", assistant("Hello!"), "more")
        assert started == [SessionStarted(first.session_id, "first_request")]
        reset = await house.ask("hi", assistant("Hello!"), "Start over!")
        assert started[1:] == [SessionStarted(reset.session_id, "reset_phrase")]

    async def test_every_detection(self) -> None:
        house = House()
        events = heard(house, Detected)
        one = await house.ask("hi", reply="Hello!")
        other = await house.ask("hi", reply="Hello!")
        await house.ask("hi", assistant("Hello!"), "more")
        found = [event for event in events if isinstance(event, Detected)]
        assert [(e.relation, e.source, e.ambiguous) for e in found] == [
            ("first", "new", False), ("first", "new", False), ("continue", "prefix", True),
        ]  # fmt: skip
        assert [e.session_id for e in found[:2]] == [one.session_id, other.session_id]

    async def test_how_long_it_took(self) -> None:
        class Slow(MemoryIndex):
            def commit(self, *args: Any, **options: Any) -> None:
                house.monotonic.advance(0.25)
                super().commit(*args, **options)

        house = House(index=Slow(10, 10.0))
        events = heard(house, Detected)
        transit = await house.begin("hi")
        (event,) = events
        assert isinstance(event, Detected)
        assert event.seconds == pytest.approx(0.25)
        assert event.hash_seconds == pytest.approx(0.0)
        assert transit.exchange.timings["detection"] == pytest.approx(0.25)

    async def test_nothing_about_a_request_that_can_not_be_read(self) -> None:
        house = House()
        events = heard(house, Detected, SessionStarted)
        await house.gateway.begin(head(), b"not JSON")
        await house.gateway.begin(head("/v1/models", "GET"), b"")
        assert events == []

    async def test_an_unusable_id(self) -> None:
        house = House()
        events = heard(house, ExplicitIdRejected)
        await house.gateway.begin(head(CHAT, x_session_id="x" * 300), asked("hi"))
        assert events == [ExplicitIdRejected("x-session-id")]


class TestStats:
    async def test_live_sessions_and_start_time(self) -> None:
        house = House(settings=DetectionSettings(session_ttl_seconds=60))
        ended = heard(house, SessionEnded)
        start = house.clock()
        first = await house.ask("hi")
        assert house.gateway.stats() == {"sessions_active": 1, "started_at": start}
        house.clock.advance(61)
        assert house.gateway.stats() == {"sessions_active": 0, "started_at": start}
        assert ended == [SessionEnded(first.session_id, "expired", 2)]


class Opened:
    """An interceptor that notes its life."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.context: Context | None = None

    def open(self, context: Context) -> None:
        """Note it."""
        self.life.append("open")
        self.context = context

    def close(self) -> None:
        """Note it."""
        self.life.append("close")


class TestLife:
    async def test_open_and_close(self, tmp_path: Path) -> None:
        interceptor = Opened()
        house = House(interceptor)
        await house.gateway.open({"a": 1}, tmp_path)
        context = interceptor.context
        assert context is not None
        assert (context.telemetry, context.effective_config) == (house.telemetry, {"a": 1})
        assert context.state_directory == tmp_path
        assert context.stats()["sessions_active"] == 0
        await house.gateway.close()
        await house.gateway.close()
        assert interceptor.life == ["open", "close"]

    async def test_closing_what_was_never_opened(self) -> None:
        interceptor = Opened()
        await House(interceptor).gateway.close()
        assert interceptor.life == []

    async def test_without_interceptors(self) -> None:
        gateway = Gateway(DetectionSettings(), secret=b"a secret for tests only")
        await gateway.open()
        transit = await gateway.begin(head(), asked("hi"))
        assert tag(transit).relation == "first"
        await gateway.close()


def test_first_values() -> None:
    headers = (("A", "1"), ("a", "2"), ("B-c", "3"))
    assert first_values(headers) == {"a": "1", "b-c": "3"}
