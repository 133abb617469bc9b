"""Values of the right type can still be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway_sessions.config import checks

GOOD: list[tuple[Callable[[Any], str | None], Any]] = [
    (checks.upstream_url, "http://localhost:4000"),
    (checks.upstream_url, "https://api.openai.com/v1"),
    (checks.upstream_url, "https://user:word@host/"),
    (checks.upstream_url, "http://[::1]:8080"),
    (checks.upstream_url, "builtin://echo"),
    (checks.host_port, "127.0.0.1:3001"),
    (checks.host_port, "[::1]:0"),
    (checks.host_port, "localhost:65535"),
    (checks.host_port, None),
    (checks.networks, ("10.0.0.0/8", "::1", "192.168.1.7")),
    (checks.networks, ()),
    (checks.header_names, ("x-api-key", "Authorization")),
    (checks.header_keys, {"x-team": "blue*"}),
    (checks.header_keys, True),
    (checks.path_pattern, "/v1/*"),
    (checks.path_prefix, ""),
    (checks.path_prefix, "/gateway/own"),
    (checks.not_blank, "x"),
    (checks.not_blank, None),
    (checks.phrases, ("start over", "neu")),
    (checks.long_secret, None),
    (checks.long_secret, "0123456789abcdef"),
]

URL = "a URL that begins with http:// or https://, or builtin://echo"
ADDRESS = "an address of the form host:port, such as 127.0.0.1:3001"

BAD: list[tuple[Callable[[Any], str | None], Any, str]] = [
    (checks.upstream_url, "", URL),
    (checks.upstream_url, "localhost:4000", URL),
    (checks.upstream_url, "ftp://host", URL),
    (checks.upstream_url, "http://", URL),
    (checks.upstream_url, "http://host:0", URL),
    (checks.upstream_url, "http://host:99999", URL),
    (checks.upstream_url, "http://ho st", URL),
    (checks.upstream_url, "http://host/#part", URL),
    (checks.upstream_url, "http://[::1", URL),
    (checks.upstream_url, "builtin://other", URL),
    (checks.host_port, "", ADDRESS),
    (checks.host_port, "3001", ADDRESS),
    (checks.host_port, "host:65536", ADDRESS),
    (checks.host_port, "::1:3001", ADDRESS),
    (checks.networks, ("10.0.0.0/99",), "a list of IP addresses or networks, such as 10.0.0.0/8"),
    (checks.header_names, ("x api",), "a list of HTTP header names"),
    (checks.header_keys, {"a\r\nb": "c"}, "a mapping whose keys are HTTP header names"),
    (checks.path_pattern, "v1", "a path that begins with /, in which * stands for anything"),
    (checks.path_prefix, "/x/", "empty or a path such as /gateway, without a slash at its end"),
    (checks.not_blank, "  ", "text that is not empty"),
    (checks.phrases, ("ok", "!?"), "a list of phrases with at least one letter or digit each"),
    (checks.long_secret, "short", "text of at least 16 characters or null"),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_good_values_pass(check: Callable[[Any], str | None], value: Any) -> None:
    assert check(value) is None


@pytest.mark.parametrize(("check", "value", "wanted"), BAD)
def test_bad_values_are_told_what_they_must_be(
    check: Callable[[Any], str | None], value: Any, wanted: str
) -> None:
    assert check(value) == wanted
