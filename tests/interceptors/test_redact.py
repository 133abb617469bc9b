"""Headers of one's own choice are masked for those who write."""

from __future__ import annotations

from gateway_sessions import MASK
from interceptors.redact import Redact
from tests.interceptors.exchanges import exchange, response

HEADERS = (("X-Team", "blue"), ("Accept", "*/*"), ("x-team", "red"))


def test_named_headers_are_masked_in_requests_and_responses() -> None:
    item = exchange(answer=response(headers=HEADERS))
    Redact(headers=["X-TEAM"]).exchange_finished(item)
    assert item.response is not None
    assert item.response.headers == (("X-Team", MASK), ("Accept", "*/*"), ("x-team", MASK))
    Redact(headers=["content-type"]).exchange_finished(item)
    assert item.request.headers[0] == ("Content-Type", MASK)
    assert item.request.body != b""


def test_without_names_nothing_changes() -> None:
    item = exchange()
    request, answer = item.request, item.response
    Redact().exchange_finished(item)
    assert item.request is request
    assert item.response is answer


def test_an_exchange_without_response_is_masked_too() -> None:
    item = exchange()
    item.response = None
    Redact(headers=["content-type"]).exchange_finished(item)
    assert item.request.headers[0] == ("Content-Type", MASK)


def test_the_user_agent_is_masked_where_it_is_told_besides() -> None:
    item = exchange()
    Redact(headers=["User-Agent"]).exchange_finished(item)
    assert item.client.user_agent == MASK
