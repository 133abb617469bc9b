"""What the recording of sessions is told of exchanges."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeVar

import pytest

from gateway_sessions import gateway as gateway_module
from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.errors import StartError
from gateway_sessions.events import SessionEvent
from gateway_sessions.exchange import Exchange, Refusal
from gateway_sessions.index import memory as memory_module
from gateway_sessions.milestones import Arrived, Chunk, Ended, Finished, FirstByte, Milestone
from gateway_sessions.prices import Prices
from gateway_sessions.telemetry import Unpriced
from gateway_sessions.testing import assistant
from interceptors.redact import Redact
from tests.traffic import EVENTS, JSON, House, Seen, asked, chunks, completion, feed, head, tag

M_ = TypeVar("M_")


class Tape:
    """A recording that keeps what it is told."""

    def __init__(self, *, wants_chunks: bool = False, refuse: bool = False) -> None:
        self.wants_chunks = wants_chunks
        self.refuse = refuse
        self.told: list[Milestone | SessionEvent] = []
        self.calls: list[str] = []
        self.ended = asyncio.Event()

    async def open(self) -> None:
        self.calls.append("open")
        if self.refuse:
            raise StartError("no disk here")

    def record(self, item: Milestone | SessionEvent) -> bool:
        self.told.append(item)
        if isinstance(item, Ended):
            self.ended.set()
        return True

    async def flush(self) -> None:
        self.calls.append("flush")

    async def shutdown(self) -> None:
        self.calls.append("shutdown")

    def problems(self) -> list[str]:
        return ["jsonl: OSError: no"]

    def queued(self) -> dict[str, int]:
        return {"recorder": 3}

    def of(self, kind: type[M_]) -> list[M_]:
        """Return the milestones of a kind."""
        return [item for item in self.told if isinstance(item, kind)]

    @property
    def kinds(self) -> list[str]:
        return [type(item).__name__ for item in self.told]


async def test_an_exchange_is_told_when_it_comes_and_when_it_is_over() -> None:
    tape = Tape()
    house = House(recording=tape)
    session = await house.ask("hi", reply="Hello!")
    arrived, finished = tape.of(Arrived)[0], tape.of(Finished)[0]
    assert tape.kinds == ["Arrived", "Finished"]
    assert arrived.session == finished.session == session
    assert arrived.session_id == finished.session_id == session.session_id
    assert arrived.request_id == finished.request_id
    assert (arrived.dialect, arrived.provider, arrived.model) == ("openai_chat", "openai", "gpt-x")
    assert (arrived.message_count, arrived.new_messages, arrived.stream) == (1, 1, False)
    assert arrived.request.body == asked("hi")
    assert (arrived.client.ip, arrived.client.user_agent) == ("192.0.2.1", "tests/1")
    assert arrived.at == house.clock()
    assert finished.response.body == completion("Hello!")
    assert finished.response.usage is not None


async def test_later_requests_say_how_much_of_them_is_new() -> None:
    tape = Tape()
    house = House(recording=tape)
    await house.ask("hi", reply="Hello!")
    await house.ask("hi", assistant("Hello!"), "more")
    arrived = tape.of(Arrived)[1]
    assert (arrived.message_count, arrived.new_messages) == (3, 1)


async def test_credentials_are_masked_and_so_is_what_the_user_wants_masked() -> None:
    tape = Tape()
    house = House(Redact(["x-secret", "user-agent"]), recording=tape)
    request = head("/v1/chat/completions?key=canary", X_Secret="canary", X_Plain="plain")
    transit = await house.gateway.begin(request, asked("hi"))
    transit.response_started(200, (*JSON, ("X-Secret", "canary"), ("Set-Cookie", "canary")))
    transit.feed(completion("Hello!"))
    transit.finish()
    for item in tape.told:
        assert "canary" not in repr(item)
    fields = dict(tape.of(Arrived)[0].request.headers)
    assert (fields["X-Plain"], fields["X-Secret"], fields["Authorization"]) == (
        "plain",
        "***",
        "***",
    )
    assert tape.of(Arrived)[0].client.user_agent == "***"


async def test_a_stream_tells_when_it_begins_and_how_evenly_it_comes() -> None:
    tape = Tape()
    house = House(recording=tape)
    transit = await house.gateway.begin(head(), asked("hi", stream=True))
    transit.response_started(200, EVENTS)
    for piece in chunks("a", "b"):
        house.monotonic.advance(0.25)
        transit.feed(piece)
    transit.finish()
    assert tape.kinds == ["Arrived", "FirstByte", "Finished"]
    assert tape.of(Arrived)[0].stream
    assert tape.of(FirstByte)[0].elapsed_ms == pytest.approx(250)
    finished = tape.of(Finished)[0]
    assert finished.chunk_gaps_ms == pytest.approx([250.0] * 3)
    assert finished.response.raw_stream == b""


async def test_chunks_are_told_only_where_they_are_wanted() -> None:
    tape = Tape(wants_chunks=True)
    house = House(Seen(wants_raw_stream=True), recording=tape)
    transit = await house.gateway.begin(head(), asked("hi", stream=True))
    transit.response_started(200, EVENTS)
    pieces = chunks("a", "b")
    feed(transit, pieces)
    transit.finish()
    told = tape.of(Chunk)
    assert [chunk.data for chunk in told] == pieces
    assert [chunk.sequence for chunk in told] == list(range(len(pieces)))
    assert tape.kinds[:3] == ["Arrived", "FirstByte", "Chunk"]
    assert tape.of(Finished)[0].response.raw_stream == b""


@pytest.mark.parametrize("error", ["client_closed", "upstream_aborted", "upstream_unreachable"])
async def test_whatever_breaks_an_exchange_off_it_is_told(error: str) -> None:
    tape = Tape()
    house = House(recording=tape)
    transit = await house.gateway.begin(head(), asked("hi", stream=True))
    if error != "upstream_unreachable":
        transit.response_started(200, EVENTS)
        transit.feed(chunks("a")[0])
    transit.finish(error)
    transit.finish()
    (finished,) = tape.of(Finished)
    assert finished.response.error == error


async def test_a_refused_request_is_told_too() -> None:
    class Doorman:
        def request_started(self, exchange: Exchange) -> Refusal:
            return Refusal(429, "no")

    tape = Tape()
    house = House(Doorman(), recording=tape)
    transit = await house.gateway.begin(head(), asked("hi"))
    assert transit.refusal is not None
    transit.response_started(429, JSON)
    transit.finish("refused")
    assert tape.kinds == ["Arrived", "Finished"]


async def test_what_has_no_session_is_not_told() -> None:
    tape = Tape()
    house = House(recording=tape)
    for request, body in ((head("/v1/models", "GET"), None), (head(), b"{"), (head(), None)):
        transit = await house.gateway.begin(request, body)
        transit.response_started(200, JSON)
        transit.finish()
    assert tape.told == []


async def test_sessions_end_when_they_expire_are_evicted_or_reset() -> None:
    tape = Tape()
    settings = DetectionSettings(session_ttl_seconds=60, max_sessions=2)
    house = House(settings=settings, recording=tape)
    first = await house.ask("hi", reply="Hello!")
    await house.ask("hi", assistant("Hello!"), "start over")
    await house.ask("another")
    house.clock.advance(61)
    house.gateway.stats()
    ends = [(end.session_id == first.session_id, end.reason) for end in tape.of(Ended)]
    assert ends == [(True, "reset"), (True, "evicted"), (False, "expired"), (False, "expired")]
    assert {end.request_id for end in tape.of(Ended)} == {""}
    assert tape.told.index(tape.of(Ended)[0]) < tape.told.index(tape.of(Arrived)[1])


async def test_expiry_is_noticed_without_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "EXPIRY_SECONDS", 0.001)
    tape = Tape()
    house = House(settings=DetectionSettings(session_ttl_seconds=60), recording=tape)
    await house.gateway.open()
    await house.ask("hi")
    house.clock.advance(61)
    async with asyncio.timeout(10):
        await tape.ended.wait()
    await house.gateway.close()
    expiry = house.gateway._expiry
    assert expiry is not None
    assert expiry.cancelled()


async def test_what_expired_together_is_ended_in_portions_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_module, "EXPIRED_AT_ONCE", 1)
    monkeypatch.setattr(gateway_module, "EXPIRY_SECONDS", 3600.0)
    tape = Tape()
    house = House(settings=DetectionSettings(session_ttl_seconds=60), recording=tape)
    for text in ("one", "two", "three"):
        await house.ask(text)
    house.clock.advance(61)
    await house.gateway.open()
    assert len(tape.of(Ended)) == 1
    async with asyncio.timeout(10):
        while len(tape.of(Ended)) < 3:
            tape.ended.clear()
            await tape.ended.wait()
    await house.gateway.close()


async def test_the_recording_opens_closes_and_fails_with_the_gateway() -> None:
    tape = Tape()
    house = House(recording=tape)
    await house.gateway.open()
    await house.gateway.flush()
    await house.gateway.close()
    await house.gateway.close()
    assert tape.calls == ["open", "flush", "shutdown"]
    assert house.gateway.problems() == ["jsonl: OSError: no"]
    assert house.gateway.stats()["recording"] == {"recorder": 3}


async def test_where_the_recording_refuses_interceptors_are_closed_again() -> None:
    class Door:
        closed = False

        def close(self) -> None:
            self.closed = True

    door = Door()
    house = House(door, recording=Tape(refuse=True))
    with pytest.raises(StartError, match="no disk here"):
        await house.gateway.open()
    assert door.closed


async def test_without_a_recording_nothing_is_told_and_no_header_is_copied() -> None:
    house = House()
    assert house.gateway.recorded is None
    transit = await house.begin("hi")
    assert transit.exchange.request.headers == ()
    assert await house.gateway.flush() is None  # type: ignore[func-returns-value]


class Rated(Prices):
    """Knows one model."""

    def cost(self, provider: str, model: str, usage: Any, at: float) -> Any:
        if model == "gpt-x-1":
            return super().cost("openai", "gpt-4o", usage, at)
        if model == "broken":
            raise RuntimeError("no")
        return None


async def test_what_an_exchange_costs_stands_in_its_response() -> None:
    seen = Seen()
    house = House(seen, prices=Rated())
    await house.ask("hi")
    assert seen.response.cost_usd == pytest.approx(3 * 2.5e-6 + 5 * 10e-6)


@pytest.mark.parametrize("model", ["unheard-of", "broken"])
async def test_what_has_no_price_is_counted_and_costs_nothing_known(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    house = House(seen, prices=Rated())
    unpriced: list[Unpriced] = []
    house.telemetry.listen(Unpriced, unpriced.append)
    transit = await house.begin("hi")
    transit.response_started(200, JSON)
    transit.feed(completion("Hello!").replace(b"gpt-x-1", model.encode()))
    with caplog.at_level(logging.ERROR):
        transit.finish()
    assert seen.response.cost_usd is None
    assert [event.model for event in unpriced] == ([model] if model == "unheard-of" else [])
    assert ("prices failed" in caplog.text) is (model == "broken")


async def test_the_tag_is_that_of_the_exchange() -> None:
    tape = Tape()
    house = House(recording=tape)
    transit = await house.begin("hi")
    house.gateway.later.catch_up()
    assert tape.of(Arrived)[0].session is tag(transit)


async def test_a_request_that_is_answered_at_once_is_told_with_its_body() -> None:
    tape = Tape()
    transit = await House(recording=tape).begin("hi", stream=True)
    transit.response_started(200, EVENTS)
    assert tape.of(Arrived)[0].request.body == asked("hi", stream=True)
    assert transit.exchange.request.body == b""
