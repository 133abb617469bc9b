"""Headers of one's own choice are masked for those who write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway_sessions import MASK, Client, ConfigError, Exchange, Personal, Request
from gateway_sessions.chain import InterceptorChain
from gateway_sessions.secret import PERSONAL_DATA
from gateway_sessions.telemetry import Telemetry
from interceptors.redact import KEY, Redact
from tests.interceptors.exchanges import context, exchange, response

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
    """A hook that does nothing is not there, so that no exchange pays for it."""
    chain = InterceptorChain([("redact", Redact())], Telemetry())
    assert not chain.needs_request_hook
    assert not chain.needs_exchange


def test_an_exchange_without_response_is_masked_too() -> None:
    item = exchange()
    item.response = None
    Redact(headers=["content-type"]).exchange_finished(item)
    assert item.request.headers[0] == ("Content-Type", MASK)


def test_the_user_agent_is_masked_where_it_is_told_besides() -> None:
    item = exchange()
    Redact(headers=["User-Agent"]).exchange_finished(item)
    assert item.client.user_agent == MASK


BODY = b'{"messages":[{"role":"user","content":"I am jane@example.org, card 4111 1111 1111 1111"}]}'
FOUND = b'{"messages":[{"role":"user","content":"I am [EMAIL], card [CARD]"}]}'
REPLY = b'{"choices":[{"message":{"content":"Hello jane@example.org"}}]}'


def personal(**options: Any) -> Redact:
    redact = Redact(personal_data=True, **options)
    redact.open(replace(context(), derive_key=lambda purpose: purpose.encode()))
    return redact


def with_path(path: str) -> Exchange:
    return exchange(request=Request("POST", path, (), b"", 0))


def test_personal_data_is_taken_out_of_all_that_writers_get() -> None:
    item = exchange(
        body=BODY,
        answer=response(REPLY, headers=(("X-User", "jane@example.org"),)),
        client=Client("198.51.100.9", "agent (jane@example.org)", "a1b2"),
        parse_error="no messages of jane@example.org",
    )
    item.request = msgspec.structs.replace(
        item.request, path="/v1/jane%40example.org?q=a%40b.org&n=1", headers=(("From", "a@b.org"),)
    )
    before = replace(item)
    clean = personal().before_write(item)
    assert clean.request.body == FOUND
    assert clean.request.size == len(BODY)
    assert clean.request.path == "/v1/[EMAIL]?q=[EMAIL]&n=1"
    assert clean.request.headers == (("From", "[EMAIL]"),)
    assert clean.client == Client("[IP]", "agent ([EMAIL])", "a1b2")
    assert clean.parse_error == "no messages of [EMAIL]"
    assert clean.response is not None
    assert clean.response.body == b'{"choices":[{"message":{"content":"Hello [EMAIL]"}}]}'
    assert clean.response.headers == (("X-User", "[EMAIL]"),)
    assert (item.request, item.response) == (before.request, before.response), "others see it too"


def test_what_holds_nothing_personal_stays_as_it_is() -> None:
    item = exchange(client=Client("client", "agent/1", "a1b2"))
    item.request = msgspec.structs.replace(item.request, path="/v1/x%2Fy?q=a%20b+c&k=***&z")
    clean = personal().before_write(item)
    assert (clean.request, clean.response, clean.client) == (
        item.request,
        item.response,
        item.client,
    )


def test_without_being_asked_nothing_personal_is_touched() -> None:
    assert not hasattr(Redact(["x"], mode="remove"), "before_write")


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        ("mask", "/v1?from=[EMAIL]"),
        ("remove", "/v1?from="),
        ("partial", "/v1?from=j***@example.org"),
    ],
)
def test_the_modes(mode: Any, path: str) -> None:
    item = with_path("/v1?from=jane%40example.org")
    assert personal(mode=mode).before_write(item).request.path.replace("%2A", "*") == path


def test_tokens_are_keyed_and_the_same_for_the_same_value() -> None:
    item = with_path("/v1?a=jane%40example.org&b=jane@example.org")
    path = personal(mode="tokenize").before_write(item).request.path
    expected = Personal("tokenize", key=b"personal data").text("jane@example.org")
    assert path == f"/v1?a={expected}&b={expected}"
    other = Redact(personal_data=True, mode="tokenize")
    other.open(context())
    assert other.before_write(item).request.path != path


def test_only_the_kinds_and_patterns_that_are_wanted_are_looked_for() -> None:
    redact = personal(kinds=["email"], patterns={"badge": "B-[0-9]+"})
    clean = redact.before_write(exchange(body=b'"a@b.org 198.51.100.1 B-12"'))
    assert clean.request.body == b'"[EMAIL] 198.51.100.1 [BADGE]"'
    assert clean.client.ip == "198.51.100.9"


def test_a_mistaken_pattern_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="'badge' is no valid RE2"):
        Redact(personal_data=True, patterns={"badge": "("})


PIECES = b'data: {"delta":"jane@exa"}\n\ndata: {"delta":"mple.org"}\n\n'


@pytest.mark.parametrize(
    ("whole", "kept"),
    [
        (REPLY, b""),
        (b"", b""),
        (b'{"choices":[]}', b'data: {"delta":"[EMAIL]"}\n\n'),
    ],
)
def test_the_pieces_of_a_stream_are_kept_only_if_its_whole_is_harmless(
    whole: bytes, kept: bytes
) -> None:
    pieces = b'data: {"delta":"a@b.org"}\n\n' if kept else PIECES
    item = exchange(answer=response(whole, streamed=True, raw_stream=pieces))
    clean = personal().before_write(item)
    assert clean.response is not None
    assert clean.response.raw_stream == kept


def test_an_exchange_without_response_is_cleaned_too() -> None:
    item = exchange(body=BODY)
    item.response = None
    clean = personal().before_write(item)
    assert (clean.request.body, clean.response) == (FOUND, None)


def test_session_files_have_the_same_tokens() -> None:
    assert KEY == PERSONAL_DATA


def test_the_path_is_cleaned_for_the_log_too() -> None:
    item = with_path("/v1/chat/completions?user=jane@example.org")
    personal().exchange_finished(item)
    assert item.request.path == "/v1/chat/completions?user=[EMAIL]"
