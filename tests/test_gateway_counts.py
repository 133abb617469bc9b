"""Token counts: shown with the session whose history they hold, and no part of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_sessions.detection.settings import DetectionSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.placing import OFF_LOOP_BYTES
from gateway_sessions.telemetry import Detected, SessionStarted
from gateway_sessions.testing import assistant
from gateway_sessions.transit import Transit
from tests.traffic import JSON, House, Seen, asked, head

HELLO = ["hi", assistant("Hello!"), "more"]
MESSAGES, RESPONSES = "/v1/messages/count_tokens", "/v1/responses/input_tokens"
GEMINI = "/v1beta/models/m:countTokens"


async def count(house: House, *messages: Any, **headers: str) -> Transit:
    """Let a count pass by, with its answer."""
    transit = await house.gateway.begin(head(MESSAGES, **headers), asked(*messages))
    counted(transit)
    return transit


def counted(transit: Transit) -> None:
    transit.response_started(200, JSON)
    transit.feed(b'{"input_tokens": 3}')
    transit.finish()


async def test_a_known_history_is_shown_with_its_session() -> None:
    seen = Seen()
    house = House(seen)
    first = await house.ask("hi", reply="Hello!")
    transit = await count(house, *HELLO)
    tag = transit.exchange.session
    assert tag is not None
    assert (tag.session_id, tag.relation) == (first.session_id, "continue")
    assert ("X-Gateway-Session-Id", first.session_id) in transit.client_headers()
    shown = seen.exchanges[-1]
    assert (shown.counts_tokens, shown.session, shown.dialect) == (True, tag, "anthropic")
    assert (shown.message_count, shown.new_messages, shown.model) == (3, 0, "gpt-x")
    assert shown.client.scope == seen.exchanges[0].client.scope
    assert seen.response.body == b'{"input_tokens": 3}'
    assert not seen.exchanges[0].counts_tokens


async def test_an_unknown_history_gets_no_session_and_is_not_shown() -> None:
    seen = Seen()
    house = House(seen)
    transit = await count(house, "hi")
    exchange = transit.exchange
    assert (exchange.session, exchange.dialect, exchange.counts_tokens) == (None, "", False)
    assert transit.dialect is None
    assert seen.exchanges == []
    assert "X-Gateway-Session-Id" not in dict(transit.client_headers())


async def test_nothing_changes() -> None:
    """The same conversation, with and without counts before and after every request."""

    async def talk(*, counts: bool) -> list[tuple[str, str, float]]:
        house = House()
        tags: list[SessionTag] = []
        history: list[Any] = []
        for turn in range(4):
            history.append(f"question {turn}")
            if counts:
                await count(house, *history)
            tags.append(await house.ask(*history, reply=f"answer {turn}"))
            history.append(assistant(f"answer {turn}"))
            if counts:
                await count(house, *history)
        assert len({tag.session_id for tag in tags}) == 1
        assert house.gateway.stats()["sessions_active"] == 1
        return [(tag.relation, tag.source, tag.confidence) for tag in tags]

    assert await talk(counts=True) == await talk(counts=False)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {"messages": [{"role": "user", "content": "hi"},
                                 {"role": "assistant", "content": "Hello!"},
                                 {"role": "user", "content": "more"}]}),
        (RESPONSES, {"input": [{"role": "user", "content": "hi"},
                               {"role": "assistant", "content": "Hello!"},
                               {"role": "user", "content": "more"}]}),
        (GEMINI, {"contents": [{"role": "user", "parts": [{"text": "hi"}]},
                               {"role": "model", "parts": [{"text": "Hello!"}]},
                               {"role": "user", "parts": [{"text": "more"}]}]}),
    ],
)  # fmt: skip
async def test_every_dialect_that_counts(path: str, body: dict[str, Any]) -> None:
    house = House()
    first = await house.ask("hi", reply="Hello!")
    transit = await house.gateway.begin(head(path), msgspec.json.encode(body))
    assert transit.exchange.session is not None
    assert transit.exchange.session.session_id == first.session_id


async def test_a_session_that_the_client_names() -> None:
    house = House()
    named = {"x_session_id": "chat-1"}
    assert (await count(house, "hi", **named)).exchange.session is None
    transit = await house.gateway.begin(head(**named), asked("hi"))
    found = (await count(house, "something else", **named)).exchange.session
    assert transit.exchange.session is not None
    assert found is not None
    assert found.session_id == transit.exchange.session.session_id


async def test_no_count_is_counted_or_asked_about() -> None:
    class Asked(Seen):
        def request_started(self, exchange: Any) -> None:
            asked_about.append(exchange.counts_tokens)

    asked_about: list[bool] = []
    house = House(Asked())
    events: list[object] = []
    house.telemetry.listen(Detected, events.append)
    house.telemetry.listen(SessionStarted, events.append)
    await house.ask("hi", reply="Hello!")
    heard = len(events)
    await count(house, *HELLO)
    assert len(events) == heard
    assert asked_about == [False]


async def test_a_long_history() -> None:
    house = House()
    long = "x" * OFF_LOOP_BYTES
    first = await house.ask(long, reply="Hello!")
    tag = (await count(house, long, assistant("Hello!"), "more")).exchange.session
    assert tag is not None
    assert tag.session_id == first.session_id


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"messages": 7}', b"\xff", b"[" * 100_000])
async def test_what_can_not_be_read_passes(body: bytes | None) -> None:
    seen = Seen()
    transit = await House(seen).gateway.begin(head(MESSAGES), body)
    counted(transit)
    exchange = transit.exchange
    assert (exchange.session, exchange.dialect, exchange.parse_error) == (None, "", None)
    assert seen.exchanges == []


async def test_where_detection_is_off_nothing_is_attributed() -> None:
    house = House(settings=DetectionSettings(enabled=False))
    assert (await count(house, *HELLO)).exchange.session is None


async def test_whatever_is_wrong_with_us_the_count_passes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no index")

    house = House(Seen())
    monkeypatch.setattr(house.gateway.tracker, "find", broken)
    transit = await count(house, *HELLO)
    assert transit.exchange.session is None
    assert "could not be attributed" in caplog.text
