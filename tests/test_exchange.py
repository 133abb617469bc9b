from __future__ import annotations

import dataclasses

import msgspec
import pytest

from gateway_sessions.exchange import Client, Exchange, Refusal, Request, Response, SessionTag

REQUEST = Request("POST", "/v1/messages", (("A", "1"), ("a", "2")), b"{}", 2)
TAG = SessionTag(
    session_id="sess_1",
    relation="first",
    source="new",
    confidence=0.9,
    root_session_id="sess_1",
)


def test_an_exchange_is_filled_in_as_it_goes() -> None:
    exchange = Exchange("req_1", 1.0, Client("::1", "tests/1"), REQUEST)
    assert (exchange.session, exchange.response, exchange.parse_error) == (None, None, None)
    assert (exchange.dialect, exchange.provider) == ("", "other")
    exchange.session = TAG
    exchange.response = Response(200, (), b"{}", 2, 1.0, 1.0, streamed=False)
    assert exchange.response.error is None
    with pytest.raises(AttributeError):
        exchange.sesion = TAG  # type: ignore[attr-defined]


def test_two_exchanges_are_never_equal_and_share_no_timings() -> None:
    one, other = (Exchange("req_1", 1.0, Client("::1", "tests/1"), REQUEST) for _ in range(2))
    assert one != other
    assert len({one, other}) == 2
    one.timings["detection"] = 1.0
    assert other.timings == {}


def test_what_writers_share_never_changes() -> None:
    refusal = Refusal(429, "slow down")
    with pytest.raises(dataclasses.FrozenInstanceError):
        refusal.status = 200  # type: ignore[misc]
    with pytest.raises(AttributeError):
        TAG.session_id = "sess_2"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        REQUEST.body = b""  # type: ignore[misc]


def test_a_tag_can_be_written_down() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TAG), type=SessionTag) == TAG
