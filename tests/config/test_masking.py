"""No secret is shown."""

from __future__ import annotations

import pytest

from gateway_sessions.config.masking import MASK, masked, masked_text
from gateway_sessions.config.schema import (
    Admin,
    Config,
    InterceptorEntry,
    Persistence,
    Session,
    Upstream,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host/path", "http://host/path"),
        ("redis://user:pass@host/0", "redis://***@host/0"),
        ("http://token@host", "http://***@host"),
        ("https://host/?key=abc&x=1", "https://host/?key=***&x=1"),
        ("https://host/?x=1&api_key=abc", "https://host/?x=1&api_key=***"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_credentials_in_urls_are_hidden(text: str, shown: str) -> None:
    assert masked_text(text) == shown


def test_secret_keys_are_hidden_and_absent_ones_stay_null() -> None:
    shown = masked(Config(secret="x" * 32, admin=Admin(token="letmein")))
    assert shown["secret"] == MASK
    assert shown["admin"]["token"] == MASK
    assert masked(Config())["secret"] is None


def test_connections_are_hidden_as_a_whole() -> None:
    session = Session(persistence=Persistence(connection="host=db password=x"))
    assert masked(session)["persistence"]["connection"] == MASK


def test_upstream_urls_lose_their_password_only() -> None:
    shown = masked(Config(upstreams=(Upstream(url="http://u:p@host:1/v1"),)))
    assert shown["upstreams"][0]["url"] == "http://***@host:1/v1"


def test_headers_to_inject_are_no_secrets() -> None:
    upstream = Upstream(url="http://h", inject={"x-session-token": "session"})
    assert masked(upstream)["inject"] == {"x-session-token": "session"}


@pytest.mark.parametrize(
    "key",
    ["api_key", "api-key", "apiKey", "token", "accessToken", "PASSWORD", "db_password", "dsn"],
)
def test_options_of_interceptors_are_hidden_by_name(key: str) -> None:
    entry = InterceptorEntry(type="x", config={"deep": [{key: "canary"}]})
    assert masked(entry)["config"] == {"deep": [{key: MASK}]}


def test_other_options_of_interceptors_are_shown() -> None:
    config = {"max_tokens": 5, "token": None, "secret": False, "url": "http://a:b@c", "n": 1.5}
    assert masked(InterceptorEntry(type="x", config=config))["config"] == {
        "max_tokens": 5,
        "token": None,
        "secret": False,
        "url": "http://***@c",
        "n": 1.5,
    }
